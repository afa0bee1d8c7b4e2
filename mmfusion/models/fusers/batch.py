"""All that is known of a batch, and how parts take it."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from mmengine.model import is_model_wrapper
from mmengine.structures import PixelData
from torch import Tensor, nn

_MASKS = 'masks of salient objects'
_LOAD_MASKS = 'Add mmfusion.LoadSaliencyMasks to the pipeline and mask folders to data_prefix.'
# Name in a batch → field of the data sample, what of it, what it is called, and what to do where it is missing.
_ANNOTATIONS = {
    'mask_vi': ('gt_saliency', lambda field: field.vi, _MASKS, _LOAD_MASKS),
    'mask_ir': ('gt_saliency', lambda field: field.ir, _MASKS, _LOAD_MASKS),
    'labels': (
        'gt_sem_seg',
        lambda field: field.data[0],
        'segmentation labels',
        'Add mmfusion.LoadSegLabels to the pipeline and seg_map_path to data_prefix.',
    ),
    'boxes': (
        'gt_instances',
        lambda field: field,
        'boxes',
        "Add dict(type='mmdet.LoadAnnotations', with_bbox=True) to the pipeline of a dataset that reads boxes.",
    ),
}
SOURCES = ('vi', 'ir', 'vi_rgb')


class Batch(dict):
    """Sources, annotations, features and results of a batch by name.

    What costs time or may be missing is made when it is first asked for: ``vi`` (Y of ``vi_rgb``), features of priors, and
    what the data samples carry: ``mask_vi``, ``mask_ir`` (N×1×H×W bool), ``labels`` (N×H×W int64), ``boxes`` (a list of
    InstanceData), and any companion or meta information under its own name (a tensor N×C×H×W, or a list).

    Args:
        samples: Data samples of the batch.
        makers: Name → function of this batch that makes the value.
        cut: Function that cuts a window out of an annotation.
        **known: Values.

    Attributes:
        returned: Names of what the network gave.
    """

    def __init__(
        self,
        samples: Sequence | None = None,
        makers: Mapping[str, Callable] | None = None,
        cut: Callable | None = None,
        **known: Any,
    ) -> None:
        super().__init__(known)
        self.samples = samples or ()
        self.makers = dict(makers or {})
        self.cut = cut or (lambda value: value)
        self.returned: tuple[str, ...] = ()

    def __missing__(self, name: str) -> Any:
        if name in self.makers:
            value = self.makers[name](self)
        else:
            value = self._annotation(name)
        self[name] = value
        return value

    def __contains__(self, name: object) -> bool:
        return super().__contains__(name) or name in self.makers or self._has_annotation(name)

    def _has_annotation(self, name: object) -> bool:
        field = _ANNOTATIONS[name][0] if name in _ANNOTATIONS else name
        return bool(self.samples) and all(field in sample for sample in self.samples)

    def _annotation(self, name: str) -> Any:
        field, part, what, advice = _ANNOTATIONS.get(
            name,
            (name, lambda value: value, repr(name), 'Let the dataset and its pipeline give it (docs/datasets.md).'),
        )
        missing = [str(s.get('img_path')) for s in self.samples if field not in s]
        if missing or not self.samples:
            found = (
                f'{len(missing)} of {len(self.samples)} samples have none: {", ".join(missing[:5])}'
                if self.samples
                else 'the batch came without data samples'
            )
            raise ValueError(f'{what} are needed, and {found}. {advice}')
        values = [part(sample.get(field)) for sample in self.samples]
        values = [value.data if isinstance(value, PixelData) else value for value in values]
        return self.cut(torch.stack(values)) if isinstance(values[0], Tensor) else values

    def detached(self) -> 'Batch':
        """Copy the batch with its tensors cut from their graph."""
        copy = Batch(self.samples, self.makers, self.cut)
        copy.update({k: v.detach() if isinstance(v, Tensor) else v for k, v in self.items()})
        return copy

    def window(self, place: tuple, size: tuple[int, int]) -> 'Batch':
        """Cut a window out of all that has the images' ``size``.

        ``place`` is an index of the last two dimensions.
        """

        def cut(value: Any):
            if isinstance(value, Tensor) and value.shape[-2:] == size:
                return value[place].contiguous()
            return value

        sources = {name: cut(self[name]) for name in ('vi_rgb', 'ir') if name in self}
        return Batch(self.samples, self.makers, cut, **sources)


def arguments_of(part: nn.Module | Callable) -> dict[str, inspect.Parameter]:
    """Give the parameters of a function, or a module's ``forward``."""
    while isinstance(part, nn.Module) and (is_model_wrapper(part) or hasattr(part, '_orig_mod')):
        part = part.module if is_model_wrapper(part) else part._orig_mod
    function = part.forward if isinstance(part, nn.Module) else part
    parameters = inspect.signature(function).parameters
    return {n: p for n, p in parameters.items() if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)}


def take(part: nn.Module | Callable, batch: Batch, inputs: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Take from a batch, by name, what a part needs.

    Args:
        part: A module or function; the names of its parameters say what it needs. Those with a default are optional.
        batch: What there is.
        inputs: Parameter → name in the batch, where the two differ.

    Raises:
        ValueError: If something needed is missing; the message lists what there is.
    """
    inputs = inputs or {}
    arguments = {}
    for parameter, definition in arguments_of(part).items():
        name = inputs.get(parameter, parameter)
        if name in batch:
            arguments[parameter] = batch[name]
        elif definition.default is definition.empty or parameter in inputs:
            if name in _ANNOTATIONS:
                batch._annotation(name)  # says which samples have none, and what to do
            asked = getattr(part, '__qualname__', type(part).__name__)
            there = sorted({*batch, *batch.makers} | {n for n in _ANNOTATIONS if n in batch})
            raise ValueError(
                f'{asked} asks for {name!r}, which this batch does not have. It has, by name: {", ".join(there)}. A network '
                'that returns a dict adds its entries; a dataset adds annotations and companions (docs/add_a_method.md).'
            )
    return arguments


def check_inputs(name: str, part: nn.Module, inputs: Mapping[str, str]) -> None:
    """Refuse ``inputs`` that rename what a part does not take.

    Raises:
        ValueError: If there is such a name.
    """
    functions = [getattr(part, function, None) for function in ('loss', 'fool')]  # of a discriminator
    functions = [function for function in functions if callable(function)] or [part]
    known = {parameter for function in functions for parameter in arguments_of(function)}
    unknown = sorted(set(inputs) - known)
    if unknown:
        raise ValueError(
            f'inputs of {name}: {type(part).__name__} does not take {", ".join(unknown)}; it takes '
            f'{", ".join(sorted(known))}. Expected its parameter=name in the batch.'
        )


def sum_losses(parse: Callable, losses: Mapping[str, Any]) -> tuple[Tensor, dict[str, Tensor]]:
    """Sum losses as mmengine does, and keep terms out.

    mmengine adds whatever has "loss" in its name. A term of a loss, ``<loss>/<term>`` in the log, is part of it already.

    Args:
        parse: ``parse_losses`` of mmengine's BaseModel.
        losses: What a model's ``loss`` gave.
    """
    terms = {name: value for name, value in losses.items() if '/' in name}
    total, log = parse({name: value for name, value in losses.items() if name not in terms})
    return total, {**log, **terms}


def by_size(images: Sequence[Tensor]) -> list[list[int]]:
    """Group positions of images by shape, in order of first appearance."""
    groups: dict[tuple, list[int]] = {}
    for position, image in enumerate(images):
        groups.setdefault(tuple(image.shape), []).append(position)
    return list(groups.values())


def check_finite(values: Mapping[str, Any], data_samples: Sequence | None, what: str = 'a loss') -> None:
    """Stop at a value that is not finite, and name files.

    Args:
        values: Tensors or lists of tensors by name, such as the losses of a model.
        data_samples: With ``img_path``.
        what: What the values are, for the message.

    Raises:
        FloatingPointError: If one is not finite; with the values (sums of what is no scalar) and files.
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
