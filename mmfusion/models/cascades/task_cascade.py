"""Base class of segmentation and detection cascades."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from mmengine.model import BaseModel
from mmengine.structures import PixelData
from torch import Tensor

from mmfusion.models.checkpoint import full_state_dict, load_weights, place_before_loading
from mmfusion.models.freezing import freeze, named_parts
from mmfusion.models.fusers.batch import by_size, check_finite, sum_losses
from mmfusion.registry import MODELS
from mmfusion.structures import FusionDataSample


class TaskCascade(BaseModel):
    """Base class of cascades of a fuser and a stock task model.

    The task model gets what it would have read from a file: the fused image as B, G, R in 0…255, unpadded, through its
    *own* data preprocessor. Its losses and predictions are therefore those of the stock model on the same image, and the
    gradient of its losses reaches the fuser.

    In the log the fuser's losses are ``fusion.loss_<name>``, the task's ``seg.<name>`` or ``det.<name>``, each with its
    side's weight. ``loss_weights['fusion']`` and ``loss_weights['task']`` may be moved by a schedule
    (:class:`LossWeightHook`).

    A checkpoint of the fuser alone, or of the stock task model alone, is taken for what it is: its tensors are put where
    they belong. :meth:`task_state_dict` gives the task model back in its library's own names.

    Args:
        fuser: Config of an :class:`ImageFuser`. With no ``losses`` the task alone trains it.
        task: Config of the stock model.
        fusion_weight: Factor on the fuser's losses.
        task_weight: Factor on the task's losses. With 0 the fuser's gradients are those of fusion alone, bit for bit:
            the task then sees the fused image without its graph.
        frozen: Names of parts that are never trained (``'fuser'``, ``'segmentor.backbone'``…): no gradient, eval mode.
            A frozen fuser has no losses, and runs without graph.
        fuser_checkpoint, task_checkpoint: Where the weights start from. Every tensor must fit: use the task model's
            ``init_cfg``, or ``load_from``, for a checkpoint that fits in part.
        data_preprocessor: Default :class:`FusionDataPreprocessor`.
        init_cfg: As in mmengine.

    Raises:
        ValueError: If a part to freeze does not exist, or the task model has no preprocessor of images of three channels.
    """

    task_name = None  # of the attribute that holds the stock model
    prefix = None  # of its losses

    def __init__(
        self,
        fuser: dict,
        task: dict,
        fusion_weight: float = 1.0,
        task_weight: float = 1.0,
        frozen: Sequence[str] = (),
        fuser_checkpoint: str | Path | None = None,
        task_checkpoint: str | Path | None = None,
        data_preprocessor: dict | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(data_preprocessor or dict(type='mmfusion.FusionDataPreprocessor'), init_cfg)
        if hasattr(self.data_preprocessor, 'mean'):
            raise ValueError(
                f'{type(self).__name__}.data_preprocessor: found {type(self.data_preprocessor).__name__}, which prepares '
                "colour images and not pairs. Set model.data_preprocessor=dict(type='mmfusion.FusionDataPreprocessor'): "
                'where it is not set, the Runner takes the data_preprocessor of the stock config.'
            )
        # A seed is to give the task model the same random weights whatever fuser stands before it: so the task model comes
        # first, here and in init_weights, which begins from a number drawn before either.
        self._init_seed = torch.randint(2**62, ()).item()
        setattr(self, self.task_name, MODELS.build(task))
        self.fuser = MODELS.build(fuser)
        _check_preprocessor(self.task, f'{type(self).__name__}.{self.task_name}')
        self.loss_weights = dict(fusion=float(fusion_weight), task=float(task_weight))
        self.frozen = tuple(frozen)
        self.checkpoints = {'fuser': fuser_checkpoint, self.task_name: task_checkpoint}
        for part in named_parts(self, self.frozen).values():
            freeze(part)
        place_before_loading(self)

    @property
    def task(self) -> BaseModel:
        """Give the stock model."""
        return getattr(self, self.task_name)

    @property
    def sides(self) -> tuple[str, str]:
        """Name the two parts, each a model of its own."""
        return ('fuser', self.task_name)

    @property
    def fuser_is_frozen(self) -> bool:
        """Tell whether no parameter of the fuser is trained at present."""
        return not any(p.requires_grad for p in self.fuser.parameters())

    def train(self, mode: bool = True) -> 'TaskCascade':
        """Set training mode, but for what is frozen."""
        super().train(mode)
        for part in named_parts(self, self.frozen).values():
            freeze(part)
        return self

    def init_weights(self) -> None:
        """Initialise as mmengine does, then load each side's checkpoint."""
        torch.manual_seed(self._init_seed)
        super().init_weights()
        for name, path in self.checkpoints.items():
            if path is not None:
                load_weights(getattr(self, name), path)

    def task_state_dict(self) -> dict[str, Tensor]:
        """Give the stock model's state dict in its library's names, whole."""
        return full_state_dict(self.task)

    def place_state_dict(self, state: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Put a fuser's or stock model's state dict where it belongs.

        What belongs to neither keeps its name.
        """
        if any(name.startswith(tuple(f'{side}.' for side in self.sides)) for name in state):
            return state
        for side in self.sides:
            if not getattr(self, side).state_dict().keys().isdisjoint(state):
                return {f'{side}.{name}': value for name, value in state.items()}
        return state

    def forward(
        self, inputs: dict, data_samples: list[FusionDataSample] | None = None, mode: str = 'tensor'
    ) -> dict | list[FusionDataSample] | tuple | Tensor:
        """Run in one of mmengine's modes, as :meth:`ImageFuser.forward` does.

        Predicted samples have the task's findings, too; ``'tensor'`` gives what the stock model gives for the fused images.
        """
        if mode == 'loss':
            return self.loss(inputs, data_samples)
        if mode == 'predict':
            return self.predict(inputs, data_samples)
        if mode == 'tensor':
            fused = self.fuser.fuse(**inputs, samples=data_samples)
            samples = data_samples or [_sample_of(image) for image in fused]
            return self.task(**self._task_inputs(fused, samples, False), mode='tensor')
        raise ValueError(f"mode must be 'loss', 'predict' or 'tensor', got {mode!r}")

    def loss(self, inputs: dict, data_samples: list[FusionDataSample] | None) -> dict[str, Tensor | list[Tensor]]:
        """Compute both sides' losses: ``fusion.*`` and ``seg.*`` or ``det.*``.

        Images of several sizes are fused size by size; the fuser's losses are then means over the images.

        Raises:
            FloatingPointError: If a loss is not finite; the files of the batch are named.
            ValueError: If the stock preprocessor needs a size in training, and has none.
        """
        fused, losses = self._fuse(inputs['vi'], inputs['ir'], data_samples)
        # Before the task sees the images: with NaN a stock model fails where no file is known.
        check_finite(dict(fused=fused), data_samples, 'the fused image')
        losses = _weighted(losses, self.loss_weights['fusion'], 'fusion')
        weight = self.loss_weights['task']
        if weight == 0:
            # A product with 0 would hand back NaN where the task's gradient is infinite, and cost a backward pass.
            fused = [image.detach() for image in fused]
        task_losses = self.task(**self._task_inputs(fused, data_samples, True), mode='loss')
        losses.update(_weighted(task_losses, weight, self.prefix))
        check_finite({k: v for k, v in losses.items() if 'loss' in k}, data_samples)
        return losses

    def parse_losses(self, losses: Mapping[str, Tensor | list[Tensor]]) -> tuple[Tensor, dict[str, Tensor]]:
        """Sum both sides' losses; what else they told is logged only."""
        return sum_losses(super().parse_losses, losses)

    def _fuse(
        self, vi: Tensor | list[Tensor], ir: Tensor | list[Tensor], data_samples: list[FusionDataSample] | None
    ) -> tuple[list[Tensor], dict[str, Tensor]]:
        """Fuse to a list of images, with the fuser's mean losses."""
        if self.fuser_is_frozen:
            with torch.no_grad():
                return list(self.fuser.fuse(vi, ir, data_samples)), {}
        fused, losses = [None] * len(vi), {}
        for index, batch in self.fuser.run_groups(vi, ir, data_samples):
            for i, image in zip(index, batch['fused_rgb'], strict=True):
                fused[i] = image
            share = len(index) / len(vi)
            for name, value in self.fuser.losses_of(batch).items():
                losses[name] = losses.get(name, 0) + value * share
        return fused, losses

    def _task_inputs(
        self, fused: Tensor | list[Tensor], data_samples: list[FusionDataSample] | None, training: bool
    ) -> dict:
        """What the stock model's own preprocessor makes of fused images."""
        images = [255 * image.flip(0) for image in fused]
        preprocessor = self.task.data_preprocessor
        if training and getattr(preprocessor, 'size', 0) is None and preprocessor.size_divisor is None:
            raise ValueError(
                f'{type(self).__name__}.{self.task_name}.data_preprocessor has neither size nor size_divisor, of which '
                f'{type(preprocessor).__name__} needs one in training. Set {self.task_name}.data_preprocessor.size to the '
                'size of the training images, as configs of mmsegmentation set data_preprocessor=dict(size=crop_size).'
            )
        return self.task.data_preprocessor(dict(inputs=images, data_samples=data_samples), training)

    @torch.no_grad()
    def predict(self, inputs: dict, data_samples: list[FusionDataSample] | None = None) -> list[FusionDataSample]:
        """Fuse a batch, and give samples fused images and predictions."""
        if data_samples is None:
            data_samples = [_sample_of(image) for image in inputs['vi']]
        fused = [s.fused.data for s in self.fuser.predict(inputs, data_samples)]
        return self.predict_fused(fused, data_samples)

    @torch.no_grad()
    def predict_fused(
        self, fused: Tensor | list[Tensor], data_samples: list[FusionDataSample] | None = None
    ) -> list[FusionDataSample]:
        """Predict on fused images: N×3×H×W, R, G, B in [0, 1], or a list."""
        if data_samples is None:
            data_samples = [_sample_of(image) for image in fused]
        results = [None] * len(fused)
        # mmseg's preprocessor takes images of one size only when it does not train.
        for index in by_size(fused):
            samples = [data_samples[i] for i in index]
            for sample in samples:
                if 'scale_factor' not in sample:  # mmdet scales boxes back by it; nothing was resized
                    sample.set_metainfo(dict(scale_factor=(1.0, 1.0)))
            data = self._task_inputs([fused[i] for i in index], samples, False)
            for i, sample in zip(index, self.task(**data, mode='predict'), strict=True):
                sample.fused = PixelData(data=fused[i])
                results[i] = sample
        return results


def _sample_of(image: Tensor) -> FusionDataSample:
    """A data sample for an image that came without one."""
    size = tuple(image.shape[1:])
    return FusionDataSample(metainfo=dict(ori_shape=size, img_shape=size, pad_shape=size, scale_factor=(1.0, 1.0)))


def _weighted(
    losses: Mapping[str, Tensor | list[Tensor]], weight: float, prefix: str
) -> dict[str, Tensor | list[Tensor]]:
    """Losses under ``prefix``, times ``weight``; what is only logged, as it is."""
    out = {}
    for name, value in losses.items():
        if 'loss' in name and '/' not in name and weight != 1:
            value = [weight * v for v in value] if isinstance(value, list | tuple) else weight * value
        out[f'{prefix}.{name}'] = value
    return out


def _check_preprocessor(task: BaseModel, name: str) -> None:
    """The stock model must prepare 8-bit colour images by itself."""
    preprocessor = getattr(task, 'data_preprocessor', None)
    found = f'{type(task).__name__} with {type(preprocessor).__name__}'
    mean = getattr(preprocessor, 'mean', None)
    if not hasattr(preprocessor, 'pad_size_divisor') and not hasattr(preprocessor, 'size_divisor'):
        raise ValueError(
            f'{name}: found {found}, which does not prepare images. Expected a model with its own data_preprocessor, such '
            "as mmseg's SegDataPreProcessor or mmdet's DetDataPreprocessor; inherit it with the model "
            '(segmentor = _base_.model, with segmentor.data_preprocessor = _base_.data_preprocessor where that lies apart).'
        )
    std = getattr(preprocessor, 'std', None)
    if mean is not None and mean.max() > 0 and max(mean.max(), std.max()) <= 1:
        raise ValueError(
            f'{name}: found {found} with mean {mean.flatten().tolist()} and std {std.flatten().tolist()}, for images in '
            '[0, 1]. Stock preprocessors take images in 0…255: multiply both by 255.'
        )
    if mean is not None and mean.numel() not in (1, 3):
        raise ValueError(
            f'{name}: found {found} for images of {mean.numel()} channels (its mean). The fused image has three: B, G, R '
            'in 0…255. Give the mean and std of a model for colour images.'
        )
