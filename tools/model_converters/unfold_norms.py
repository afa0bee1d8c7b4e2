"""Give folded batch norms back their statistics, so that a stock model can be fine-tuned.

    python tools/model_converters/unfold_norms.py yolox-nano_msrs_cpu work_dirs/yolox_nano.pth

Weights that came from a deployed file (ONNX, TensorRT) have their batch norms folded into the convolutions: mean 0, variance
1. In tests they do what they did. In training a batch norm divides by the deviation of the batch, which is no longer 1, and
the model forgets what it knew. This measures each norm's input on training images and sets its statistics, weight and bias
to match: tests give the same, and training starts where the model stands.

CONFIG is a cascade whose segmenter or detector has its weights by `init_cfg` or `task_checkpoint`; its training images are
what is measured. OUT has the segmenter or detector alone, in its library's names.
"""

import argparse
import sys
from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path

import torch
from mmengine.model import BaseModel
from mmengine.registry import DefaultScope
from mmengine.runner import Runner
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

import mmfusion  # noqa: F401
from mmfusion.cli.errors import report
from mmfusion.models.cascades import TaskCascade
from mmfusion.models.checkpoint import save_checkpoint
from mmfusion.models.hub import drop_losses
from mmfusion.registry import MODELS
from mmfusion.utils import check_writable, track
from mmfusion.utils.configs import find_config, read_config


def is_folded(norm: nn.Module) -> bool:
    """Tell whether a batch norm has no statistics of its own."""
    mean, var = norm.running_mean, norm.running_var
    return bool((mean == 0).all() and torch.allclose(var, torch.ones_like(var), atol=1e-2))


@torch.no_grad()
def unfold(model: BaseModel, norms: Sequence[nn.Module], batches: Iterable[dict]) -> None:
    """Set statistics of batch norms by what they are given on some batches.

    With μ and σ² of its input, a norm that computed y = γ (x − m) / √(v + ε) + β gets m' = μ, v' = σ²,
    γ' = γ √(σ² + ε) / √(v + ε) and β' = β + γ (μ − m) / √(v + ε), by which y is the same.
    """
    sums = {norm: [0, 0.0, 0.0] for norm in norms}

    def add(norm: nn.Module, inputs: tuple) -> None:
        (x,), entry = inputs, sums[norm]
        var, mean = (part.double() for part in torch.var_mean(x, [d for d in range(x.ndim) if d != 1], correction=0))
        count = x.numel() // x.shape[1]
        entry[0] += count
        entry[1] = entry[1] + count * mean
        entry[2] = entry[2] + count * (var + mean.square())

    hooks = [norm.register_forward_pre_hook(add) for norm in norms]
    model.eval()
    try:
        for batch in batches:
            model(**model.data_preprocessor(batch, True), mode='loss')  # training images have no boxes to scale back
    finally:
        for hook in hooks:
            hook.remove()
    for norm, (count, total, squares) in sums.items():
        if not count:
            continue  # never used
        mean = total / count
        var = (squares / count - mean.square()).clamp_min(0)
        scale = norm.weight.double() / (norm.running_var.double() + norm.eps).sqrt()
        norm.bias.add_((scale * (mean - norm.running_mean.double())).to(norm.bias))
        norm.weight.copy_(scale * (var + norm.eps).sqrt())
        norm.running_mean.copy_(mean)
        norm.running_var.copy_(var)


def convert(config: str, out: str | Path, images: int = 64) -> int:
    """Unfold the norms of a cascade's task model and write it; arguments as on the command line.

    Returns:
        Number of batch norms that were folded.

    Raises:
        ValueError: If the config is of no cascade, or none of its norms is folded.
    """
    cfg = read_config(find_config(config))
    drop_losses(cfg.model)
    loader = dict(cfg.train_dataloader, num_workers=0, persistent_workers=False)
    with DefaultScope.overwrite_default_scope(cfg.get('default_scope') or 'mmfusion'):
        model = MODELS.build(cfg.model)
        if not isinstance(model, TaskCascade):
            raise ValueError(f'{config}: its model is a {type(model).__name__}; expected a cascade')
        model.init_weights()
        norms = [m for m in model.task.modules() if isinstance(m, _BatchNorm) and m.affine and is_folded(m)]
        if not norms:
            raise ValueError(
                f'{config}: no batch norm of its {model.task_name} is folded (mean 0, variance 1): nothing to do'
            )
        batches = -(-images // cfg.train_dataloader.batch_size)
        data = islice(Runner.build_dataloader(loader, seed=0), batches)
        unfold(model, norms, track(data, 'measuring', 'batch', total=batches))
    save_checkpoint(out, model.task_state_dict(), dict(unfolded=len(norms)))
    return len(norms)


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', help='config of a cascade, or its name')
    parser.add_argument('out', help='file to write the segmenter or detector to')
    parser.add_argument('--images', type=int, default=64, help='training images to measure on. Default: %(default)s')
    return parser.parse_args(argv)


def run(args: argparse.Namespace) -> str:
    """Convert, and say what was written."""
    check_writable(args.out, 'OUT', folder=False)
    return f'{args.out}: {convert(args.config, args.out, args.images)} batch norms unfolded'


def main(argv: Sequence[str] | None = None) -> int:
    """Run; returns the exit code."""
    return report(run, parse_args(argv))


if __name__ == '__main__':
    sys.exit(main())
