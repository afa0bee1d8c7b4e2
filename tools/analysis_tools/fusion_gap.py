"""How far fusing inside a cascade is from fusing to files: in grey levels, and in the task's metrics.

A cascade fuses augmented images in floating point; FuseImages, tools/fuse.py and tools/fuse_dataset.py fuse the images as
they are, in 8 bits. The same cascade, with the same weights, sees its test set both ways. In grey levels of 255, mean and
largest: rounding to 8 bits; and an augmentation before the fusion against the same one after it.

Example:
    python tools/analysis_tools/fusion_gap.py configs/cascades/occo_unet_synthetic.py work_dirs/helps/epoch_6.pth
"""

import argparse
import copy
import sys

import torch
from mmengine.evaluator import Evaluator
from mmengine.registry import DefaultScope
from mmengine.runner import Runner
from torchvision.transforms.v2.functional import center_crop, horizontal_flip, resize

from mmfusion.apis import find_config, init_model, load_model_config
from mmfusion.cli.arguments import Overrides
from mmfusion.cli.errors import report
from mmfusion.cli.running import without_sync_bn
from mmfusion.comparison.cell_config import per_class_evaluators, task_of
from mmfusion.comparison.cells import named_metrics
from mmfusion.utils import to_uint8, track
from mmfusion.utils.configs import read_config

TASKS = dict(segmentor='seg', detector='det')
AUGMENTATIONS = {
    'flip': horizontal_flip,
    'scale by 0.75': lambda x: resize(x, [round(0.75 * n) for n in x.shape[-2:]], antialias=True),
    'crop of half the size': lambda x: center_crop(x, [n // 2 for n in x.shape[-2:]]),
}


class Difference:
    """Mean and maximum of absolute differences, in grey levels of 255."""

    def __init__(self):
        self.total, self.count, self.maximum = 0.0, 0, 0.0

    def add(self, a, b):
        """Count two images, or batches of them, in [0, 1]."""
        difference = 255 * (a - b).abs()
        self.total += difference.sum(dtype=torch.float64).item()
        self.count += difference.numel()
        self.maximum = max(self.maximum, difference.max().item())

    def __str__(self):
        return f'{self.total / max(self.count, 1):8.3f}{self.maximum:9.2f}'


@torch.no_grad()
def compare(model, loader, evaluators, augmentations=AUGMENTATIONS):
    """Run a cascade over a test set both ways.

    Args:
        model (TaskCascade): In eval mode.
        loader (DataLoader): Of its test set.
        evaluators (dict[str, Evaluator]): ``'float'`` and ``'8 bits'``.
        augmentations (dict[str, callable]): What is done to images, N×C×H×W.

    Returns:
        tuple[dict, dict]: Name → :class:`Difference`; ``'float'`` and ``'8 bits'`` → metrics.
    """
    gaps = {name: Difference() for name in ('rounding to 8 bits', *augmentations)}
    for batch in track(loader, 'comparing', 'batch'):
        data = model.data_preprocessor(batch, False)
        vi, ir = data['inputs']['vi'], data['inputs']['ir']
        exact = list(model.fuser.fuse(vi, ir, data['data_samples']))
        fused = {'float': exact, '8 bits': [to_uint8(image).float() / 255 for image in exact]}
        for kind, images in fused.items():
            samples = model.predict_fused(images, copy.deepcopy(data['data_samples']))
            evaluators[kind].process(samples, None)
        for v, i, image, rounded in zip(vi, ir, *fused.values(), strict=True):
            gaps['rounding to 8 bits'].add(image, rounded)
            for name, augment in augmentations.items():
                before = model.fuser.fuse(augment(v[None]), augment(i[None]))[0]
                gaps[name].add(before, augment(image[None])[0])
    return gaps, {kind: evaluator.evaluate(len(loader.dataset)) for kind, evaluator in evaluators.items()}


def run(args):
    """Compare, and return the tables as text.

    Raises:
        ValueError: The config is none of a cascade.
        FileNotFoundError, CheckpointError: No such config, or a checkpoint that does not belong to it.
    """
    base = read_config(find_config(args.config))
    task = task_of(base)
    cfg = load_model_config(base, args.cfg_options, task=TASKS[task])
    without_sync_bn(cfg.model)
    if task == 'detector':
        import mmfusion.evaluation.metrics.per_class_coco  # noqa: F401  (registers it; needs mmdet, so not always there)
    model = init_model(cfg, args.checkpoint, args.device)
    with DefaultScope.overwrite_default_scope(cfg.get('default_scope') or 'mmfusion'):
        loader = Runner.build_dataloader(cfg.test_dataloader)
        stock = [m for m in per_class_evaluators(cfg.test_evaluator, task) if '.PerClass' in m['type']]
        evaluators = {kind: Evaluator(copy.deepcopy(stock)) for kind in ('float', '8 bits')}
        for evaluator in evaluators.values():
            evaluator.dataset_meta = loader.dataset.metainfo
        gaps, metrics = compare(model, loader, evaluators)
    lines = [f'{len(loader.dataset)} images; grey levels of 255{"mean":>13}{"largest":>9}']
    lines += [f'  {name:<40}{gap}' for name, gap in gaps.items()]
    lines += ['', f'{"the same weights see":<32}{"float":>10}{"8 bits":>10}{"difference":>12}']
    values = {kind: named_metrics(found) for kind, found in metrics.items()}
    for name, exact in values['float'].items():
        rounded = values['8 bits'][name]
        if exact is not None and rounded is not None:
            lines.append(f'  {name:<30}{exact:>10.2f}{rounded:>10.2f}{rounded - exact:>+12.2f}')
    return '\n'.join(lines)


def main(argv=None):
    """Run; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', help='config of a cascade')
    parser.add_argument('checkpoint', help='its weights')
    parser.add_argument('--device', help='default: a GPU where there is one')
    parser.add_argument('--cfg-options', nargs='+', action=Overrides, help='overrides of the config')
    return report(run, parser.parse_args(argv))


if __name__ == '__main__':
    sys.exit(main())
