"""Compare losses, gradients and fused images of two versions of the code, bit by bit.

Run ``record`` in a checkout of each version, with the same torch on the same machine, then ``compare``::

    python benchmarks/same_numbers.py record before.pt
    python benchmarks/same_numbers.py record after.pt
    python benchmarks/same_numbers.py compare before.pt after.pt

Weights are drawn from the parameters' names, so that neither the order in which modules are built nor the initialisation
matters; a parameter that was renamed counts as a difference.

On a CPU all cases are equal, bit by bit, from 90ea692, before methods shared one base, to today; but ``occo-paper``, which
is so up to 3207d48: since e6c1d1a its attention projects as the paper prints it.
"""

import argparse
import hashlib
import os
import sys

import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.structures import InstanceData, PixelData

NARROW = dict(network=dict(channels=(8, 12, 16, 20)))
# Name → config, overrides, height and width.
CASES = {
    'occo': ('occo/occo_fmb.py', dict(model=NARROW), (48, 40)),
    'occo-paper': ('occo/occo_fmb_paper.py', dict(model=NARROW), (48, 40)),
    'mgfusion': ('mgfusion/mgfusion_demo-random-clip.py', {}, (48, 40)),
    'gffusion': ('gffusion/gffusion_funet_demo-random-clip.py', {}, (48, 40)),
    'gffusion-joint': ('gffusion/gffusion_joint_demo-random.py', {}, (56, 56)),
    'seafusion': ('seafusion/seafusion_fusion_msrs.py', dict(model=dict(network=dict(variant='paper'))), (48, 40)),
    'occo-deeplabv3plus': ('cascades/occo_deeplabv3plus_synthetic.py', {}, (64, 64)),
    'occo-yolox': ('cascades/occo_yolox_synthetic.py', {}, (64, 64)),
}


def fill(model):
    """Draw each parameter and buffer of a model from its name."""
    for name, tensor in sorted(model.state_dict().items()):
        if not tensor.is_floating_point():
            continue
        seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], 'big')
        noise = torch.randn(tensor.shape, generator=torch.Generator().manual_seed(seed))
        if name.endswith('running_var'):
            noise = 1 + 0.1 * noise.abs()
        elif tensor.dim() > 1:
            noise = noise / max(tensor[0].numel(), 1) ** 0.5
        else:
            noise = 0.1 * noise + (1.0 if name.endswith('weight') else 0.0)
        with torch.no_grad():
            tensor.copy_(noise)


def batch(size, num=4):
    """Make a seeded batch of pairs with masks, labels and boxes."""
    from mmfusion.structures import FusionDataSample

    generator = torch.Generator().manual_seed(0)
    height, width = size
    coarse = torch.rand(num, 4, height // 8, width // 8, generator=generator)
    images = torch.nn.functional.interpolate(coarse, size, mode='bicubic').clamp(0, 1)
    images = (255 * (images + 0.05 * torch.rand(num, 4, *size, generator=generator)).clamp(0, 1)).round().byte()
    samples = []
    for k in range(num):
        sample = FusionDataSample(
            metainfo=dict(
                img_path=f'{k}.png',
                img_id=str(k),
                ori_shape=size,
                img_shape=size,
                pad_shape=size,
                scale_factor=(1.0, 1.0),
            )
        )
        masks = [torch.zeros(1, *size, dtype=torch.bool) for _ in range(2)]
        masks[0][:, 4 : height // 2, 4 : width // 2] = True
        masks[1][:, height // 4 : -4, width // 4 : -4] = True
        sample.gt_saliency = PixelData(vi=masks[0], ir=masks[1])
        sample.gt_sem_seg = PixelData(data=torch.randint(0, 5, (1, *size), generator=generator))
        box = torch.tensor([[4.0, 4.0, width / 2, height / 2], [8.0, 10.0, width - 4.0, height - 6.0]])
        sample.gt_instances = InstanceData(bboxes=box, labels=torch.tensor([0, 1]))
        samples.append(sample)
    return dict(inputs=list(images), data_samples=samples)


def run_case(config, overrides, size):
    """Losses, gradients and fused images of one model."""
    from mmfusion.registry import MODELS

    cfg = Config.fromfile(os.path.join('configs', config))
    cfg.merge_from_dict(overrides)
    init_default_scope(cfg.get('default_scope', 'mmfusion'))
    for side in ('fuser', 'segmentor', 'detector'):
        cfg.model.pop(f'{side}_checkpoint', None)
    cfg.model.pop('task_checkpoint', None)
    model = MODELS.build(cfg.model)
    fill(model)
    out = {}
    model.train()
    torch.manual_seed(0)
    losses = model(**model.data_preprocessor(batch(size), True), mode='loss')
    total, log = model.parse_losses(losses)
    total.backward()
    out.update({f'log {name}': value.detach().double().cpu() for name, value in log.items()})
    out.update({f'grad {n}': p.grad for n, p in model.named_parameters() if p.grad is not None})
    model.eval()
    with torch.no_grad():
        samples = model(**model.data_preprocessor(batch(size), False), mode='predict')
    out.update({f'fused {k}': sample.fused.data for k, sample in enumerate(samples)})
    out.update({f'labels {k}': s.pred_sem_seg.data for k, s in enumerate(samples) if 'pred_sem_seg' in s})
    out.update({f'boxes {k}': s.pred_instances.bboxes for k, s in enumerate(samples) if 'pred_instances' in s})
    return out


def record(path):
    """Run all cases and save their numbers."""
    import mmfusion

    for variable in ('MMFUSION_VGG19', 'MMFUSION_CLIP', 'MMFUSION_DINOV2'):
        os.environ[variable] = 'random'
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True, warn_only=True)
    numbers = {name: run_case(*case) for name, case in CASES.items()}
    torch.save(numbers, path)
    print(f'{path}: {sum(map(len, numbers.values()))} tensors of {len(numbers)} models, by {mmfusion.__file__}')


def compare(first, second):
    """Print what differs; give the number of differences."""
    a, b = (torch.load(path, weights_only=True) for path in (first, second))
    count = 0
    for case in CASES:
        names = {*a[case], *b[case]}
        wrong = [n for n in sorted(names) if n not in a[case] or n not in b[case] or not same(a[case][n], b[case][n])]
        count += len(wrong)
        print(f'{case:20s} {len(names)} tensors, {len(wrong)} differ {", ".join(wrong[:4])}')
    return count


def same(x, y):
    """Whether two tensors are equal in type, shape and every bit, NaN included."""
    return x.dtype == y.dtype and torch.equal(x.nan_to_num(nan=-7.0), y.nan_to_num(nan=-7.0))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split('\n', 1)[0])
    commands = parser.add_subparsers(dest='command', required=True)
    commands.add_parser('record').add_argument('path')
    pair = commands.add_parser('compare')
    pair.add_argument('first')
    pair.add_argument('second')
    args = parser.parse_args()
    if args.command == 'record':
        return record(args.path)
    return 1 if compare(args.first, args.second) else 0


if __name__ == '__main__':
    sys.exit(main())
