"""Weights of convolutions in the order that GPUs' convolutions work fastest in."""

import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmfusion.registry import HOOKS


@HOOKS.register_module()
class ChannelsLastHook(Hook):
    """Store the weights of convolutions channels last, before a loop begins.

    PyTorch's convolutions then give and take images channels last, too. Values stay the same up to rounding.
    ``benchmarks/training_step.py`` tells for a method and a device whether it pays.
    """

    priority = 'LOW'  # after checkpoints are loaded

    def before_run(self, runner: Runner) -> None:
        """Convert the model's weights of four dimensions."""
        to_channels_last(runner.model)


def to_channels_last(model: torch.nn.Module) -> None:
    """Store each parameter of four dimensions channels last, in place."""
    for parameter in model.parameters():
        if parameter.dim() == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
