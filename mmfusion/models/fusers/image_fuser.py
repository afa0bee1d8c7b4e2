"""ImageFuser: what joins a fusion network, its losses and colour."""

import inspect

import torch
from kornia.color import rgb_to_ycbcr, ycbcr_to_rgb
from mmengine.logging import print_log
from mmengine.model import BaseModel
from mmengine.structures import PixelData
from torch import nn

from mmfusion.models.layers import at_least_float32
from mmfusion.models.priors import FeaturePrior, PriorHolder
from mmfusion.registry import MODELS
from mmfusion.structures import FusionDataSample
from mmfusion.utils.checkpoint import place_before_loading

from .sliding import slide


@MODELS.register_module()
class ImageFuser(PriorHolder, BaseModel):
    """Fuse visible and infrared images by a network that sees luminance and infrared.

    The network gets Y of the visible image (BT.601) and the infrared image, N×1×H×W in [0, 1] each, and gives the fused Y
    in [0, 1]. The fused image keeps the visible image's Cb and Cr.

    With a prior it gets, as a third argument, ``dict(vi=PriorFeatures, ir=PriorFeatures)``: the prior sees the visible
    image in colour and the infrared one repeated to three channels, both modalities as one batch, once a step.

    A loss is any module whose ``forward`` takes, by name, some of ``fused``, ``vi``, ``ir`` (N×1×H×W float32), ``vi_rgb``
    (N×3×H×W), ``mask_vi``, ``mask_ir`` (N×1×H×W bool), and gives a scalar, or a scalar and a dict of scalars for the log.
    Its name in the log is its ``loss_name``, numbered from the second of the same name on (``texture``, ``texture_2``).

    Args:
        network (dict): Config of the fusion network.
        losses (Sequence[dict], optional): Configs of the losses; a model for testing only needs none.
        prior (dict, optional): Config of a :class:`FeaturePrior`, such as :class:`CLIPPrior`. It is frozen, and not among
            the model's parameters.
        test_cfg (dict, optional): ``mode='whole'`` (default), or ``mode='slide'`` with ``crop_size`` and ``stride``
            (height, width) as in mmseg, and ``exact`` (default True): see :func:`slide`. With a prior each window is
            fused by itself, the prior's features included.
        data_preprocessor (dict, optional): Default :class:`FusionDataPreprocessor`.
        init_cfg (dict, optional): As in mmengine.

    Raises:
        ValueError: Unknown test mode; a loss asks for what a fuser does not have.
        TypeError: The prior is none that gives :class:`PriorFeatures`.
    """

    def __init__(self, network, losses=(), prior=None, test_cfg=None, data_preprocessor=None, init_cfg=None):
        super().__init__(data_preprocessor or dict(type='mmfusion.FusionDataPreprocessor'), init_cfg)
        self.network = MODELS.build(network)
        self.losses = nn.ModuleList(MODELS.build(loss) for loss in losses)
        if prior is not None:
            self.hold('prior', MODELS.build(prior))
            if not isinstance(self.prior('prior'), FeaturePrior):
                raise TypeError(
                    f'prior: {type(self.prior("prior")).__name__} gives no PriorFeatures. Expected one such as '
                    'mmfusion.CLIPPrior or mmfusion.DINOv2Prior.'
                )
        self.test_cfg = dict(test_cfg or dict(mode='whole'))
        if self.test_cfg.get('mode') not in ('whole', 'slide'):
            raise ValueError(f"test_cfg.mode must be 'whole' or 'slide', got {self.test_cfg.get('mode')!r}")
        place_before_loading(self)
        self._wants = [_wanted(loss) for loss in self.losses]
        names = [loss.loss_name for loss in self.losses]
        seen = [names[: i + 1].count(name) for i, name in enumerate(names)]
        self._names = [f'{name}_{k}' if k > 1 else name for name, k in zip(names, seen, strict=True)]

    def place_state_dict(self, state):
        """Take the fuser out of a cascade's state dict; any other state dict stays as it is.

        Args:
            state (dict[str, Tensor]): Of this model, or of a cascade (names that start with ``fuser.``).

        Returns:
            dict[str, Tensor]: With this model's names.
        """
        mine = {name.removeprefix('fuser.'): value for name, value in state.items() if name.startswith('fuser.')}
        if not mine or not self.state_dict().keys().isdisjoint(state):
            return state
        print_log(
            f'The weights are those of a cascade: its fuser is taken ({len(mine)} of {len(state)} tensors).', 'current'
        )
        return mine

    def forward(self, inputs, data_samples=None, mode='tensor'):
        """Run in one of mmengine's modes.

        Args:
            inputs (dict): ``vi`` (N×3×H×W, R, G, B) and ``ir`` (N×1×H×W) in [0, 1], or lists of single images.
            data_samples (list[FusionDataSample], optional): Annotations; with ``'predict'`` they receive the results.
            mode (str): ``'loss'``, ``'predict'`` or ``'tensor'``.

        Returns:
            dict of losses; list of data samples with ``fused``; or the fused RGB image(s), N×3×H×W or a list.
        """
        if mode == 'loss':
            return self.loss(inputs, data_samples)
        if mode == 'predict':
            return self.predict(inputs, data_samples)
        if mode == 'tensor':
            return self.fuse(inputs['vi'], inputs['ir'], data_samples)
        raise ValueError(f"mode must be 'loss', 'predict' or 'tensor', got {mode!r}")

    def fuse(self, vi, ir, data_samples=None):
        """Fuse to colour.

        Args:
            vi (Tensor | list[Tensor]): N×3×H×W in [0, 1], R, G, B, or a list of 3×H×W of any sizes.
            ir (Tensor | list[Tensor]): N×1×H×W, or a list of 1×H×W.
            data_samples (list[FusionDataSample], optional): Tell a prior which files these are.

        Returns:
            Tensor | list[Tensor]: Fused R, G, B in [0, 1], in the form of ``vi``; differentiable.
        """
        if isinstance(vi, torch.Tensor):
            return self.colorize(self.fuse_luminance(vi, ir, data_samples), vi)
        out = [None] * len(vi)
        # Images of one size go through the network together; images of different sizes never share a padded batch.
        for index in by_size(vi):
            samples = data_samples and [data_samples[i] for i in index]
            fused = self.fuse(torch.stack([vi[i] for i in index]), torch.stack([ir[i] for i in index]), samples)
            for i, image in zip(index, fused, strict=True):
                out[i] = image
        return out

    def fuse_luminance(self, vi, ir, data_samples=None):
        """Fused luminance: the network, whole or by sliding window, on luminance, infrared and the prior's features.

        Args:
            vi (Tensor): N×3×H×W, R, G, B in [0, 1].
            ir (Tensor): N×1×H×W in [0, 1].
            data_samples (list[FusionDataSample], optional): Tell a prior which files these are.

        Returns:
            Tensor: N×1×H×W in [0, 1]; differentiable.
        """
        if self.training or self.test_cfg['mode'] == 'whole':
            return self._run_network(vi, ir, data_samples)
        options = {k: v for k, v in self.test_cfg.items() if k != 'mode'}
        if self.priors():
            return slide(self._run_network, vi, ir, **options)
        return slide(self.network, luminance(vi), ir, **options)

    def _run_network(self, vi, ir, data_samples=None):
        """The network on whole images N×3×H×W and N×1×H×W, with one run of the prior, if any, for both modalities."""
        if not self.priors():
            return self.network(luminance(vi), ir)
        paths = [s.get('img_path') for s in data_samples or ()]
        names = [path and f'{path} ({modality})' for modality in ('vi', 'ir') for path in paths]
        both = self.prior('prior')(torch.cat([vi, ir.expand(-1, 3, -1, -1)]), names or None)
        return self.network(luminance(vi), ir, dict(vi=both[: len(vi)], ir=both[len(vi) :]))

    @staticmethod
    def colorize(y, vi):
        """Give fused luminance N×1×H×W the Cb and Cr of the visible image N×3×H×W; clipped to [0, 1]."""
        ycbcr = rgb_to_ycbcr(at_least_float32(vi))
        return ycbcr_to_rgb(torch.cat([at_least_float32(y), ycbcr[:, 1:]], dim=1)).clamp(0, 1)

    def loss(self, inputs, data_samples):
        """All losses of a batch.

        Returns:
            dict[str, Tensor]: ``loss_<name>`` per loss, summed by mmengine, and terms for the log.

        Raises:
            ValueError: Images of several sizes; a loss needs masks that the samples do not have.
            FloatingPointError: A loss is not finite; the files of the batch are named.
        """
        vi, ir = inputs['vi'], inputs['ir']
        if not isinstance(vi, torch.Tensor):
            sizes = sorted({tuple(v.shape[1:]) for v in vi})
            raise ValueError(
                f'training needs images of one size in a batch, got {sizes} (height, width). Crop or resize in the '
                'pipeline (mmfusion.ForegroundCrop, mmseg.RandomCrop, mmcv Resize), or use batch_size=1.'
            )
        return self.loss_of(self._run_network(vi, ir, data_samples), vi, ir, data_samples)

    def loss_of(self, fused, vi, ir, data_samples):
        """Losses of a fused luminance (N×1×H×W) that was computed before; see :meth:`loss`."""
        # Relative distances and second moments overflow or cancel in half precision.
        with torch.autocast(fused.device.type, enabled=False):
            fused, vi, ir = (at_least_float32(x) for x in (fused, vi, ir))
            given = dict(fused=fused, vi=luminance(vi), ir=ir, vi_rgb=vi)
            if any('mask_vi' in w or 'mask_ir' in w for w in self._wants):
                given.update(_stack_masks(data_samples))
            out, log = {}, {}
            for name, loss, wants in zip(self._names, self.losses, self._wants, strict=True):
                value = loss(**{key: given[key] for key in wants})
                if isinstance(value, tuple):
                    value, terms = value
                    log.update({f'{name}/{k}': v for k, v in terms.items()})
                out[f'loss_{name}'] = value
        check_finite(out, data_samples)
        return {**out, **log}

    @torch.inference_mode()
    def predict(self, inputs, data_samples=None):
        """Fuse a batch and give each sample its ``fused``."""
        images = self.fuse(inputs['vi'], inputs['ir'], data_samples)
        if data_samples is None:
            data_samples = [FusionDataSample() for _ in images]
        for image, sample in zip(images, data_samples, strict=True):
            sample.fused = PixelData(data=image)
        return data_samples


def luminance(rgb):
    """Y of BT.601, N×3×H×W → N×1×H×W."""
    return rgb_to_ycbcr(rgb)[:, :1]


def by_size(images):
    """Positions of the images of each shape: a list of lists, in the order in which the shapes first come."""
    groups = {}
    for position, image in enumerate(images):
        groups.setdefault(tuple(image.shape), []).append(position)
    return list(groups.values())


def check_finite(values, data_samples, what='a loss'):
    """Stop at a value that is not finite, and name the files of the batch.

    Args:
        values (dict[str, Tensor | list[Tensor]]): By name; such as the losses of a model.
        data_samples (list[BaseDataElement] | None): With ``img_path``.
        what (str): What the values are, for the message.

    Raises:
        FloatingPointError: With the values (sums of what is no scalar) and files.
    """
    parts = {k: v if isinstance(v, list | tuple) else [v] for k, v in values.items()}
    sums = {k: sum(x.detach().float().sum() for x in v) for k, v in parts.items()}
    if not sums or torch.isfinite(sum(sums.values())):
        return
    found = ', '.join(f'{k} = {v.item():g}' for k, v in sums.items())
    files = ', '.join(str(s.get('img_path')) for s in data_samples or ())
    raise FloatingPointError(
        f'{what} is not finite: {found}. The batch was: {files}. Look at these images and their annotations; if they are '
        'in order, lower the learning rate or clip gradients (optim_wrapper.clip_grad).'
    )


_GIVEN = ('fused', 'vi', 'ir', 'vi_rgb', 'mask_vi', 'mask_ir')


def _wanted(loss):
    """Names of what a loss takes; parameters of other names keep their defaults."""
    parameters = inspect.signature(loss.forward).parameters.values()
    parameters = [p for p in parameters if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    unknown = [p.name for p in parameters if p.name not in _GIVEN and p.default is p.empty]
    if unknown:
        raise ValueError(
            f'{type(loss).__name__}.forward asks for {", ".join(unknown)}, which a fuser does not have. It gives, by name: '
            f'{", ".join(_GIVEN)}.'
        )
    return tuple(p.name for p in parameters if p.name in _GIVEN)


def _stack_masks(data_samples):
    if not data_samples:
        raise ValueError('a loss needs the masks of salient objects, and the batch came without data samples')
    missing = [str(s.get('img_path')) for s in data_samples if 'gt_saliency' not in s]
    if missing:
        raise ValueError(
            f'a loss needs the masks of salient objects, and {len(missing)} of {len(data_samples)} samples have none: '
            f'{", ".join(missing[:5])}. Add mmfusion.LoadSaliencyMasks to the pipeline and mask folders to data_prefix.'
        )
    return {f'mask_{m}': torch.stack([getattr(s.gt_saliency, m) for s in data_samples]) for m in ('vi', 'ir')}
