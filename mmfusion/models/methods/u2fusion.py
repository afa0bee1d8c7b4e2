"""U2Fusion: A Unified Unsupervised Image Fusion Network.

Xu, Ma, Jiang, Guo, Ling; IEEE TPAMI 44(1), 2022.

One network for infrared-visible, medical, multi-exposure and multi-focus images: a dense encoder on both sources
together, and a plain decoder. How much each source weighs in the loss follows from how much detail VGG16 sees in it.

Of the public code (hanna-xu/U2Fusion), beside what the paper says:

- the published images of TNO were made with the sources as (infrared, visible) and stretched from minimum to maximum. Its
  test script has them the other way round, and divides by the maximum. In training the order is random;
- each dense layer puts its own features before those it was given; borders are reflected;
- elastic weight consolidation, which keeps a task while the next is learned, has the weight 0 in its ``main.py``, and
  80000 in a comment. Here one task is trained, infrared and visible, and there is nothing to consolidate.
"""

from itertools import pairwise

import torch
import torch.nn.functional as F
from pytorch_msssim import ssim
from torch import Tensor, nn

from mmfusion.models.priors import PriorHolder
from mmfusion.registry import MODELS


@MODELS.register_module()
class U2Fusion(nn.Module):
    """Fuse by a dense encoder and a plain decoder.

    Args:
        channels: Of the first convolution and of each dense layer.
        dense_layers: Number of dense layers.
        decoder_channels: Between the encoder's features and the image.
    """

    min_size = 2  # borders are reflected

    def __init__(
        self, channels: int = 44, dense_layers: int = 5, decoder_channels: tuple[int, ...] = (128, 64, 32)
    ) -> None:
        super().__init__()
        wide = [channels * (k + 1) for k in range(dense_layers)]
        self.encoder = nn.ModuleList([_conv(2, channels), *(_conv(width, channels) for width in wide)])
        widths = (channels * (dense_layers + 1), *decoder_channels, 1)
        self.decoder = nn.ModuleList(_conv(cin, cout) for cin, cout in pairwise(widths))

    def forward(self, vi: Tensor, ir: Tensor) -> Tensor:
        """Fuse N×1×H×W images in [0, 1] to N×1×H×W in [0, 1]."""
        # The unified network knows no first and second source: in training they change places.
        swap = self.training and torch.rand(()) < 0.5
        x = F.leaky_relu(self.encoder[0](torch.cat([vi, ir] if swap else [ir, vi], 1)), 0.2)
        for conv in self.encoder[1:]:
            x = torch.cat([F.leaky_relu(conv(x), 0.2), x], 1)
        for conv in self.decoder[:-1]:
            x = F.leaky_relu(conv(x), 0.2)
        return torch.tanh(self.decoder[-1](x)) / 2 + 0.5

    @staticmethod
    def from_authors(state: dict[str, Tensor]) -> dict[str, Tensor]:
        """Rename the TensorFlow checkpoint's variables, kernels from HWIO to OIHW."""
        scopes = ['Generator/encoder/conv1_1', *(f'Generator/encoder/dense_block_conv{k}' for k in range(1, 6))]
        ours = {f'encoder.{k}': scope for k, scope in enumerate(scopes)}
        ours |= {f'decoder.{k}': f'Generator_1/decoder/conv2_{k + 1}' for k in range(4)}
        weights = {f'{name}.weight': state[f'{scope}/kernel'].permute(3, 2, 0, 1) for name, scope in ours.items()}
        return weights | {f'{name}.bias': state[f'{scope}/bias'] for name, scope in ours.items()}


@MODELS.register_module()
class U2FusionLoss(PriorHolder):
    """Compute similarity to both sources, weighted by their information.

    Σ_k ω_k (1 − SSIM(f, I_k)) + α Σ_k ω_k MSE(f, I_k), averaged over the batch. ω = softmax(g / c) over the sources of each
    pair; g is the mean square of the gradients of VGG16's features before its five poolings, and the gradient is the
    mean of a pixel's eight neighbours less the pixel. SSIM has an 11×11 window, only where it fits.

    Args:
        prior: Config of a :class:`VGGPrior` of VGG16. c belongs to the weights of the Caffe model (inputs 0 to 255),
            which torchvision has as ``IMAGENET1K_FEATURES``.
        alpha: Weight of the MSE.
        temperature: c; 3200 for infrared and visible images.
        size: Patches are enlarged to this size for VGG, by nearest neighbour.
        loss_weight: Factor on the loss.
    """

    layers = ('relu1_2', 'relu2_2', 'relu3_3', 'relu4_3', 'relu5_3')

    def __init__(
        self,
        prior: dict,
        alpha: float = 20.0,
        temperature: float = 3200.0,
        size: int = 224,
        loss_weight: float = 1.0,
    ) -> None:
        super().__init__()
        self.hold('vgg', MODELS.build(dict(prior, layers=self.layers)))
        self.alpha, self.temperature, self.size, self.loss_weight = alpha, temperature, size, loss_weight

    def forward(self, fused: Tensor, vi: Tensor, ir: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the weighted loss of N×1×H×W images in [0, 1], and its terms.

        Raises:
            ValueError: If the images are smaller than SSIM's window, 11×11.
        """
        if min(fused.shape[2:]) < 11:
            raise ValueError(f'U2FusionLoss: images of {tuple(fused.shape[2:])} are smaller than its 11×11 window')
        information = torch.stack([self.information(x) for x in (vi, ir)])
        weight = (information / self.temperature).softmax(0)  # 2×N
        dissimilarity = torch.stack([1 - ssim(fused, x, data_range=1.0, size_average=False) for x in (vi, ir)])
        error = torch.stack([(fused - x).square().mean((1, 2, 3)) for x in (vi, ir)])
        terms = dict(ssim=(weight * dissimilarity).sum(0).mean(), mse=(weight * error).sum(0).mean())
        log = {name: value.detach() for name, value in terms.items()} | {'weight_vi': weight[0].mean()}
        return self.loss_weight * (terms['ssim'] + self.alpha * terms['mse']), log

    @torch.no_grad()
    def information(self, x: Tensor) -> Tensor:
        """Measure the detail of N×1×H×W images in [0, 1] by VGG's features: N values."""
        features = self.prior('vgg')(F.interpolate(x, (self.size, self.size)))
        # The mean of eight neighbours less the pixel is 9/8 (mean of nine − pixel).
        gradients = (1.125 * (F.avg_pool2d(f, 3, 1, 1) - f) for f in features.values())
        return torch.stack([g.square().mean((1, 2, 3)) for g in gradients]).mean(0)


def _conv(cin: int, cout: int) -> nn.Conv2d:
    return nn.Conv2d(cin, cout, 3, padding=1, padding_mode='reflect')
