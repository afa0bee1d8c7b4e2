"""Training in several processes."""

from collections.abc import Iterable
from functools import partial

import torch
from mmengine.dist import all_reduce, all_reduce_params, broadcast, get_world_size
from mmengine.model import MMDistributedDataParallel
from torch import Tensor, nn

from mmfusion.registry import MODEL_WRAPPERS


@MODEL_WRAPPERS.register_module()
class DataParallel(MMDistributedDataParallel):
    """mmengine's wrapper, with gradients in the layout of their parameters."""

    def __init__(self, module: nn.Module, **kwargs) -> None:
        match_gradient_layout(module)
        super().__init__(module=module, **kwargs)


def match_gradient_layout(module: nn.Module) -> None:
    """Give gradients their parameters' strides along dimensions of one element.

    Backward passes of depthwise and 1×1 convolutions give strides of channels last, which is the same order in memory,
    but of which DistributedDataParallel warns that it slows training down. Parameters that are frozen now are left out.
    """
    for parameter in module.parameters():
        if parameter.requires_grad and 1 in parameter.shape:
            parameter.register_hook(partial(_restrided, parameter.stride()))


def _restrided(stride: tuple[int, ...], gradient: Tensor) -> Tensor:
    matters = [(a, b) for n, a, b in zip(gradient.shape, stride, gradient.stride(), strict=True) if n > 1]
    same = gradient.stride() == stride or any(a != b for a, b in matters)
    return gradient if same else gradient.as_strided(gradient.shape, stride)


@MODEL_WRAPPERS.register_module()
class StepDataParallel(nn.Module):
    """Hand steps on to a model that averages gradients itself.

    DistributedDataParallel expects one forward and one backward pass a step, and mmengine's
    MMSeparateDistributedDataParallel that each part is only called by its ``forward``; a fuser that learns against
    discriminators does neither: its ``train_step`` calls :func:`average_gradients` after each backward pass. The model
    begins with the parameters and buffers of the first process. Options of mmengine's other wrappers have no meaning here.
    """

    def __init__(self, module: nn.Module, **kwargs) -> None:
        super().__init__()
        self.module = module
        for value in module.state_dict().values():
            broadcast(value)

    def train_step(self, data: dict, optim_wrapper: object) -> dict[str, Tensor]:
        """Train on one batch."""
        return self.module.train_step(data, optim_wrapper)

    def val_step(self, data: dict) -> list:
        """Predict a batch of validation."""
        return self.module.val_step(data)

    def test_step(self, data: dict) -> list:
        """Predict a batch of a test."""
        return self.module.test_step(data)


def average_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Replace gradients by their mean over the processes.

    The parameters are the same ones, in the same order, in every process. One that no process used keeps no gradient; one
    that some did not use counts 0 there.
    """
    if get_world_size() == 1:
        return
    parameters = [p for p in parameters if p.requires_grad]
    if not parameters:
        return
    used = torch.tensor([p.grad is not None for p in parameters], dtype=torch.int32, device=parameters[0].device)
    all_reduce(used, 'sum')
    parameters = [p for p, any_used in zip(parameters, used.tolist(), strict=True) if any_used]
    for p in parameters:
        if p.grad is None:
            p.grad = torch.zeros_like(p)
    all_reduce_params([p.grad for p in parameters], op='mean')
