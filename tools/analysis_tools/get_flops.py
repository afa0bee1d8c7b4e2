"""Count a model's parameters and the operations of fusing one pair.

Counted are convolutions and matrix products (1 MAC = 2 FLOPs), by running the model once on the CPU. Papers often print
MACs as "FLOPs". Element-wise work, pooling and interpolation are not counted.
"""

import argparse
import sys

import torch
from rich.console import Console
from rich.table import Table

from mmfusion.cli.arguments import Overrides, at_least
from mmfusion.cli.errors import report
from mmfusion.models.cost import count_flops, count_parameters
from mmfusion.models.hub import init_model, load_model_config


def analyse(cfg, height, width):
    """Parameters and operations of a config's model on one pair.

    Returns:
        tuple[list[tuple], int]: Rows (part, parameters, FLOPs) of the network's parts and of the whole model, and the
        number of parameters that are not trained.
    """
    model = init_model(cfg, 'random', 'cpu')
    inputs = dict(vi=torch.rand(1, 3, height, width), ir=torch.rand(1, 1, height, width))
    counts = count_flops(model, inputs, mode='tensor')
    rows = []
    for name, part in model.network.named_children():
        # A container such as a ModuleList is never called itself: what it holds is added up.
        called = [n for n in counts if n == f'network.{name}' or n.startswith(f'network.{name}.')]
        outermost = [n for n in called if not any(n.startswith(f'{other}.') for other in called)]
        rows.append((f'network.{name}', count_parameters(part), sum(counts[n] for n in outermost)))
    rows.append(('all', count_parameters(model), counts['']))
    return rows, sum(p.numel() for p in model.parameters() if not p.requires_grad)


def parse_args(argv=None):
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', help='config file, or the name of one of mmfusion (occo_fmb)')
    parser.add_argument(
        '--shape', nargs=2, type=at_least(1), default=(480, 640), metavar=('H', 'W'), help='default: 480 640'
    )
    parser.add_argument('--cfg-options', nargs='+', action=Overrides, help='overrides of the config')
    return parser.parse_args(argv)


def run(args):
    """Count, print the table, and return a sentence about it."""
    rows, frozen = analyse(load_model_config(args.config, args.cfg_options), *args.shape)
    table = Table('part', title=f'{args.config}, one pair of {args.shape[0]}×{args.shape[1]} (height×width)')
    for title in ('parameters', 'GMACs', 'GFLOPs'):
        table.add_column(title, justify='right')
    for name, count, flops in rows:
        table.add_row(name, f'{count:,}', f'{flops / 2e9:.3f}', f'{flops / 1e9:.3f}', end_section=name == rows[-2][0])
    Console().print(table)
    return f'{frozen:,} of the parameters are not trained. Losses are not part of the model here.'


def main(argv=None):
    """Run; returns the exit code."""
    return report(run, parse_args(argv))


if __name__ == '__main__':
    sys.exit(main())
