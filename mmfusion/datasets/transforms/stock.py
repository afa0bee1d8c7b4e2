"""Stock pipelines of mmsegmentation and mmdetection, made fit for image pairs.

The tables below say of each stock transform what it does to an H×W×4 array (B, G, R, IR). They were filled in by trying
each one, and ``tests/datasets/transforms`` tries them again.
"""

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

from mmfusion.registry import TRANSFORMS, is_a
from mmfusion.utils.configs import walk


def _of(**names: str) -> set[str]:
    """Write the library before each name of a transform."""
    return {f'{library}.{name}' for library, listed in names.items() for name in listed.split()}


# Transforms are named by the library whose code they are, whatever the scope that a config finds them in.
LOADERS = _of(mmcv='LoadImageFromFile')
PACKERS = _of(mmseg='PackSegInputs', mmdet='PackDetInputs')
ANNOTATIONS = _of(mmcv='LoadAnnotations', mmseg='LoadAnnotations', mmdet='LoadAnnotations')

# They do not touch the image.
NEUTRAL = _of(mmdet='FilterAnnotations', mmseg='GenerateEdge')

# They change colours, and raise, do nothing or alter the infrared channel where there are four.
PHOTOMETRIC = _of(
    mmcv='RandomGrayscale',
    mmseg='AdjustGamma CLAHE PhotoMetricDistortion',
    mmdet='AutoContrast Brightness Color Contrast Equalize Invert PhotoMetricDistortion Posterize Sharpness Solarize '
    'SolarizeAdd YOLOXHSVRandomAug',
)

# They move pixels, and make or fill images of three channels: with four they raise, or the infrared border becomes 0.
THREE_CHANNELS = _of(
    mmseg='RandomCutOut',
    mmdet='CachedMixUp CachedMosaic CutOut Expand MixUp Mosaic RandomAffine RandomCenterCropPad Rotate ShearX ShearY '
    'TranslateX TranslateY',
)

# Of those, what takes float32 only.
FLOATS = _of(mmdet='RandomCenterCropPad')

# They move pixels and treat any number of channels alike. Fill values and the backend are looked at apart.
ANY_CHANNELS = _of(
    mmcv='CenterCrop Pad RandomChoiceResize RandomFlip RandomResize Resize',
    mmseg='RandomCrop RandomFlip RandomMosaic RandomRotFlip RandomRotate Resize ResizeShortestEdge ResizeToMultiple',
    mmdet='FixScaleResize FixShapeResize MinIoURandomCrop Pad RandomCrop RandomFlip RandomShift Resize '
    'ResizeShortestEdge',
)
GEOMETRIC = THREE_CHANNELS | ANY_CHANNELS

# They run other transforms, given as `transforms`.
COMPOSITES = _of(mmcv='RandomApply RandomChoice TestTimeAug', mmdet='RandomOrder')

# Only these move every map in `seg_fields`; the others know `gt_seg_map` alone, or nothing.
MOVE_SEG_FIELDS = {name for name in GEOMETRIC if name.startswith('mmseg.')}


def library_name(transform: object) -> str:
    """Name a transform, class or object, as the tables here do."""
    cls = transform if isinstance(transform, type) else type(transform)
    return f'{cls.__module__.partition(".")[0]}.{cls.__name__}'


def adapt_pipeline(
    pipeline: Sequence[dict],
    load: dict | Sequence[dict] | None = None,
    pack: dict | None = None,
    annotations: dict | Sequence[dict] | None = None,
    scope: str | None = None,
    keep: Sequence[str] = (),
) -> list[dict]:
    """Adapt a stock pipeline of mmseg or mmdet to image pairs.

    - ``LoadImageFromFile`` becomes ``mmfusion.LoadImagePair``, ``PackSegInputs`` and ``PackDetInputs`` become
      ``mmfusion.PackFusionInputs`` (with their additional meta keys, if any).
    - Photometric transforms go into ``mmfusion.VisibleOnly``, geometric ones that know three channels only into
      ``mmfusion.ForEachModality``, as does a resize by pillow, which would take infrared for transparency.
    - A fill value of three numbers gets a fourth, for infrared: its first.
    - ``to_float32`` of the loading changes nothing: what a transform leaves in floating point is rounded after it.
    - All others stay, with their library written before their name: the same name means another class elsewhere.

    Then the visible image comes out as the stock pipeline gives it, but for rounding to 8 bits after a transform that
    leaves floating-point values, and the infrared image as the stock pipeline without its photometric transforms gives
    it for the infrared image repeated three times, with the same random numbers. Nothing is left out: what is not
    known to be right for four channels is an error.

    A ``MultiImageMixDataset`` has two pipelines; adapt both. ``YOLOXModeSwitchHook`` knows transforms by the type in
    the config and then needs ``skip_type_keys=('mmfusion.ForEachModality',)``; the ``switch_pipeline`` of
    ``PipelineSwitchHook`` is adapted like any other.

    Args:
        pipeline: A stock pipeline, such as ``_base_.train_pipeline`` in a config. It is not changed.
        load: What stands in place of ``LoadImageFromFile``.
        pack: What stands in place of the packer.
        annotations: What stands in place of ``LoadAnnotations``; ``()`` where ``load`` gives the annotations, too. By
            default the stock loading stays.
        scope: The library of names without one, ``'mmseg'`` or ``'mmdet'``. By default it is that of the packer in the
            pipeline.
        keep: Further transforms, with their scope, that are known to be right on H×W×4 arrays.

    Returns:
        The pipeline for pairs. Adapting it once more gives the same.

    Raises:
        KeyError: If no library has a transform of that name, or which one is meant is not known.
        ValueError: If a transform is not known to be right on four channels, or an option of it has no meaning here; each
            with its name and with what to do.

    Examples:
        >>> stock = [dict(type='LoadImageFromFile'), dict(type='YOLOXHSVRandomAug'), dict(type='PackDetInputs')]
        >>> [t['type'] for t in adapt_pipeline(stock)]
        ['mmfusion.LoadImagePair', 'mmfusion.VisibleOnly', 'mmfusion.PackFusionInputs']
    """
    scope = scope or _packers_library(pipeline)
    return _Adapter(load, pack, annotations, scope, keep).sequence(pipeline)


def _packers_library(pipeline: Mapping | Sequence) -> str | None:
    """``'mmseg'`` or ``'mmdet'``, whose packer a pipeline holds, or None."""
    types = [part.get('type') for _, part in walk(pipeline) if isinstance(part, Mapping)]
    named = {name: packer.partition('.')[0] for packer in PACKERS for name in (packer, packer.partition('.')[2])}
    return next((named[kind] for kind in types if isinstance(kind, str) and kind in named), None)


def _plain(cfg: Any) -> Any:
    """Copy to plain dicts and lists, without mmengine's scope."""
    if isinstance(cfg, Mapping):
        return {key: _plain(value) for key, value in cfg.items()}
    if isinstance(cfg, list | tuple):
        return type(cfg)(_plain(value) for value in cfg)
    return cfg


def _as_list(cfg: Mapping | Sequence | None, default: Mapping | Sequence) -> list:
    if cfg is None:
        cfg = default
    return [cfg] if isinstance(cfg, Mapping) else list(cfg)


class _Adapter:
    """One run of :func:`adapt_pipeline`, in the order of the transforms."""

    def __init__(
        self,
        load: dict | Sequence[dict] | None,
        pack: dict | None,
        annotations: dict | Sequence[dict] | None,
        scope: str | None,
        keep: Sequence[str],
    ) -> None:
        self.own_load = load is not None
        self.load = [_plain(cfg) for cfg in _as_list(load, dict(type='mmfusion.LoadImagePair'))]
        self.pack = _plain(pack or dict(type='mmfusion.PackFusionInputs'))
        self.annotations = None if annotations is None else [_plain(cfg) for cfg in _as_list(annotations, ())]
        self.scope, self.keep = scope, set(keep)
        self.moved = self.late_labels = False
        self.masks = ''  # where masks are loaded: what to do about it

    def sequence(self, pipeline: Mapping | Sequence) -> list:
        """Adapt a list of transforms, or of lists of them."""
        adapted = []
        for cfg in [pipeline] if isinstance(pipeline, Mapping) else pipeline:
            if isinstance(cfg, Mapping):
                adapted += self.one(_plain(cfg))
            else:
                adapted.append(self.sequence(cfg))
        return adapted

    def one(self, cfg: dict) -> list[dict]:
        """Adapt one transform; a list, since a load may be several."""
        cfg, name = self._resolve(cfg)
        if name.startswith('mmfusion.'):
            self._look_for_masks([cfg])
            return [cfg]
        if cfg['type'] in self.keep or name in self.keep:
            return [cfg]
        if name in LOADERS:
            return self._loading(cfg)
        if name in PACKERS:
            return [self._packing(cfg)]
        if name in ANNOTATIONS:
            return self._annotations(cfg, name)
        if name in COMPOSITES:
            return [dict(cfg, transforms=self.sequence(cfg['transforms']))]
        if name in NEUTRAL:
            return [cfg]
        if name in PHOTOMETRIC:
            return [self._photometric(cfg, name)]
        if name in GEOMETRIC:
            return [self._geometric(cfg, name)]
        raise ValueError(
            f'adapt_pipeline does not know what {cfg["type"]} does to an image of four channels (B, G, R, IR). If it is '
            f"photometric, write dict(type='mmfusion.VisibleOnly', transforms=[dict(type={cfg['type']!r}, …)]) in its "
            "place; if it is geometric and knows three channels, dict(type='mmfusion.ForEachModality', "
            f'transform=dict(type={cfg["type"]!r}, …)); if you tried it on H×W×4 arrays, give keep=({cfg["type"]!r},).'
        )

    def _resolve(self, cfg: dict) -> tuple[dict, str]:
        """``cfg`` with its library before the type, and its table name."""
        kind, scope = cfg['type'], cfg.pop('_scope_', None) or self.scope
        cfg['type'], cls = self._named(kind, scope)
        if 'resize_type' in inspect.signature(cls).parameters:
            # It looks its resize up in the scope of the day: mmcv's would leave boxes and masks where they are.
            written = kind.partition('.')[0] if isinstance(kind, str) and '.' in kind else 'mmengine'
            inner = cfg.get('resize_type', 'Resize')
            cfg['resize_type'], _ = self._named(inner, scope if written == 'mmengine' else written)
        return cfg, library_name(cls)

    @classmethod
    def _named(cls, kind: str | type, scope: str | None) -> tuple[str, type]:
        """A name by which any scope finds a transform, and its class.

        mmcv's transforms are in mmengine's registry. A library finds them there without a prefix, and not under its own.
        """
        if isinstance(kind, type):
            found = kind
        else:
            if '.' not in kind and scope is None:
                raise KeyError(
                    f"{kind}: no packer in the pipeline tells which library this is of. Give scope='mmseg' or "
                    "scope='mmdet'."
                )
            found = cls._class(kind if '.' in kind else f'{scope}.{kind}')
        name = library_name(found)
        if name.startswith('mmcv.'):
            return name.replace('mmcv.', 'mmengine.'), found
        return (name if isinstance(kind, type) else kind if '.' in kind else f'{scope}.{kind}'), found

    @staticmethod
    def _class(kind: str) -> type:
        cls = TRANSFORMS.get(kind)
        if cls is None:
            raise KeyError(f'{kind}: no such transform is registered. Is its library imported, and the name right?')
        return cls

    def _loading(self, cfg: dict) -> list[dict]:
        # The user who says what to load has seen to the rest; the default pair loader has none of these options.
        without_effect = dict(color_type='color', ignore_empty=False)
        lost = [
            f'{key}={value!r}'
            for key, value in cfg.items()
            if key not in ('type', 'imdecode_backend', 'to_float32')
            and value is not None
            and value != without_effect.get(key)
            and value not in ({'backend': 'local'}, {'backend': 'disk'})
        ]
        if lost and not self.own_load:
            raise ValueError(
                f'{cfg["type"]}: mmfusion.LoadImagePair has no {", ".join(lost)}. Say what is to be loaded instead, such '
                "as adapt_pipeline(…, load=dict(type='mmfusion.LoadImagePair'))."
            )
        self._look_for_masks(self.load)
        return _plain(self.load)

    def _look_for_masks(self, cfgs: Sequence[dict]) -> None:
        rendering, loading = map(self._class, ('mmfusion.RenderSyntheticPair', 'mmfusion.LoadSaliencyMasks'))
        for cfg in cfgs:
            if is_a(cfg, TRANSFORMS, rendering) and cfg.get('with_masks', True):
                self.masks = self.masks or f'give {cfg["type"]} with_masks=False'
            elif is_a(cfg, TRANSFORMS, loading):
                self.masks = self.masks or f'take {cfg["type"]} out of this pipeline'

    def _packing(self, cfg: dict) -> dict:
        from .formatting import META_KEYS

        pack = _plain(self.pack)
        keys = tuple(pack.get('meta_keys', META_KEYS))
        more = tuple(key for key in cfg.get('meta_keys', ()) if key not in keys)
        if more:
            pack['meta_keys'] = keys + more
        if self.late_labels:
            pack.setdefault('labels_at_ori_shape', True)
        return pack

    def _annotations(self, cfg: dict, name: str) -> list[dict]:
        for option in ('with_mask', 'with_keypoints'):
            if cfg.get(option):
                raise ValueError(
                    f'{cfg["type"]}: {option}=True, but mmfusion.PackFusionInputs does not pack what it loads. '
                    f'Set {option}=False, and take heads that need it out of the model.'
                )
        if self.annotations is not None:
            return _plain(self.annotations)
        # Stock test pipelines of mmseg load labels after the resize, since predictions are scored at full size.
        if self.moved and (name == 'mmseg.LoadAnnotations' or cfg.get('with_seg')):
            self.late_labels = True
        return [cfg]

    @staticmethod
    def _photometric(cfg: dict, name: str) -> dict:
        if name == 'mmcv.RandomGrayscale' and not cfg.get('keep_channels'):
            raise ValueError(
                f'{cfg["type"]}: without keep_channels=True it makes an image of one channel; a visible image has three.'
            )
        return dict(type='mmfusion.VisibleOnly', transforms=[cfg])

    def _geometric(self, cfg: dict, name: str) -> dict:
        self.moved = True
        moves_maps = name in MOVE_SEG_FIELDS
        if 'resize_type' in cfg:
            inner = library_name(self._class(cfg['resize_type']))
            if inner not in ANY_CHANNELS:
                raise ValueError(
                    f'{cfg["type"]}: resize_type={cfg["resize_type"]!r} is not known to suit four channels.'
                )
            moves_maps = inner in MOVE_SEG_FIELDS
        if self.masks and not moves_maps:
            raise ValueError(
                f'{cfg["type"]} moves the image and not the masks of salient objects: {self.masks}, or use one of '
                f'{", ".join(sorted(MOVE_SEG_FIELDS))}.'
            )
        if name in THREE_CHANNELS or cfg.get('backend') == 'pillow':
            floats = dict(to_float32=True) if name in FLOATS else {}
            return dict(type='mmfusion.ForEachModality', transform=cfg, **floats)
        if name == 'mmseg.RandomRotate' and 'pad_val' in cfg:
            cfg['pad_val'] = self._fill(cfg['pad_val'], cfg['type'])
        if name in ('mmcv.Pad', 'mmdet.Pad'):
            self._pad(cfg)
        if cfg.get('pad_cfg'):
            self._pad(cfg['pad_cfg'])
        return cfg

    def _pad(self, cfg: dict) -> None:
        value = cfg.get('pad_val')
        # A whole number, alone or as `img`, is spread over all channels by Pad itself.
        if isinstance(value, Mapping) and not isinstance(value.get('img', 0), int):
            cfg['pad_val'] = dict(value, img=self._fill(value['img'], cfg['type']))

    @staticmethod
    def _fill(value: float | Sequence[float], kind: str) -> float | tuple[float, ...]:
        """A fill value for four channels."""
        if isinstance(value, int | float):
            if value == 0:
                return value
            raise ValueError(
                f'{kind}: the fill value {value} goes to the first channel only, the others get 0 (for three channels as '
                f'for four). Give one for each of B, G, R and IR: ({value}, {value}, {value}, {value}).'
            )
        if len(value) not in (3, 4):
            raise ValueError(
                f'{kind}: the fill value {value} has {len(value)} numbers; expected 3 (B, G, R) or 4 (and IR)'
            )
        return (*value, value[0]) if len(value) == 3 else tuple(value)
