"""An auto-encoder trained on single images; a rule fuses its features when it is tested (as DenseFuse does)."""

from torch import nn

from mmfusion.registry import MODELS


@MODELS.register_module()
class AutoEncoderNet(nn.Module):
    """Encode, fuse by a rule, decode.

    Args:
        rule: ``'addition'`` (mean of the features) or ``'max'``.
    """

    def __init__(self, channels=8, rule='addition'):
        super().__init__()
        self.encoder = nn.Sequential(nn.Conv2d(1, channels, 3, padding=1), nn.ReLU())
        self.decoder = nn.Conv2d(channels, 1, 3, padding=1)
        self.rule = rule

    def reconstruct(self, vi):
        """Give one image back: what is trained, on single images."""
        return dict(vi_hat=self.decoder(self.encoder(vi)))

    def forward(self, vi, ir):
        a, b = self.encoder(vi), self.encoder(ir)
        return self.decoder((a + b) / 2 if self.rule == 'addition' else a.maximum(b))
