"""OCCO's contextual contrastive loss (section 3.3, eq. 5-14)."""

import torch

from mmfusion.models.priors import PriorHolder
from mmfusion.registry import MODELS

from .contextual import contextual_distance, euclidean_distance
from .masked_vgg import RegionFeatures
from .regions import split_masks

# anchor's region → (positive, negative) modality of each ratio; the shared region is contrasted both ways (eq. 6, 7)
_TERMS = (
    ('unique_vi', 'unique_vi', 'vi', 'ir'),
    ('unique_ir', 'unique_ir', 'ir', 'vi'),
    ('shared_vi', 'shared', 'vi', 'ir'),
    ('shared_ir', 'shared', 'ir', 'vi'),
)
# Weights of layers in 𝒟. The public code's; eq. 13 has none, so that each layer counts 1 in the paper's variant.
_LAYERS = dict(contextual={'relu4_4': 0.25, 'relu5_4': 1.0}, euclidean={'relu4_1': 0.25, 'relu5_1': 1.0})


@MODELS.register_module()
class ContextualContrastiveLoss(PriorHolder):
    """Object-aware contextual contrastive loss L_CCL = L_unique + L_share + L_bg (eq. 5).

    A batch is split into b groups. Anchors (fused) and positives are the images of the first group, negatives those of
    all groups, the j-th masked by its own region. Each term is 𝒟(anchor, positive) / Σ_j 𝒟(anchor, negative_j) within a
    region (eq. 6-8); 𝒟 sums the distances of deep VGG features over layers (eq. 13); the background is compared on the
    first layer by l2 (eq. 14).

    VGG runs once a step on the anchors, with gradient, and once, without, on all positives and negatives.

    Args:
        prior (dict): Config of a :class:`VGGPrior`.
        groups (int): b; the paper's ratio of negatives, 4.
        layers (dict[str, float]): Layer → weight in 𝒟. Default: in contextual space relu4_4 and relu5_4, in Euclidean
            space relu4_1 and relu5_1 (public code), with weights 0.25 and 1 (public code) or 1 and 1 (paper, eq. 13).
        space (str): ``'contextual'``, or ``'euclidean'`` (ablation Model-1, Model-3): the public code's
            ``ContrastiveLoss_L2``, on features of a VGG that takes grey images as they are, without normalisation.
        variant (str): ``'official'``, the public code: the ratio is taken layer by layer and summed with the layers'
            weights; in the fifth stage anchor and positive change places, 𝒟(positive, anchor), and only there; 𝒟_bg is
            the mean squared error on relu1_1 × 1/16. ``'paper'``: 𝒟 sums over layers before the ratio (eq. 13), 𝒟_bg is
            the l2 norm on relu1_1 of each image (eq. 14). See also :func:`contextual_distance`.
        empty (str): What happens to an image of the first group whose region is empty. ``'keep'`` (public code): black
            features of anchor and positive stay in the term, with distance 0, and shift the mean of the group.
            ``'drop'``: the image is left out of that region's term, together with its negatives; a term without images is
            0 with zero gradient. The paper does not say.
        omega (tuple[float, float, float]): ω1, ω2 of eq. 7 and ω3 of eq. 12.
        chunk, max_points: See :func:`contextual_distance`.
        vgg_batch (int): Images that VGG takes at a time on a GPU; bounds the memory. A CPU takes them one by one.
        loss_weight (float): Factor on the loss (ω6).

    Raises:
        ValueError: If space, variant or empty is unknown, or a batch does not split into ``groups``.
    """

    def __init__(
        self,
        prior,
        groups=4,
        layers=None,
        space='contextual',
        variant='official',
        empty='keep',
        omega=(0.5, 0.5, 0.5),
        chunk=512,
        max_points=None,
        vgg_batch=4,
        loss_weight=1.0,
    ):
        super().__init__()
        for name, value, known in (
            ('space', space, ('contextual', 'euclidean')),
            ('variant', variant, ('official', 'paper')),
            ('empty', empty, ('keep', 'drop')),
        ):
            if value not in known:
                raise ValueError(f'{name} must be {known[0]!r} or {known[1]!r}, got {value!r}')
        if not layers:
            layers = {k: 1.0 if variant == 'paper' else w for k, w in _LAYERS[space].items()}
        self.layers = dict(layers)
        self.hold('vgg', MODELS.build(dict(prior, layers=tuple(self.layers))))
        self.regions = RegionFeatures(self.prior('vgg'), grey=space == 'euclidean')
        self.groups, self.space, self.variant, self.empty = groups, space, variant, empty
        self.omega = tuple(omega)
        self.options = dict(chunk=chunk, max_points=max_points)
        self.vgg_batch, self.loss_weight = vgg_batch, loss_weight

    def forward(self, fused, vi, ir, mask_vi, mask_ir):
        """Loss of a batch.

        Args:
            fused, vi, ir (Tensor): B×1×H×W in [0, 1]; B = b·n.
            mask_vi, mask_ir (Tensor): B×1×H×W boolean, objects that each modality shows.

        Returns:
            tuple[Tensor, dict[str, Tensor]]: The weighted loss, and its terms before ω1, ω2, ω6 for the log.
        """
        if len(fused) % self.groups:
            sizes = ', '.join(str(self.groups * k) for k in (1, 2, 3))
            raise ValueError(
                f'ContextualContrastiveLoss splits a batch into {self.groups} groups, and this one has {len(fused)} '
                f'pairs. Use a batch_size of {sizes}, … with drop_last=True, or another number of groups.'
            )
        n = len(fused) // self.groups
        regions = split_masks(mask_vi, mask_ir)
        sources = dict(vi=vi.detach(), ir=ir.detach())
        present = {r: self._present(regions[r][:n]) for r in ('unique_vi', 'unique_ir', 'shared')}
        features = self._features(fused[:n], sources, regions, present, n)
        zero = fused.sum() * 0
        terms = {}
        for name, region, positive, negative in _TERMS:
            terms[name] = self._term(features, region, positive, negative) if len(present[region]) else zero
        background = regions['background']
        terms['background'] = self._background(fused[:n], sources, background, n) if background[:n].any() else zero
        w1, w2 = self.omega[:2]
        total = terms['unique_vi'] + terms['unique_ir'] + w1 * terms['shared_vi'] + w2 * terms['shared_ir']
        return self.loss_weight * (total + terms['background']), {k: v.detach() for k, v in terms.items()}

    def _present(self, region):
        """Which images of the first group take part in a region's term."""
        if self.empty == 'keep':
            return torch.arange(len(region), device=region.device)
        return region.flatten(1).any(1).nonzero()[:, 0]

    def _features(self, anchors, sources, regions, present, n):
        """VGG features of every masked image that a term needs.

        Returns:
            dict: (region, ``'fused'``) → features of the m anchors that take part; (region, modality) → features of
            the same images of each group, (groups·m); of the first group only where it serves as positive alone.
        """
        fixed, moving = {}, {}
        for region, index in present.items():
            if len(index) == 0:
                continue
            moving[region, 'fused'] = (anchors[index], regions[region][index])
            rows = (torch.arange(self.groups, device=index.device)[:, None] * n + index).flatten()
            for modality in ('vi', 'ir'):
                only_positive = region == f'unique_{modality}'
                chosen = index if only_positive else rows
                fixed[region, modality] = (sources[modality][chosen], regions[region][chosen])
        with torch.no_grad():
            out = self._run(fixed)
        return {**out, **self._run(moving)}

    def _run(self, images):
        """Features of all (images, regions), by key, in one call."""
        if not images:
            return {}
        stacked, regions = (torch.cat(parts) for parts in zip(*images.values(), strict=True))
        sizes = [len(v) for v, _ in images.values()]
        layers = self.regions.masked(stacked, regions, self.vgg_batch)
        split = {name: value.split(sizes) for name, value in layers.items()}
        return {key: {name: split[name][i] for name in layers} for i, key in enumerate(images)}

    def _term(self, features, region, positive, negative):
        """𝒟(anchor, positive) / Σ_j 𝒟(anchor, negative_j) in one region."""
        anchor, pos, neg = (features[region, k] for k in ('fused', positive, negative))
        m = len(next(iter(anchor.values())))
        # The positives are one more group of the same comparison.
        numerators, denominators = [], []
        for layer, weight in self.layers.items():
            x, y = anchor[layer], pos[layer][:m]
            groups = len(neg[layer]) // m
            if self.variant == 'official' and layer.startswith('relu5'):
                first, second = y, x  # the public code hands these over the other way round, in its relu5_4 alone
            else:
                first, second = x, y
            firsts = torch.cat([first, x.repeat(groups, 1, 1, 1)])
            distance = weight * self._distance(firsts, torch.cat([second, neg[layer]]), groups + 1)
            numerators.append(distance[0])
            denominators.append(distance[1:].sum())
        if self.variant == 'paper':
            return _ratio(sum(numerators), sum(denominators))
        return sum(w * _ratio(p, q) for w, p, q in zip(self.layers.values(), numerators, denominators, strict=True))

    def _distance(self, x, y, groups):
        if self.space == 'euclidean':
            return euclidean_distance(x, y, self.variant, groups)
        return contextual_distance(x, y, self.variant, self.omega[2], groups=groups, **self.options)

    def _background(self, anchors, sources, region, n):
        """Eq. 8 with eq. 14: l2 on the first layer, group by group."""
        shallow = self.regions.shallow
        x = shallow(anchors * region[:n])
        with torch.no_grad():
            positive = shallow(sources['vi'][:n] * region[:n])
        numerator = euclidean_distance(x, positive, self.variant)[0]
        denominator = 0.0
        for ir, mask in zip(sources['ir'].split(n), region.split(n), strict=True):
            with torch.no_grad():
                negative = shallow(ir * mask)
            denominator = denominator + euclidean_distance(x, negative, self.variant)[0]
        factor = 1 / 16 if self.variant == 'official' else 1.0
        return factor * _ratio(numerator, denominator)


def _ratio(numerator, denominator):
    """Quotient that is 0, not NaN, where all is black: 0 / 0."""
    return numerator / torch.where(denominator == 0, torch.finfo(denominator.dtype).tiny, denominator)
