"""STDFusionNet: two encoders and a decoder, taught by salient targets.

*An Infrared and Visible Image Fusion Network Based on Salient Target Detection*;
Ma, Tang, Xu, Zhang, Xiao; IEEE Transactions on Instrumentation and Measurement 70, 2021.

Two encoders of residual blocks, one for each source, and a decoder. In training, masks of salient infrared objects decide
what comes from where: objects from infrared, the background from the visible image. A test needs no masks.

Of the public code (jiayi-ma/STDFusionNet), beside what the paper says:

- its learning rate falls linearly from the middle of the training on, but Adam is never given it: it stays at 10⁻³;
- the masks are blurred (folder ``Train_ir_mask_blur``); how is not given. Here they are used as they are;
- the first two blocks of the decoder end in ELU, the third in LeakyReLU, the last in Tanh.
"""

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmfusion.models.layers import sobel_magnitude
from mmfusion.registry import MODELS


@MODELS.register_module()
class STDFusionNet(nn.Module):
    """Fuse by two encoders and a decoder of residual blocks.

    Args:
        channels: Of an encoder after its first convolution and after each of its blocks.
        decoder_channels: After each of the decoder's four blocks but the last.
    """

    def __init__(
        self,
        channels: tuple[int, ...] = (16, 16, 32, 64),
        decoder_channels: tuple[int, int, int] = (64, 32, 16),
    ) -> None:
        super().__init__()
        self.encoder = nn.ModuleDict({source: _encoder(channels) for source in ('vi', 'ir')})
        widths = (2 * channels[-1], *decoder_channels, 1)
        activations = (nn.ELU(), nn.ELU(), nn.LeakyReLU(0.2), nn.Tanh())
        blocks = zip(pairwise(widths), activations, strict=True)
        self.decoder = nn.Sequential(*(_ResidualBlock(*shape, activation) for shape, activation in blocks))

    def forward(self, vi: Tensor, ir: Tensor) -> Tensor:
        """Fuse N×1×H×W images in [-1, 1] to N×1×H×W in [-1, 1]."""
        return self.decoder(torch.cat([self.encoder['vi'](vi), self.encoder['ir'](ir)], 1))

    @staticmethod
    def from_authors(state: dict[str, Tensor]) -> dict[str, Tensor]:
        """Rename the TensorFlow checkpoint's variables, kernels from HWIO to OIHW."""
        scopes, blocks = {}, {}
        for source in ('vi', 'ir'):
            root = f'STMFusion_model/{source}_extraction_network'
            scopes[f'encoder.{source}.0'] = f'{root}/conv1'
            blocks |= {f'encoder.{source}.{k + 1}': f'{root}/block{k}' for k in (1, 2, 3)}
        blocks |= {f'decoder.{k - 1}': f'STMFusion_model/reconstruction_network/block{k}' for k in (1, 2, 3, 4)}
        for ours, block in blocks.items():
            scopes |= {f'{ours}.conv{k}': f'{block}/conv{k}' for k in (1, 2, 3)}
        biases = {f'{ours}.bias': state[f'{scope}/b'] for ours, scope in scopes.items()}
        # Only blocks that change the number of channels convolve what they add.
        scopes |= {f'{k}.identity': f'{v}/identity_conv' for k, v in blocks.items() if f'{v}/identity_conv/w' in state}
        return biases | {f'{ours}.weight': state[f'{scope}/w'].permute(3, 2, 0, 1) for ours, scope in scopes.items()}


class _ResidualBlock(nn.Module):
    """1×1, 3×3 and 1×1 convolution, and the input, by a 1×1 convolution where channels change."""

    def __init__(self, cin: int, cout: int, activation: nn.Module) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(cin, cin, 1)
        self.conv2 = nn.Conv2d(cin, cin, 3, padding=1)
        self.conv3 = nn.Conv2d(cin, cout, 1)
        self.identity = nn.Identity() if cin == cout else nn.Conv2d(cin, cout, 1, bias=False)
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        inner = F.leaky_relu(self.conv2(F.leaky_relu(self.conv1(x), 0.2)), 0.2)
        return self.activation(self.conv3(inner) + self.identity(x))


def _encoder(channels: tuple[int, ...]) -> nn.Sequential:
    blocks = (_ResidualBlock(*c, nn.LeakyReLU(0.2)) for c in pairwise(channels))
    return nn.Sequential(nn.Conv2d(1, channels[0], 5, padding=2), nn.LeakyReLU(0.2), *blocks)


@MODELS.register_module()
class STDFusionNetLoss(nn.Module):
    """Compare objects with the infrared image, the background with the visible one.

    mean (1 − M) |f − vi| + mean (1 − M) | |∇f| − |∇vi| | + α (mean M |f − ir| + mean M | |∇f| − |∇ir| |), with M the mask of
    salient infrared objects and |∇| the sum of both absolute Sobel derivatives.

    Args:
        alpha: Weight of the objects.
        loss_weight: Factor on the loss. The public code has 1 on images in [-1, 1], which is 2 on images in [0, 1].
    """

    def __init__(self, alpha: float = 7.0, loss_weight: float = 2.0) -> None:
        super().__init__()
        self.alpha, self.loss_weight = alpha, loss_weight

    def forward(self, fused: Tensor, vi: Tensor, ir: Tensor, mask_ir: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the weighted loss and its terms.

        Args:
            fused, vi, ir: N×1×H×W in [0, 1].
            mask_ir: N×1×H×W, boolean or in [0, 1].
        """
        objects, edges = mask_ir.to(fused), sobel_magnitude(fused)

        def compare(source, region):
            return (region * (fused - source).abs()).mean() + (region * (edges - sobel_magnitude(source)).abs()).mean()

        terms = dict(background=compare(vi, 1 - objects), objects=compare(ir, objects))
        total = terms['background'] + self.alpha * terms['objects']
        return self.loss_weight * total, {name: value.detach() for name, value in terms.items()}
