"""Freezing parts of a model by their names."""

from collections.abc import Sequence

from torch import nn

from .checkpoint import unwrap


def named_parts(model: nn.Module, names: Sequence[str]) -> dict[str, nn.Module | nn.Parameter]:
    """Find submodules and parameters by name, in the order given.

    Names are dotted as in ``named_modules``, such as ``'fuser'`` or ``'segmentor.decode_head'``, or those of parameters; a
    wrapper (DDP) is looked through.

    Raises:
        ValueError: If there is no such part; those at the deepest level that was found are listed.
    """
    parts = {}
    for name in names:
        part = unwrap(model)
        for k, step in enumerate(name.split('.')):
            below = getattr(part, step, None)
            if not isinstance(below, nn.Module | nn.Parameter):
                children = [n for n, _ in part.named_children()] if isinstance(part, nn.Module) else []
                where = '.'.join(name.split('.')[:k]) or type(part).__name__
                raise ValueError(
                    f'{name!r}: no such part of the model. {where} has {", ".join(children) or "no parts"}.'
                )
            part = below
        parts[name] = part
    return parts


def parameters_of(part: nn.Module | nn.Parameter) -> list[nn.Parameter]:
    """List the parameters of a module, or the parameter itself."""
    return list(part.parameters()) if isinstance(part, nn.Module) else [part]


def freeze(part: nn.Module | nn.Parameter) -> None:
    """Turn gradients off, and set a module to eval mode."""
    for parameter in parameters_of(part):
        parameter.requires_grad_(False)
        parameter.grad = None  # an optimizer steps along what is left of an earlier gradient
    if isinstance(part, nn.Module):
        part.eval()
