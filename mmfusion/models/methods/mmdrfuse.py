"""MMDRFuse: two convolutions, distilled from a larger network and refreshed.

Deng, Xu, Cheng, Wu, Kittler: "MMDRFuse: Distilled Mini-Model with Dynamic Refresh for Multi-Modality Image Fusion", ACM
Multimedia 2024. https://arxiv.org/abs/2408.15641

The student has 113 parameters. Its loss compares with the maximum of both sources (content), with the teacher's last
features and image (distillation), and, where a batch has become worse than the same pairs once were, with those results
(dynamic refresh). The teacher is MUFusion's network with one more convolution; it learns without distillation.

What the public code (yanglinDeng/MMDRFuse, c9e5014) does beside: the student's second convolution begins as the
teacher's last one; better and worse are decided for a batch, by SSIM and by the deviation of gradient magnitude
similarity (GMSD), and each part of the refresh weighs ten times the gap.
"""

from collections.abc import Sequence

import torch
from pytorch_msssim import ssim
from torch import Tensor, nn
from torch.nn import functional as F

from mmfusion.models.priors import FrozenPrior, PriorHolder
from mmfusion.models.priors.frozen import load_exactly, seeded
from mmfusion.registry import MODELS
from mmfusion.utils.checkpoint import read_checkpoint

from .mufusion import MUFusion, block


def conv(in_channels: int, out_channels: int) -> nn.Conv2d:
    """Make a 3×3 convolution with reflected borders."""
    return nn.Conv2d(in_channels, out_channels, 3, padding=1, padding_mode='reflect')


@MODELS.register_module()
class MMDRFuseTeacher(MUFusion):
    """MUFusion's encoder and decoder, with features of 4 channels.

    Height and width must be even: the fuser's ``size_divisor=2``.

    Args:
        channels: At full and at half resolution.
    """

    def __init__(self, channels: tuple[int, int] = (32, 64)) -> None:
        super().__init__(channels)
        self.decoder[0] = block(2 * channels[0], 4)
        self.head = conv(4, 1)

    def forward(self, vi: Tensor, ir: Tensor) -> dict[str, Tensor]:
        """Fuse N×1×H×W images in [0, 1]; ``fused`` N×1×H×W in (−1, 1), and ``features`` N×4×H×W."""
        features = super().forward(vi, ir)
        return dict(fused=self.head(features).tanh(), features=features)

    @staticmethod
    def from_authors(state: dict[str, Tensor]) -> dict[str, Tensor]:
        """Rename the public code's parameters."""
        head = {name: value for name, value in state.items() if name.startswith('conv00.')}
        rest = {name: value for name, value in state.items() if name not in head}
        renamed = {name.replace('conv00.1.', 'head.'): value for name, value in head.items()}
        return {**MUFusion.from_authors(rest), **renamed}


@MODELS.register_module()
class MMDRFuse(nn.Module):
    """The student: two convolutions, ReLU between them, Tanh behind.

    Args:
        teacher: File of the teacher's weights, from whose last convolution the second one begins; None for random
        numbers.
    """

    min_size = 2

    def __init__(self, teacher: str | None = None) -> None:
        super().__init__()
        self.encoder, self.decoder = conv(2, 4), conv(4, 1)
        if teacher:
            self.decoder.load_state_dict(load_teacher(teacher).head.state_dict())

    def forward(self, vi: Tensor, ir: Tensor) -> dict[str, Tensor]:
        """Fuse N×1×H×W images in [0, 1]; ``fused`` N×1×H×W in (−1, 1), and ``features`` N×4×H×W."""
        features = self.encoder(torch.cat([ir, vi], 1)).relu()
        return dict(fused=self.decoder(features).tanh(), features=features)

    @staticmethod
    def from_authors(state: dict[str, Tensor]) -> dict[str, Tensor]:
        """Rename the public code's parameters."""
        names = {'conv1.1.': 'encoder.', 'conv2.1.': 'decoder.'}
        return {names[name[:8]] + name[8:]: value for name, value in state.items()}


def load_teacher(weights: str) -> MMDRFuseTeacher:
    """Build the teacher with a file's weights, authors' or ours.

    Args:
        weights: File, or ``'random'`` for the same random numbers in every run.
    """
    if weights == 'random':
        return seeded(MMDRFuseTeacher)
    state = {name.removeprefix('network.'): value for name, value in read_checkpoint(weights)[0].items()}
    teacher = MMDRFuseTeacher()
    if 'conv00.1.weight' in state:
        state = teacher.from_authors(state)
    load_exactly(teacher, state, weights, "MMDRFuse's teacher")
    return teacher


class TeacherPrior(FrozenPrior):
    """The teacher, frozen."""

    def __init__(self, weights: str) -> None:
        super().__init__()
        self.weights = weights
        self.network = load_teacher(weights)
        self.freeze()

    def forward(self, vi: Tensor, ir: Tensor) -> dict[str, Tensor]:
        """Features and fused image, without a graph."""
        with torch.no_grad():
            return self.network(vi, ir)


@MODELS.register_module()
class MaximumContentLoss(PriorHolder):
    """MMDRFuse's content loss, against the maximum of both sources.

    a|f − m| + b Σ_k‖Φ_k(f) − max(Φ_k(ir), Φ_k(vi))‖²/5 + ‖Δf − Δm‖²/10, m = max(vi, ir), means, Δ the Laplacian of
    eight neighbours, Φ = relu1_2, relu2_2, relu3_4, relu4_4, relu5_4.

    Args:
        prior: Config of a :class:`VGGPrior`, VGG19.
        intensity: a.
        perception: b.
        loss_weight: Factor on the loss.
    """

    layers = ('relu1_2', 'relu2_2', 'relu3_4', 'relu4_4', 'relu5_4')

    def __init__(self, prior: dict, intensity: float = 1.0, perception: float = 2.0, loss_weight: float = 1.0) -> None:
        super().__init__()
        self.hold('vgg', MODELS.build(dict(prior, layers=self.layers)))
        self.intensity, self.perception, self.loss_weight = intensity, perception, loss_weight

    def forward(self, fused: Tensor, vi: Tensor, ir: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Compare N×1×H×W images in [0, 1]; also gives the terms for the log."""
        vgg, target = self.prior('vgg'), torch.maximum(vi, ir)
        with torch.no_grad():
            features = [torch.maximum(a, b) for a, b in zip(vgg(vi).values(), vgg(ir).values(), strict=True)]
        compared = [F.mse_loss(a, b) for a, b in zip(vgg(fused).values(), features, strict=True)]
        terms = dict(
            intensity=self.intensity * F.l1_loss(fused, target),
            perception=self.perception * sum(compared) / len(compared),
            gradient=F.mse_loss(laplacian(fused), laplacian(target)) / 10,
        )
        return self.loss_weight * sum(terms.values()), {k: term.detach() for k, term in terms.items()}


@MODELS.register_module()
class DistillationLoss(PriorHolder):
    """MMDRFuse's distillation loss: Σ ‖s/‖s‖ − t/‖t‖‖²/2 over features and image.

    Norms are of the whole batch.

    Args:
        teacher: File of the teacher's weights, or ``'random'``.
        loss_weight: Factor on the loss.
    """

    def __init__(self, teacher: str, loss_weight: float = 5.0) -> None:
        super().__init__()
        self.hold('teacher', TeacherPrior(teacher))
        self.loss_weight = loss_weight

    def forward(self, fused: Tensor, features: Tensor, vi: Tensor, ir: Tensor) -> Tensor:
        """Compare the student's ``fused`` and ``features`` with the teacher's."""
        teacher = self.prior('teacher')(vi, ir)
        loss = 0
        for mine, theirs in ((features, teacher['features']), (fused, teacher['fused'])):
            mine, theirs = mine.sum(1), theirs.sum(1)
            loss = loss + (mine / mine.norm() - theirs / theirs.norm()).square().sum() / 2
        return self.loss_weight * loss


@MODELS.register_module()
class DynamicRefreshLoss(PriorHolder):
    """MMDRFuse's dynamic refresh: hold on to pairs' best earlier results.

    By SSIM with both sources, and by GMSD from both, a batch is better or worse than the remembered results of its
    pairs. If better, it is remembered. If worse by a gap, the loss is 10 · gap times the distance from the remembered
    results: by SSIM mean |f − m| and VGG19's two deepest features, by GMSD second derivatives and the three shallowest.

    The memory is kept by the samples' ``img_path`` in half precision, in the process and not in checkpoints; a batch
    with a pair that it does not know is remembered, and has no loss. It fits fixed patches only.

    Args:
        prior: Config of a :class:`VGGPrior`, VGG19.
        loss_weight: Factor on the loss.
    """

    def __init__(self, prior: dict, loss_weight: float = 10.0) -> None:
        super().__init__()
        self.hold('vgg', MODELS.build(dict(prior, layers=MaximumContentLoss.layers)))
        self.loss_weight = loss_weight
        self.memory: dict[str, dict[str, Tensor]] = dict(ssim={}, gmsd={})

    def forward(
        self, fused: Tensor, vi: Tensor, ir: Tensor, img_path: Sequence[str] | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Compare N×1×H×W images, 11×11 or more; also gives both parts."""
        terms = {}
        for name, likeness in (('ssim', self.likeness), ('gmsd', lambda *x: -self.deviation(*x))):
            terms[name] = fused.sum() * 0
            best = self.recall(name, fused, img_path)
            with torch.no_grad():
                gap = 0 if best is None else likeness(best, vi, ir) - likeness(fused, vi, ir)
            if best is None or gap < 0:
                self.remember(name, fused, img_path)
            elif gap > 0:
                terms[name] = self.loss_weight * gap * self.distance(name, fused, best)
        return sum(terms.values()), {k: term.detach() for k, term in terms.items()}

    def distance(self, name: str, fused: Tensor, best: Tensor) -> Tensor:
        """Compute the distance of a batch from its remembered results."""
        layers = MaximumContentLoss.layers[3:] if name == 'ssim' else MaximumContentLoss.layers[:3]
        vgg = self.prior('vgg')
        with torch.no_grad():
            target = vgg(best, layers)
        found = vgg(fused, layers)
        features = sum(F.mse_loss(found[k], target[k]) for k in layers) / len(layers)
        if name == 'ssim':
            return features + F.l1_loss(fused, best)
        return features + F.mse_loss(laplacian(fused), laplacian(best))

    @staticmethod
    def likeness(image: Tensor, vi: Tensor, ir: Tensor) -> Tensor:
        """Sum SSIM with both sources."""
        return ssim(image, ir, data_range=1.0) + ssim(image, vi, data_range=1.0)

    @staticmethod
    def deviation(image: Tensor, vi: Tensor, ir: Tensor) -> Tensor:
        """Sum GMSD from both sources, each the mean over the batch."""
        return gmsd(image, ir).mean() + gmsd(image, vi).mean()

    def recall(self, name: str, fused: Tensor, names: Sequence[str] | None) -> Tensor | None:
        """Give a batch's remembered results; None where one is unknown."""
        known = [self.memory[name].get(path) for path in names or ()]
        if not known or any(image is None or image.shape != fused.shape[1:] for image in known):
            return None
        return torch.stack(known).to(fused)

    def remember(self, name: str, fused: Tensor, names: Sequence[str] | None) -> None:
        """Keep the results of a batch."""
        if names:
            self.memory[name].update(zip(names, fused.detach().half().cpu(), strict=True))


def laplacian(x: Tensor) -> Tensor:
    """Compute each pixel's eight neighbours' mean less itself; black around."""
    kernel = x.new_full((1, 1, 3, 3), 1 / 8)
    kernel[..., 1, 1] = -1
    return F.conv2d(x, kernel, padding=1)


def gmsd(a: Tensor, b: Tensor, c: float = 170.0) -> Tensor:
    """Compute the gradient magnitude similarity deviation (Xue et al., 2014); N."""
    kernel = a.new_tensor([[1, 0, -1]] * 3).view(1, 1, 3, 3) / 3
    energies = []
    for x in (a, b):
        x = F.avg_pool2d(255 * x, 2)
        energies.append(F.conv2d(x, kernel).square() + F.conv2d(x, kernel.mT).square())
    similarity = (2 * (energies[0] * energies[1]).sqrt() + c) / (energies[0] + energies[1] + c)
    return similarity.flatten(1).std(1)
