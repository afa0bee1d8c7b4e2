"""AUIF: two optimisation problems, unrolled, for base and detail.

Zhao, Xu, Zhang, Liang, Zhang, Liu: "Efficient and Model-Based Infrared and Visible Image Fusion via Algorithm Unrolling",
IEEE TCSVT 32 (3), 2022.

Two optimisation problems split an image into base and detail; each gradient step of theirs is a layer with a learned filter
and its adjoint, a learned step η and a learned weight θ. Base starts from a box blur, detail from a Laplacian. A
convolution makes the image from their sum, and the fused image from the sums over both images.

The public code (Zhaozixiang1228/IVIF-AUIF-Net, 8f54650) reflects the borders of images and filter responses.
"""

import torch
import torch.nn.functional as F
from kornia.filters import box_blur, laplacian
from torch import Tensor, nn

from mmfusion.registry import MODELS

RULES = {'sum': torch.add, 'average': lambda a, b: (a + b) / 2}


class UnrolledStep(nn.Module):
    """One gradient step: x − η (g(Kᵀ K x) − θ (I − x)).

    Args:
        channels: Filters of K.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.kernel = nn.Parameter(torch.randn(channels, 1, 3, 3))
        self.rest = nn.Sequential(nn.BatchNorm2d(1), nn.PReLU())
        self.eta = nn.Parameter(0.1 + 0.03 * torch.randn(1))
        self.theta = nn.Parameter(1e-3 + 1e-4 * torch.randn(1))

    def forward(self, x: Tensor, image: Tensor) -> Tensor:
        """N×1×H×W twice → N×1×H×W."""
        responses = F.conv2d(F.pad(x, (1, 1, 1, 1), mode='reflect'), self.kernel)
        adjoint = torch.rot90(self.kernel, 2, [-1, -2]).transpose(0, 1)
        again = F.conv2d(F.pad(responses, (1, 1, 1, 1), mode='reflect'), adjoint)
        return x - self.eta * (self.rest(again) - self.theta * (image - x))


@MODELS.register_module()
class AUIF(nn.Module):
    """Network of AUIF.

    Args:
        channels: Filters of each step.
        num_steps: Steps of either part.
        rule: How base and detail of both images are joined: ``'sum'`` or ``'average'``.

    Raises:
        ValueError: If the rule is unknown.
    """

    min_size = 10  # the Laplacian's window of 19 is reflected

    def __init__(self, channels: int = 64, num_steps: int = 10, rule: str = 'sum') -> None:
        super().__init__()
        if rule not in RULES:
            raise ValueError(f'rule must be one of {", ".join(RULES)}, got {rule!r}')
        self.rule = rule
        self.base = nn.ModuleList(UnrolledStep(channels) for _ in range(num_steps))
        self.detail = nn.ModuleList(UnrolledStep(channels) for _ in range(num_steps))
        self.decoder = nn.Sequential(
            nn.Conv2d(1, 1, 3, padding=1, padding_mode='reflect', bias=False), nn.BatchNorm2d(1), nn.Sigmoid()
        )

    def encode(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """N×1×H×W → base and detail, N×1×H×W each."""
        base, detail = box_blur(image, (11, 11)), laplacian(image, 19)
        for step in self.base:
            base = step(base, image)
        for step in self.detail:
            detail = step(detail, image)
        return base, detail

    def reconstruct(self, vi: Tensor) -> dict[str, Tensor]:
        """Give an image back: the phase that is trained, on single images."""
        return dict(vi_hat=self.decoder(sum(self.encode(vi))))

    def forward(self, vi: Tensor, ir: Tensor) -> Tensor:
        """Fuse N×1×H×W images; N×1×H×W in [0, 1]."""
        join = RULES[self.rule]
        base, detail = (join(b, a) for a, b in zip(self.encode(vi), self.encode(ir), strict=True))
        return self.decoder(base + detail)

    @staticmethod
    def from_authors(state: dict[str, Tensor]) -> dict[str, Tensor]:
        """Translate the names of the three files, ``TCSVT_Encoder_Base``, ``…_Detail`` and ``TCSVT_Decoder``."""
        prefixes = {
            'TCSVT_Encoder_Base.conv1.': 'base.',
            'TCSVT_Encoder_Detail.conv2.': 'detail.',
            'TCSVT_Decoder.decoder.': 'decoder.',
        }
        out = {}
        for name, value in state.items():
            theirs = next(p for p in prefixes if name.startswith(p)) if name.startswith(tuple(prefixes)) else None
            if theirs is None:
                raise KeyError(f'{name}: not a name of AUIF')
            rest = name.removeprefix(theirs)
            if prefixes[theirs] == 'decoder.':  # a layer of its own pads there
                position, _, part = rest.partition('.')
                rest = f'{int(position) - 1}.{part}'
            out[prefixes[theirs] + rest] = value
        return out
