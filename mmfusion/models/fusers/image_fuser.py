"""ImageFuser: joins a fusion network, its priors, its losses and colour."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from mmengine.logging import print_log
from mmengine.model import BaseModel
from mmengine.structures import PixelData
from torch import Tensor, nn
from torch.nn import functional as F

from mmfusion.models.checkpoint import place_before_loading
from mmfusion.models.layers import at_least_float32, exporting
from mmfusion.models.priors import FeaturePrior, PriorFeatures, PriorHolder, TextPrior
from mmfusion.registry import MODELS
from mmfusion.structures import FusionDataSample
from mmfusion.utils import camera_pair

from .batch import SOURCES, Batch, by_size, check_finite, check_inputs, sum_losses, take
from .color import LUMINANCES, luminance
from .output import (
    PADDINGS,
    ROUNDINGS,
    by_bands,
    check_steps,
    finish,
    pad_to_multiple,
    padding_before,
    resize_at_8_bits,
    to_levels,
)
from .sliding import slide


@MODELS.register_module()
class ImageFuser(PriorHolder, BaseModel):
    """Fuse visible and infrared images by a network; train it by losses.

    One rule: parts take by name what they need. A network's ``forward``, a loss's ``forward`` and a colour part name their
    parameters, and get them from the batch (:class:`Batch`): ``vi`` (Y of the visible image, N×1×H×W), ``vi_rgb`` (N×3×H×W),
    ``ir`` (N×1×H×W), each prior's features by the prior's name, ``mask_vi``, ``mask_ir``, ``labels``, ``boxes``, and
    companions of the samples. A network gives the fused image, or a dict with ``fused`` and whatever else losses and
    metrics use: features, reconstructions, ``seg_logits``, a registered ``ir``.

    One way: :meth:`run` gives that batch with ``fused`` (N×1×H×W) and ``fused_rgb`` (N×3×H×W), both in [0, 1]. Training,
    tests and cascades read it, so that what is trained is what is tested.

    An image prior gives ``dict(vi=PriorFeatures, ir=PriorFeatures)``: it sees the visible image in colour and the infrared
    one repeated to three channels, as one batch, once a step. A :class:`TextPrior` sees the samples' ``text``.

    Args:
        network: Config of the fusion network.
        losses: Name → config of a loss, logged as ``loss_<name>``; a model for testing only needs none. A loss gives a
            scalar, or a scalar and a dict of scalars for the log. ``inputs=dict(parameter=name)`` in its config takes
            another entry for a parameter.
        priors: Name → config of a frozen prior, such as :class:`CLIPPrior`; not among the model's parameters.
        color: Config of a colour part. Default: :class:`LuminanceColor`.
        input_range: Lowest and highest value of the images as the network wants them.
        output: Steps from the network's fused image to [0, 1]: ``'clamp'``, ``'min_max'``, ``('min_max', ε)``,
            ``'max'``, ``('range', low, high)``; see :func:`finish`.
        size_divisor: Pad images at the right and bottom by reflection to a multiple, and crop the result.
        test_cfg: ``mode='whole'`` (default), or ``mode='slide'`` with ``crop_size`` and ``stride`` (height, width) as in
            mmseg, ``blend`` (see :func:`slide`), and ``exact`` (default True): use the network's own ``fuse_tiled`` where it
            has one, which gives the whole image's result but for rounding. ``output``: further steps in tests.
            ``rounding``: ``'round'``, or ``'truncate'`` to 8 bits. ``luminance``: ``'round'``, ``'pillow'``,
            ``'truncate'``, ``'ycbcr'`` or ``'studio'`` gives the network Y at 8 bits; see :func:`luminance`. ``padding``:
            how tests pad; see :func:`pad_to_multiple`.
            ``resize``: height and width at which the network sees images, as some public code does; the fused image is
            brought back to their size.
        data_preprocessor: Default :class:`FusionDataPreprocessor`.
        init_cfg: As in mmengine.

    Attributes:
        phase: Name of the network's method that training calls in the place of ``forward``; see StagedTrainingHook.
        active_losses: Names of the losses in use; None for all.

    Raises:
        ValueError: If an option is unknown, out of range, or of an older form of config.
        TypeError: If a prior gives neither features of images nor of text.
    """

    # What a checkpoint for testing may lack, and a model for testing does not have.
    training_only: tuple[str, ...] = ('losses',)

    def __init__(
        self,
        network: dict,
        losses: Mapping[str, dict] | None = None,
        priors: Mapping[str, dict] | None = None,
        color: dict | None = None,
        input_range: tuple[float, float] = (0, 1),
        output: Sequence = (),
        size_divisor: int = 1,
        test_cfg: dict | None = None,
        data_preprocessor: dict | None = None,
        init_cfg: dict | None = None,
        **unknown,
    ) -> None:
        _refuse_old(type(self).__name__, losses, unknown)
        super().__init__(data_preprocessor or dict(type='mmfusion.FusionDataPreprocessor'), init_cfg)
        self.network = MODELS.build(network)
        self.inputs: dict[str, dict[str, str]] = {}
        self.losses = self.build_parts(losses)
        self.color = MODELS.build(color or dict(type='mmfusion.LuminanceColor'))
        for name, prior in (priors or {}).items():
            self.hold(name, MODELS.build(prior))
            if not isinstance(self.prior(name), FeaturePrior | TextPrior):
                raise TypeError(
                    f'priors.{name}: {type(self.prior(name)).__name__} gives neither PriorFeatures nor features of text. '
                    'Expected one such as mmfusion.CLIPPrior, mmfusion.DINOv2Prior or mmfusion.CLIPTextPrior.'
                )
        if not isinstance(input_range, tuple | list) or len(input_range) != 2 or not input_range[0] < input_range[1]:
            raise ValueError(f'input_range: expected two rising numbers, got {input_range}')
        if not isinstance(size_divisor, int) or size_divisor < 1:
            raise ValueError(f'size_divisor: expected a whole number of at least 1, got {size_divisor!r}')
        self.input_range, self.size_divisor = tuple(input_range), size_divisor
        self.output = check_steps(output, 'output')
        self.test_cfg = {'mode': 'whole', **(test_cfg or {})}
        if self.test_cfg['mode'] not in ('whole', 'slide'):
            raise ValueError(f"test_cfg.mode must be 'whole' or 'slide', got {self.test_cfg['mode']!r}")
        self.test_output = check_steps(self.test_cfg.pop('output', ()), 'test_cfg.output')
        self.rounding = self.test_cfg.pop('rounding', 'round')
        if self.rounding not in ROUNDINGS:
            raise ValueError(f'test_cfg.rounding must be one of {", ".join(ROUNDINGS)}, got {self.rounding!r}')
        self.luminance_levels = self.test_cfg.pop('luminance', None)
        if self.luminance_levels not in (None, *LUMINANCES):
            raise ValueError(
                f'test_cfg.luminance must be one of {", ".join(LUMINANCES)}, or None, got {self.luminance_levels!r}'
            )
        self.padding = self.test_cfg.pop('padding', 'reflect')
        if self.padding not in PADDINGS:
            raise ValueError(f'test_cfg.padding must be one of {", ".join(PADDINGS)}, got {self.padding!r}')
        self.resize = self.test_cfg.pop('resize', None)
        if self.resize and self.test_cfg['mode'] == 'slide':
            raise ValueError("test_cfg.resize goes with mode='whole': windows keep the size of the images")
        self.phase: str | None = None
        self.active_losses: tuple[str, ...] | None = None
        place_before_loading(self)

    def build_parts(self, configs: Mapping[str, dict] | None) -> nn.ModuleDict:
        """Build modules by name, and keep the renaming (``inputs``) of each."""
        parts = nn.ModuleDict()
        for name, config in (configs or {}).items():
            if config is None:  # taken away by a child config
                continue
            if '/' in name:
                raise ValueError(f'{name!r} has a slash; expected a name without: <loss>/<term> is a term in the log.')
            config = dict(config)
            self.inputs[name] = config.pop('inputs', {})
            parts[name] = MODELS.build(config)
            check_inputs(name, parts[name], self.inputs[name])
        return parts

    def place_state_dict(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """Take the fuser out of a cascade's state dict; keep any other."""
        mine = {name.removeprefix('fuser.'): value for name, value in state.items() if name.startswith('fuser.')}
        if not mine or not self.state_dict().keys().isdisjoint(state):
            return state
        print_log(
            f'The weights are those of a cascade: its fuser is taken ({len(mine)} of {len(state)} tensors).', 'current'
        )
        return mine

    def forward(
        self, inputs: dict, data_samples: list[FusionDataSample] | None = None, mode: str = 'tensor'
    ) -> dict[str, Tensor] | list[FusionDataSample] | Tensor | list[Tensor]:
        """Run in one of mmengine's modes.

        Args:
            inputs: ``vi`` (N×3×H×W, R, G, B) and ``ir`` (N×1×H×W) in [0, 1], or lists of single images.
            data_samples: Annotations; with ``'predict'`` they receive the results.
            mode: ``'loss'``, ``'predict'`` or ``'tensor'``.

        Returns:
            dict of losses; list of data samples with ``fused``; or the fused RGB image(s), N×3×H×W or a list.
        """
        if mode == 'loss':
            return self.loss(inputs, data_samples)
        if mode == 'predict':
            return self.predict(inputs, data_samples)
        if mode == 'tensor':
            return self.fuse(**inputs, samples=data_samples)
        raise ValueError(f"mode must be 'loss', 'predict' or 'tensor', got {mode!r}")

    def run(self, vi: Tensor, ir: Tensor | None = None, samples: Sequence[FusionDataSample] | None = None) -> Batch:
        """Fuse a batch: the one way through a fuser.

        Args:
            vi: N×3×H×W, R, G, B in [0, 1].
            ir: N×1×H×W in [0, 1]; None for single images.
            samples: Annotations and companions.

        Returns:
            With ``fused``, ``fused_rgb`` and everything that the network gave; differentiable. In a phase of training
            without a fused image it lacks the two.
        """
        batch = self.batch(vi, ir, samples)
        if self.resize and not self.training:
            out = self._call_resized(batch)
        elif self.training or self.test_cfg['mode'] == 'whole':
            out = self._call_network(batch)
        else:
            out = dict(fused=self._slide(batch))
        return self.complete(batch, out)

    def batch(self, vi: Tensor, ir: Tensor | None, samples: Sequence[FusionDataSample] | None) -> Batch:
        """Collect sources and annotations by name; priors' features when asked for."""
        levels = None if self.training else self.luminance_levels
        makers = {'vi': lambda batch: luminance(batch['vi_rgb'], levels)}
        for name, prior in self.priors().items():
            makers[name] = self._text_features(prior) if isinstance(prior, TextPrior) else self._features(prior)
        sources = dict(vi_rgb=vi) if ir is None else dict(vi_rgb=vi, ir=ir)
        return Batch(samples, makers, **sources)

    @staticmethod
    def _text_features(prior: TextPrior) -> Callable[[Batch], Tensor]:
        return lambda batch: prior(batch['text'])

    @staticmethod
    def _features(prior: FeaturePrior) -> Callable[[Batch], dict[str, PriorFeatures]]:
        def make(batch: Batch) -> dict[str, PriorFeatures]:
            vi, ir = batch['vi_rgb'], batch['ir']
            paths = [s.get('img_path') for s in batch.samples]
            names = [path and f'{path} ({modality})' for modality in ('vi', 'ir') for path in paths]
            both = prior(torch.cat([vi, ir.expand(-1, 3, -1, -1)]), names or None)
            return dict(vi=both[: len(vi)], ir=both[len(vi) :])

        return make

    def _call_network(self, batch: Batch) -> dict:
        """Run the network on what it takes, scaled and padded for it."""
        part = self.network
        if self.training and self.phase:
            part = getattr(self.network, self.phase)
        arguments = take(part, batch)
        low, high = self.input_range
        if (low, high) != (0, 1):
            arguments.update({k: low + (high - low) * v for k, v in arguments.items() if k in SOURCES})
        size = tuple(batch['vi_rgb'].shape[-2:])
        padded, top, left = size, 0, 0
        if self.size_divisor > 1:
            mode = 'reflect' if self.training else self.padding
            arguments = {
                k: pad_to_multiple(v, self.size_divisor, mode) if isinstance(v, Tensor) and v.shape[-2:] == size else v
                for k, v in arguments.items()
            }
            padded = tuple(pad_to_multiple(batch['vi_rgb'][:1, :1], self.size_divisor, mode).shape[-2:])
            top, left = (padding_before(length, self.size_divisor, mode) for length in size)
        least = getattr(self.network, 'min_size', 1)
        if not exporting() and min(padded) < least:
            advice = 'Pad or enlarge them first.'
            if self.test_cfg['mode'] == 'slide' and not self.training:
                advice = (
                    'That is a window, or an image smaller than it: take larger windows (--tile, test_cfg.crop_size), or '
                    'pad or enlarge the image.'
                )
            raise ValueError(
                f'{type(self.network).__name__} needs images of at least {least}×{least} pixels, got {size[0]}×{size[1]} '
                f'(height×width). {advice}'
            )
        out = part(**arguments)
        out = dict(out) if isinstance(out, Mapping) else dict(fused=out)
        if self.size_divisor > 1 and (exporting() or padded != size):
            out = {
                k: v[..., top : top + size[0], left : left + size[1]]
                if isinstance(v, Tensor) and v.shape[-2:] == padded
                else v
                for k, v in out.items()
            }
        if (low, high) != (0, 1):
            out.update({k: (v - low) / (high - low) for k, v in out.items() if k in SOURCES})
        return out

    def _call_resized(self, batch: Batch) -> dict:
        """Run the network at another size; its outputs are resized back."""
        size, inner = tuple(batch['vi_rgb'].shape[-2:]), tuple(self.resize)
        sources = {name: resize_at_8_bits(batch[name], inner) for name in ('vi_rgb', 'ir') if name in batch}
        out = self._call_network(Batch(batch.samples, batch.makers, **sources))
        return {
            k: F.interpolate(v, size, mode='bilinear') if isinstance(v, Tensor) and v.shape[-2:] == inner else v
            for k, v in out.items()
        }

    def _slide(self, batch: Batch) -> Tensor:
        """Fuse window by window, or by the network's own exact tiles."""
        options = {k: v for k, v in self.test_cfg.items() if k in ('crop_size', 'stride', 'blend')}
        exact = self.test_cfg.get('exact', True) and self.input_range == (0, 1) and self.size_divisor == 1
        if exact and hasattr(self.network, 'fuse_tiled') and not self.priors():
            return self.network.fuse_tiled(batch['vi'], batch['ir'], tuple(options['crop_size']))
        return slide(lambda window: self._fused_of(self._call_network(window)), batch, **options)

    def _fused_of(self, out: Mapping) -> Tensor:
        if 'fused' not in out:
            raise ValueError(
                f"{type(self.network).__name__} gave {', '.join(out)}, and no 'fused'. Its forward must give the fused "
                'image; a phase of training without one is another method (phase of a stage in StagedTrainingHook).'
            )
        if not isinstance(out['fused'], Tensor):
            raise ValueError(
                f'{type(self.network).__name__} gave a fused image that is a {type(out["fused"]).__name__}; expected a '
                'tensor N×C×H×W. A network that gives more returns a dict: fused=…, and the rest by names.'
            )
        return out['fused']

    def complete(self, batch: Batch, out: Mapping) -> Batch:
        """Add a network's outputs, ``fused`` in [0, 1], and colours."""
        batch.update(out)
        batch.returned = tuple(out)
        if 'fused' not in out and self.training and self.phase:
            return batch
        fused = finish(self._fused_of(out), self.output)
        if not self.training:
            fused = finish(fused, self.test_output)
        if fused.shape[1] != self.color.channels:
            raise ValueError(
                f'{type(self.network).__name__} gave a fused image of {fused.shape[1]} channels, and '
                f"{type(self.color).__name__} takes {self.color.channels}. Set color=dict(type='mmfusion.RGBColor') for a "
                "network that gives R, G, B, and 'mmfusion.LuminanceColor' for one that gives luminance."
            )
        size, given = batch['vi_rgb'].shape[-2:], fused.shape[-2:]
        if not exporting() and given != size:
            raise ValueError(
                f'{type(self.network).__name__} gave a fused image of {given[0]}×{given[1]} for a pair of '
                f'{size[0]}×{size[1]} (height×width); expected the same size. A network that halves its input needs '
                'size_divisor, a power of two, in the config of the fuser.'
            )
        batch['fused'] = fused
        colours = take(self.color, batch)
        single = getattr(self.color, 'of_single_pixels', False) and not self.training
        batch['fused_rgb'] = by_bands(self.color, colours) if single else self.color(**colours)
        if fused.shape[1] == 3 or (getattr(self.color, 'stretch', False) and not self.training):
            batch['fused'] = luminance(batch['fused_rgb'])
        if not self.training:  # each cut once: colours of a luminance that was cut already would lose up to two levels
            batch.update({name: to_levels(batch[name], self.rounding) for name in ('fused', 'fused_rgb')})
        return batch

    def run_groups(
        self, vi: Tensor | list[Tensor], ir: Tensor | list[Tensor] | None = None, samples: Sequence | None = None
    ) -> Iterator[tuple[Sequence[int], Batch]]:
        """Run images of one size together, none padded: positions and their batch."""
        if isinstance(vi, Tensor):
            yield range(len(vi)), self.run(vi, ir, samples)
            return
        for index in by_size(vi):
            same = [images and torch.stack([images[i] for i in index]) for images in (vi, ir)]
            yield index, self.run(*same, samples and [samples[i] for i in index])

    def fuse(
        self, vi: Tensor | list[Tensor], ir: Tensor | list[Tensor], samples: Sequence | None = None
    ) -> Tensor | list[Tensor]:
        """Fuse to R, G, B in [0, 1], in the form of ``vi``; differentiable.

        ``vi`` (R, G, B) and ``ir`` are N×3×H×W and N×1×H×W in [0, 1], or lists of images of any sizes.
        """
        out = [None] * len(vi)
        for index, batch in self.run_groups(vi, ir, samples):
            if isinstance(vi, Tensor):
                return batch['fused_rgb']
            for i, image in zip(index, batch['fused_rgb'], strict=True):
                out[i] = image
        return out

    def loss(self, inputs: dict, data_samples: list[FusionDataSample] | None) -> dict[str, Tensor]:
        """Compute a batch's losses, ``loss_<name>`` each, and terms for the log.

        Raises:
            ValueError: If images are of several sizes, or a loss needs what the samples do not have.
            FloatingPointError: If a loss is not finite; the files of the batch are named.
        """
        self.check_one_size(inputs['vi'])
        return self.losses_of(self.run(inputs['vi'], inputs.get('ir'), data_samples))

    @staticmethod
    def check_one_size(vi: Tensor | list[Tensor]) -> None:
        """Refuse a list of images of several sizes."""
        if not isinstance(vi, Tensor):
            sizes = sorted({tuple(v.shape[1:]) for v in vi})
            raise ValueError(
                f'training needs images of one size in a batch, got {sizes} (height, width). Crop or resize in the '
                'pipeline (mmfusion.ForegroundCrop, mmseg.RandomCrop, mmcv Resize), or use batch_size=1.'
            )

    def losses_of(self, batch: Batch) -> dict[str, Tensor]:
        """Compute the active losses of a batch that :meth:`run` gave; see :meth:`loss`."""
        out, log = {}, {}
        # Relative distances and second moments overflow or cancel in half precision.
        with torch.autocast(batch['vi_rgb'].device.type, enabled=False):
            for name, loss in self.losses.items():
                if self.active_losses is not None and name not in self.active_losses:
                    continue
                given = take(loss, batch, self.inputs[name])
                value = loss(**{k: at_least_float32(v) if isinstance(v, Tensor) else v for k, v in given.items()})
                terms = {}
                if isinstance(value, tuple) and len(value) == 2 and isinstance(value[1], Mapping):
                    value, terms = value
                if not isinstance(value, Tensor):
                    raise ValueError(
                        f'losses.{name}: {type(loss).__name__} gave a {type(value).__name__}; expected a tensor, or a '
                        'tensor and a dict of terms for the log.'
                    )
                log.update({f'{name}/{k}': torch.as_tensor(v).detach().float().mean() for k, v in terms.items()})
                out[f'loss_{name}'] = value
        check_finite(out, batch.samples)
        return {**out, **log}

    def parse_losses(self, losses: Mapping[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """Sum the losses; what else they told is logged only."""
        return sum_losses(super().parse_losses, losses)

    @torch.no_grad()
    def predict(self, inputs: dict, data_samples: list[FusionDataSample] | None = None) -> list[FusionDataSample]:
        """Fuse a batch and give each sample its results; see :meth:`record`.

        Without gradients; a network that needs some in tests turns them on itself (``torch.enable_grad``).
        """
        if data_samples is None:
            data_samples = [FusionDataSample() for _ in inputs['vi']]
        for index, batch in self.run_groups(**inputs, samples=data_samples):
            self.record(batch, [data_samples[i] for i in index])
        return data_samples

    @staticmethod
    def record(batch: Batch, samples: Sequence[FusionDataSample]) -> None:
        """Write results of a batch into its data samples.

        ``fused``, the visible image where an aligned infrared camera does not see;
        ``pred_sem_seg`` and ``seg_logits`` of a network that gives ``seg_logits`` (N×C×h×w), at the size of the
        labels; ``vi``, ``vi_rgb`` and ``ir`` where the network gave its own, such as a registered infrared image.
        """
        for i, sample in enumerate(samples):
            fused, size = batch['fused_rgb'][i], batch['vi_rgb'].shape[2:]
            # A pair as it was loaded: of one that was flipped or resized, the file says nothing.
            if sample.get('align') and not sample.get('flip') and sample.get('ori_shape', ())[:2] == tuple(size):
                fused = camera_pair(sample.align).keep_visible(fused, batch['vi_rgb'][i])
            sample.fused = PixelData(data=fused)
            for name in SOURCES:
                if name in batch.returned:
                    setattr(sample, name, PixelData(data=batch[name][i]))
            if 'seg_logits' in batch.returned:
                size = sample.get('ori_shape') or batch['vi_rgb'].shape[2:]
                logits = batch['seg_logits'][i : i + 1].float()
                logits = F.interpolate(logits, tuple(size[:2]), mode='bilinear')[0]
                sample.seg_logits = PixelData(data=logits)
                sample.pred_sem_seg = PixelData(data=logits.argmax(0, keepdim=True))


def _refuse_old(name: str, losses: Any, unknown: dict) -> None:
    """Say in one sentence the new form of an older config."""
    if losses is not None and not isinstance(losses, Mapping):
        raise ValueError(
            f'{name}: losses is a {type(losses).__name__}, and has names now: losses=dict(ssim=dict(type=…), …), each '
            'logged as loss_<name>. See "From old keys to new ones" in docs/configs.md.'
        )
    if 'prior' in unknown:
        raise ValueError(
            f'{name}: prior=dict(…) is priors=dict(prior=dict(…)) now: any number, by the names that the network takes. See '
            '"From old keys to new ones" in docs/configs.md.'
        )
    if unknown:
        raise ValueError(f'{name} has no option {", ".join(map(repr, unknown))}. See docs/configs.md for those it has.')
