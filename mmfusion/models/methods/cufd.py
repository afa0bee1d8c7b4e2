"""CUFD: an encoder-decoder network by common and unique feature decomposition.

*CUFD: An encoder-decoder network for visible and infrared image fusion based on common and unique feature decomposition*;
Xu, Gong, Tian, Huang, Ma; Computer Vision and Image Understanding 218, 2022.

An encoder gives features of four levels. A second one divides those of both sources, level by level, into what they have
in common and what is unique to each; both are fused by rules, joined again, and decoded to the image.

Of the public code (Meiqi-Gong/CUFD), beside what the paper says:

- batch norm never sees its batch, in training neither: it is a scale and a shift (means are 0 and variances 1);
- each source is stretched from its minimum to its maximum first;
- the stronger of both sources' features is added to the joined ones;
- the second phase of training looks at the first level alone, and divides the features by their maximum, which tests do not;
- that phase restores the trained encoder and then initialises all variables again: it learns from an untrained one, which
  it trains, too. Here it learns from the trained one, which stays;
- a step is repeated up to 10 (20) times while its loss is above 0.01 (1.4). Here each batch is one step.
"""

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmfusion.models.layers import laplacian, min_max_normalize
from mmfusion.registry import MODELS


@MODELS.register_module()
class CUFD(nn.Module):
    """Fuse by common and unique features.

    Args:
        channels: Of the features of a level.
        wide: Within a pair of convolutions.
        decoder_channels: Between the features and the image.
    """

    min_size = 3  # borders of two pixels are reflected

    def __init__(
        self, channels: int = 32, wide: int = 128, decoder_channels: tuple[int, int, int] = (64, 32, 16)
    ) -> None:
        super().__init__()
        c = channels
        self.encoder = nn.ModuleList(
            [_layer(1, c, 3), *(nn.Sequential(_layer(c, wide, 1), _layer(wide, c, 3)) for _ in range(3))]
        )
        widths = (4 * c, *decoder_channels)
        self.decoder = nn.Sequential(*(_layer(cin, cout, 3) for cin, cout in pairwise(widths)), _conv(widths[-1], 1, 3))
        self.split = _Dense(c, wide, _conv(3 * c, 4 * c, 3))
        self.join = _Dense(c, wide, _conv(3 * c, c, 1))

    def forward(self, vi: Tensor, ir: Tensor) -> Tensor:
        """Fuse N×1×H×W images in [0, 1] to N×1×H×W in [0, 1]."""
        joined = []
        for f_vi, f_ir in zip(self.encode(vi), self.encode(ir), strict=True):
            common_vi, common_ir, unique_vi, unique_ir = self.split(torch.cat([f_vi, f_ir], 1)).chunk(4, 1)
            share = common_vi / (common_vi + common_ir + 1e-9)  # both are positive
            common = share * common_vi + (1 - share) * common_ir
            unique = torch.maximum(unique_vi, unique_ir)
            joined.append(self.join(torch.cat([common, unique], 1)) + torch.maximum(f_vi, f_ir))
        return self.decode(joined)

    def encode(self, image: Tensor) -> list[Tensor]:
        """Stretch images to [0, 1], each by itself, and give features of four levels."""
        x, features = min_max_normalize(image, per_image=True), []
        for level in self.encoder:
            x = level(x)
            features.append(x)
        return features

    def decode(self, features: list[Tensor]) -> Tensor:
        """Decode features of four levels to an image in [0, 1]."""
        return torch.tanh(self.decoder(torch.cat(features, 1))) / 2 + 0.5

    def reconstruct(self, vi: Tensor, ir: Tensor) -> dict[str, Tensor]:
        """Encode and decode each source by itself: the first phase of training."""
        return dict(rebuilt_vi=self.decode(self.encode(vi)), rebuilt_ir=self.decode(self.encode(ir)))

    def decompose(self, vi: Tensor, ir: Tensor) -> dict[str, Tensor]:
        """Divide first-level features and join them again: the second phase.

        Returns:
            N×C×H×W each: ``features_<source>``, ``common_<source>``, ``joined_<source>``.
        """
        with torch.no_grad():
            features = [self.encoder[0](min_max_normalize(x, per_image=True)) for x in (vi, ir)]
        scaled = [f / (f.max() + 1e-9) for f in features]
        common_vi, common_ir, unique_vi, unique_ir = self.split(torch.cat(scaled, 1)).chunk(4, 1)
        return dict(
            features_vi=features[0],
            features_ir=features[1],
            common_vi=common_vi,
            common_ir=common_ir,
            joined_vi=self.join(torch.cat([common_vi, unique_vi], 1)),
            joined_ir=self.join(torch.cat([common_ir, unique_ir], 1)),
        )

    @staticmethod
    def from_authors(state: dict[str, Tensor]) -> dict[str, Tensor]:
        """Rename two TensorFlow checkpoints' variables, kernels from HWIO to OIHW.

        Args:
            state: Names begin with those of the files, ``1part1_model`` and ``part2_model``.
        """
        # Both files hold all four parts: image encoder and decoder count in the first, the others in the second.
        plain = {}
        for name, value in state.items():
            file, _, variable = name.rpartition('.')
            if ('s_' in variable) == ('part2' in file):
                plain[variable] = value
        # ours → part, name and number of a convolution; a batch norm has its number
        layers = {'encoder.0': ('m_encoder', 'conv1_1', 0)}
        for level in (1, 2, 3):
            layers[f'encoder.{level}.0'] = ('m_encoder', f'conv{level + 1}_1', 2 * level - 1)
            layers[f'encoder.{level}.1'] = ('m_encoder', f'conv{level + 1}_2', 2 * level)
        layers |= {f'decoder.{k}': ('m_decoder', f'conv2_{k + 1}', k) for k in range(4)}
        for ours, part in (('split', 's_encoder'), ('join', 's_decoder')):
            layers |= {f'{ours}.first': (part, 'conv1_1', 0), f'{ours}.transfer': (part, 'transfer_layer1', 7)}
            layers[f'{ours}.last'] = (part, 'output_layer', 14)
            for block in (1, 2):
                for k in (1, 2, 3):
                    number = 7 * (block - 1) + 2 * k
                    layers[f'{ours}.blocks.{block - 1}.{k - 1}.0'] = (part, f'dense_block{block}_conv{k}_1', None)
                    layers[f'{ours}.blocks.{block - 1}.{k - 1}.1'] = (part, f'dense_block{block}_conv{k}_2', number)
        out = {}
        norm = dict(weight='gamma', bias='beta', running_mean='moving_mean', running_var='moving_variance')
        for ours, (part, name, number) in layers.items():
            scope = f'DenseFuseNet/{part}/b{number}/batch_normalization'
            conv = f'{ours}.conv' if f'{scope}/gamma' in plain else ours
            out[f'{conv}.weight'] = plain[f'{part}/{name}/kernel'].permute(3, 2, 0, 1)
            out[f'{conv}.bias'] = plain[f'{part}/{name}/bias']
            if conv != ours:
                out |= {f'{ours}.norm.{k}': plain[f'{scope}/{v}'] for k, v in norm.items()}
                out[f'{ours}.norm.num_batches_tracked'] = torch.tensor(0)
        return out


class _Dense(nn.Module):
    """5×5 convolution, two dense blocks, a last convolution to [0, 1]."""

    def __init__(self, c: int, wide: int, last: nn.Conv2d) -> None:
        super().__init__()
        self.first = _layer(2 * c, c, 5)
        self.blocks = nn.ModuleList(
            nn.ModuleList(nn.Sequential(_conv(cin, wide, 1), _layer(wide, c, 3)) for cin in (c, c, 2 * c))
            for _ in range(2)
        )
        self.transfer, self.last = _layer(3 * c, c, 1), last

    def forward(self, x: Tensor) -> Tensor:
        x = self._block(0, self.first(x))
        x = self._block(1, self.transfer(x))
        return torch.tanh(self.last(x)) / 2 + 0.5

    def _block(self, k: int, x: Tensor) -> Tensor:
        first, *dense = self.blocks[k]
        x = first(x)
        for layer in dense:
            x = torch.cat([layer(x), x], 1)
        return x


class _ScaledConv(nn.Module):
    """Convolution, batch norm by statistics that never change, ReLU."""

    def __init__(self, cin: int, cout: int, size: int) -> None:
        super().__init__()
        self.conv, self.norm = _conv(cin, cout, size), nn.BatchNorm2d(cout, eps=1e-3)

    def forward(self, x: Tensor) -> Tensor:
        norm = self.norm
        x = F.batch_norm(self.conv(x), norm.running_mean, norm.running_var, norm.weight, norm.bias, eps=norm.eps)
        return F.relu(x)


def _conv(cin: int, cout: int, size: int) -> nn.Conv2d:
    return nn.Conv2d(cin, cout, size, padding=size // 2, padding_mode='reflect' if size > 1 else 'zeros')


def _layer(cin: int, cout: int, size: int) -> _ScaledConv:
    return _ScaledConv(cin, cout, size)


@MODELS.register_module()
class CUFDReconstructionLoss(nn.Module):
    """Compare rebuilt with stretched sources, in intensity and gradient.

    mean (s' − s)² + λ mean (∇s' − ∇s)², with λ the option ``gradient`` and ∇ a quarter of the Laplacian.
    """

    def __init__(self, gradient: float = 40.0, loss_weight: float = 1.0) -> None:
        super().__init__()
        self.gradient, self.loss_weight = gradient, loss_weight

    def forward(self, vi: Tensor, ir: Tensor, rebuilt_vi: Tensor, rebuilt_ir: Tensor) -> Tensor:
        """Return the weighted loss of N×1×H×W images in [0, 1]."""
        sources = min_max_normalize(torch.cat([vi, ir]), per_image=True)
        difference = torch.cat([rebuilt_vi, rebuilt_ir]) - sources
        total = difference.square().mean() + self.gradient * (laplacian(difference) / 4).square().mean()
        return self.loss_weight * total


@MODELS.register_module()
class CUFDDecompositionLoss(nn.Module):
    """Hold common features near both sources', joined ones near either's.

    mean Σ_k min(|c_k − f_vi|, |c_k − f_ir|)² + 4 (c_vi − c_ir)², plus λ times the mean of 7 (f'_vi − f_vi)² +
    3 (f'_ir − f_ir)² + 18 (∇Σf'_vi − 1.5 ∇Σf_vi)² + 25 (∇Σf'_ir − 1.5 ∇Σf_ir)², sums over channels, ∇ the mean of a pixel's
    eight neighbours less the pixel.

    Args:
        pixel: λ.
        loss_weight: Factor on the loss.
    """

    def __init__(self, pixel: float = 50.0, loss_weight: float = 1.0) -> None:
        super().__init__()
        self.pixel, self.loss_weight = pixel, loss_weight

    def forward(
        self,
        features_vi: Tensor,
        features_ir: Tensor,
        common_vi: Tensor,
        common_ir: Tensor,
        joined_vi: Tensor,
        joined_ir: Tensor,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the weighted loss of N×C×H×W features, and its terms."""
        sources = (features_vi, features_ir)
        near = [torch.minimum(*((c - f).abs() for f in sources)).square() for c in (common_vi, common_ir)]
        common = (near[0] + near[1] + 4 * (common_vi - common_ir).square()).mean()
        pixel = 0.0
        for weight, edge_weight, joined, f in ((7, 18, joined_vi, features_vi), (3, 25, joined_ir, features_ir)):
            edges = _neighbours((joined - 1.5 * f).sum(1, keepdim=True))
            pixel = pixel + weight * (joined - f).square().mean() + edge_weight * edges.square().mean()
        return self.loss_weight * (common + self.pixel * pixel), dict(common=common.detach(), pixel=pixel.detach())


def _neighbours(x: Tensor) -> Tensor:
    """Mean of a pixel's eight neighbours, less the pixel; zeros around."""
    return 1.125 * (F.avg_pool2d(x, 3, 1, 1) - x)
