"""Make a linear segmentation head for other classes out of a trained one, by a map of classes.

    python tools/model_converters/map_seg_head.py dinov2_vitb14_ade20k_linear_head.pth work_dirs/seg_head.pth \\
        --num-classes 9 --map 20=1 12=2 116,127=3 --rest 0

SRC is a checkpoint, or a plain state dict, with `decode_head.conv_seg.weight`; DINOv2's own heads have a batch norm in
front, which is folded into the weights. DST has the weight and bias of `decode_head.conv_seg`, for `task_checkpoint` of a
FusionSegmentor, or `load_from`. Classes count from 0.

With --whole DST is the whole model, for its `init_cfg`, of a segmenter or of a detector whose head has a row a class
(YOLOX): COCO's car, person, bicycle and motorcycle become three classes by

    python tools/model_converters/map_seg_head.py yolox_nano_coco.pth yolox_nano_3.pth --whole \\
        --num-classes 3 --map 2=0 0=1 1,3=2
"""

import argparse
import re
import sys
from pathlib import Path

import torch

from mmfusion.cli.errors import ERRORS, message_of, report
from mmfusion.models.checkpoint import save_checkpoint
from mmfusion.utils.checkpoint import read_checkpoint

CONV, NORM = 'decode_head.conv_seg.', 'decode_head.bn.'
OF_CLASSES = re.compile(r'head\..*(conv_seg|conv_cls|fc_cls|cls_convs?_pred|atss_cls)[^a-z]*\.(weight|bias)$')
EPS = 1e-5  # of mmseg's and DINOv2's batch norms


def linear_head(state):
    """Weight (classes × channels) and bias of a linear head; a batch norm in front of it (its statistics) is folded in.

    With y = γ (x − μ) / √(σ² + ε) + β, W y + b = W s x + (b + W (β − μ s)), s = γ / √(σ² + ε).

    Raises:
        ValueError: There is no such head, or it is not linear.
    """
    names = [name for name in state if name.endswith(f'{CONV}weight')]
    if len(names) != 1:
        raise ValueError(
            f'expected one {CONV}weight, found {", ".join(names) or "none among " + ", ".join([*state][:3])}'
        )
    start = names[0].removesuffix(f'{CONV}weight')
    own = {name.removeprefix(start): value for name, value in state.items() if name.startswith(f'{start}decode_head.')}
    other = [n for n in own if not n.startswith((CONV, NORM)) and n.endswith('weight')]
    weight = own[f'{CONV}weight'].double()
    if other or weight.flatten(1).shape[1] != weight.shape[1]:
        raise ValueError(
            f'the head is not linear: conv_seg is {"×".join(map(str, weight.shape))}, and besides it there are '
            f'{", ".join(other) or "no weights"}. Only a 1×1 convolution on the features can be taken over.'
        )
    weight = weight.flatten(1)
    bias = own.get(f'{CONV}bias', torch.zeros(len(weight))).double()
    if f'{NORM}running_var' in own:
        norm = {k: own[f'{NORM}{k}'].double() for k in ('weight', 'bias', 'running_mean', 'running_var')}
        scale = norm['weight'] / (norm['running_var'] + EPS).sqrt()
        bias = bias + weight @ (norm['bias'] - norm['running_mean'] * scale)
        weight = weight * scale
    return weight.float(), bias.float()


def class_tensors(state):
    """Name → tensor of a head's weights and biases that have a row a class, and the number of rows.

    Raises:
        ValueError: There are none, or their rows differ in number.
    """
    found = {name: value for name, value in state.items() if OF_CLASSES.search(name)}
    rows = {len(value) for value in found.values()}
    if len(rows) != 1:
        sizes = ', '.join(f'{name} of {len(value)}' for name, value in found.items())
        raise ValueError(
            f'expected a head whose conv_seg or conv_cls have one row a class, found {sizes or "none of these"}; '
            'auxiliary heads and heads with rows for anchors cannot be mapped'
        )
    return found, rows.pop()


def map_whole(state, sources, num_classes, num_old):
    """The state dict with the rows of :func:`class_tensors` as :func:`map_classes` has them; the rest stays."""
    state = dict(state)
    for name in class_tensors(state)[0]:
        value = state[name]
        rows = map_classes(
            value.flatten(1) if value.ndim > 1 else value[:, None], value.new_zeros(num_old), sources, num_classes
        )
        state[name] = rows[0].reshape(num_classes, *value.shape[1:])
    return state


def map_classes(weight, bias, sources, num_classes):
    """A head for ``num_classes`` classes.

    A new class has the mean of its old ones. One without any has the mean of all new classes that have some: its logit is
    the mean of theirs, so that it never is above them all.

    Args:
        weight (Tensor): Old classes × channels.
        bias (Tensor): Old classes.
        sources (dict[int, list[int]]): New class → old classes.
        num_classes (int): New classes.

    Returns:
        tuple[Tensor, Tensor]: Weight and bias.

    Raises:
        ValueError: No such class; nothing is mapped.
    """
    wrong_old = sorted({o for olds in sources.values() for o in olds if not 0 <= o < len(weight)})
    wrong_new = sorted(new for new in sources if not 0 <= new < num_classes)
    if wrong_old or wrong_new or not any(sources.values()):
        raise ValueError(
            f'the map names old classes {wrong_old} and new classes {wrong_new} that do not exist; the head has '
            f'0 … {len(weight) - 1}, the new one 0 … {num_classes - 1}'
            if wrong_old or wrong_new
            else 'the map is empty: give at least one class by --map OLD=NEW'
        )
    rows = {new: (weight[olds].mean(0), bias[olds].mean(0)) for new, olds in sources.items() if olds}
    rest = tuple(torch.stack(values).mean(0) for values in zip(*rows.values(), strict=True))
    chosen = [rows.get(new, rest) for new in range(num_classes)]
    return tuple(torch.stack(values) for values in zip(*chosen, strict=True))


def read_map(items, rest, num_old):
    """``['20=1', '116,127=3']`` and the class of all old ones not named, or None → new class → old classes.

    Raises:
        ValueError: Not of this form, or an old class named twice.
    """
    sources, named = {}, []
    for item in items:
        olds, sep, new = item.partition('=')
        if not sep or not new.isdigit() or not all(o.isdigit() for o in olds.split(',')):
            raise ValueError(f'--map {item}: expected OLD=NEW or OLD,OLD=NEW, with numbers of classes')
        sources.setdefault(int(new), []).extend(int(o) for o in olds.split(','))
        named.extend(int(o) for o in olds.split(','))
    twice = sorted({o for o in named if named.count(o) > 1})
    if twice:
        raise ValueError(f'--map names the old classes {twice} twice')
    if rest is not None:
        sources.setdefault(rest, []).extend(sorted(set(range(num_old)) - set(named)))
    return sources


def convert(src, dst, items, num_classes, rest=None, overwrite=False, whole=False):
    """Map the head in a file; arguments as on the command line.

    Returns:
        dict[int, list[int]]: New class → old classes.

    Raises:
        FileExistsError: ``dst`` exists.
        CheckpointError, ValueError: ``src`` cannot be read, or does not fit.
    """
    dst = Path(dst)
    if dst.exists() and not overwrite:
        raise FileExistsError(f'{dst} exists; say --overwrite to replace it')
    state = read_checkpoint(src)[0]
    if whole:
        num_old = class_tensors(state)[1]
        sources = read_map(items, rest, num_old)
        state = map_whole(state, sources, num_classes, num_old)
    else:
        weight, bias = linear_head(state)
        sources = read_map(items, rest, len(weight))
        new_weight, new_bias = map_classes(weight, bias, sources, num_classes)
        state = {f'{CONV}weight': new_weight[..., None, None], f'{CONV}bias': new_bias}
    save_checkpoint(dst, state, dict(converted_from=Path(src).name, class_map=sources))
    return sources


def parse_args(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('src', help='checkpoint with a linear head, or with --whole of any head that has a row a class')
    parser.add_argument('dst', help='file to write')
    parser.add_argument('--num-classes', type=int, required=True, help='number of new classes')
    parser.add_argument('--map', nargs='+', default=[], metavar='OLD[,OLD]=NEW', help='old classes of each new class')
    parser.add_argument('--rest', type=int, help='new class of all old ones that --map does not name')
    parser.add_argument('--whole', action='store_true', help='write the whole model, for init_cfg, not its head alone')
    parser.add_argument('--overwrite', action='store_true', help='replace DST if it exists')
    return parser.parse_args(argv)


def run(args):
    """Convert, and say what was written; an error names the file."""
    try:
        sources = convert(args.src, args.dst, args.map, args.num_classes, args.rest, args.overwrite, args.whole)
    except ERRORS as e:
        text = message_of(e)
        raise ValueError(text if args.src in text else f'{args.src}: {text}') from e
    without = [new for new in range(args.num_classes) if not sources.get(new)]
    return f'{args.dst}: written; {args.num_classes} classes, of which {without or "none"} have no old one'


def main(argv=None):
    """Run; returns the exit code."""
    return report(run, parse_args(argv))


if __name__ == '__main__':
    sys.exit(main())
