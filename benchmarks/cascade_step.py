"""A joint training step of a cascade, against a step of fusion alone and one of the task alone.

    python benchmarks/cascade_step.py [--tasks seg det] [--rounds 8] [--batch 2] [--size 96 128] [--device cpu]

A narrow OCCO in front of a narrow DeepLabV3+ (seg) and of a narrow YOLOX (det), as in configs/cascades/*_synthetic.py.
The task alone reads fused images of 8 bits, as from files, and has no gradient with respect to them. All three steps are
whole ones: preparing the batch, losses, backward pass, optimizer. They take turns within each round, in rotating order,
so that what else the machine does meets all of them; what counts is the ratio of the sums over all rounds. On a CPU the
same ratio is printed for the processor's time, which leaves out what the process waited for on a busy machine.
"""

import argparse
import copy
import time
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.optim import OptimWrapper
from mmengine.registry import DefaultScope

import mmfusion  # noqa: F401
from mmfusion.cli.running import without_sync_bn
from mmfusion.registry import DATASETS, MODELS
from mmfusion.utils import to_uint8

CONFIGS = Path(__file__).resolve().parents[1] / 'configs/cascades'
FILES = dict(seg='occo_deeplabv3plus_synthetic.py', det='occo_yolox_synthetic.py')


def prepare(task, args):
    """The three models by name, and a batch for each."""
    cfg = Config.fromfile(CONFIGS / FILES[task])
    without_sync_bn(cfg.model)
    if task == 'seg':
        cfg.model.segmentor.data_preprocessor.size = tuple(args.size)
    torch.manual_seed(0)
    model = MODELS.build(cfg.model).to(args.device).train()
    scenes = cfg.val_dataloader.dataset  # whole scenes
    scenes.update(num=args.batch, size=tuple(args.size))
    dataset = DATASETS.build(scenes)
    pairs = pseudo_collate([dataset[k] for k in range(args.batch)])
    with torch.no_grad():
        data = model.data_preprocessor(copy.deepcopy(pairs), True)
        fused = model.fuser.fuse(**data['inputs'])
    images = [to_uint8(image.flip(0)).cpu() for image in fused]
    files = dict(inputs=images, data_samples=pairs['data_samples'])
    return dict(cascade=(model, pairs), fusion=(model.fuser, pairs), task=(model.task, files))


def measure(cases, args):
    """Seconds of each case's step, (by the clock, of the processor), round by round, after one round of warming up."""
    optims = {name: OptimWrapper(torch.optim.SGD(model.parameters(), lr=1e-4)) for name, (model, _) in cases.items()}
    seconds = {name: [] for name in cases}
    for k in range(args.rounds + 1):
        order = list(cases)[k % len(cases) :] + list(cases)[: k % len(cases)]
        for name in order:
            model, batch = cases[name]
            batch = copy.deepcopy(batch)
            start = time.perf_counter(), time.process_time()
            model.train_step(batch, optims[name])
            if torch.device(args.device).type == 'cuda':
                torch.cuda.synchronize(args.device)
            seconds[name].append((time.perf_counter() - start[0], time.process_time() - start[1]))
    return {name: values[1:] for name, values in seconds.items()}


def ratio(seconds):
    """Sum of the cascade's steps over the sum of those of both sides alone."""
    cascade, fusion, task = (sum(values) for values in seconds.values())
    return cascade / (fusion + task)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--tasks', nargs='+', choices=tuple(FILES), default=tuple(FILES))
    parser.add_argument('--rounds', type=int, default=8)
    parser.add_argument('--batch', type=int, default=2)
    parser.add_argument('--size', type=int, nargs=2, default=(96, 128), metavar=('HEIGHT', 'WIDTH'))
    parser.add_argument('--device', default='cuda' if torch.cuda.is_available() else 'cpu')
    args = parser.parse_args()
    print(f'batch {args.batch}, {args.size[0]}×{args.size[1]}, {args.device}, {torch.get_num_threads()} threads')
    for task in args.tasks:
        with DefaultScope.overwrite_default_scope('mmfusion'):
            seconds = measure(prepare(task, args), args)
        clock, processor = ({name: [v[k] for v in values] for name, values in seconds.items()} for k in (0, 1))
        ratios = sorted(c / (f + t) for c, f, t in zip(*clock.values(), strict=True))
        print(
            f'{task}: {", ".join(f"{name} {sum(v) / args.rounds:.3f} s" for name, v in clock.items())} a step; '
            f'cascade / (fusion + task) = {ratio(clock):.3f} (rounds {ratios[0]:.3f} to {ratios[-1]:.3f}; bar 1.03)'
            + ('' if torch.device(args.device).type == 'cuda' else f', in processor time {ratio(processor):.3f}')
        )


if __name__ == '__main__':
    main()
