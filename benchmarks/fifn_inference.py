"""FIFN at test time with FIFB computed fast and as the paper prints it: time and difference.

    python benchmarks/fifn_inference.py [--shape 480 640] [--rounds 5] [--device cpu]

Both have the same weights and run turn by turn; the medians and their ratio are printed.
"""

import argparse
import statistics
import time

import torch
from torch import nn

import mmfusion  # noqa: F401
from mmfusion.models.methods.occo import FIFN


def randomize(net):
    """Running statistics and affine weights as training leaves them: not the identity."""
    for m in net.modules():
        if isinstance(m, (nn.BatchNorm2d, nn.LayerNorm)):
            nn.init.uniform_(m.weight, 0.5, 1.5)
            nn.init.normal_(m.bias, std=0.2)
        if isinstance(m, nn.BatchNorm2d):
            m.running_mean.normal_(std=0.2)
            m.running_var.uniform_(0.5, 1.5)


@torch.inference_mode()
def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--shape', type=int, nargs=2, default=(480, 640), metavar=('H', 'W'))
    parser.add_argument('--rounds', type=int, default=5)
    parser.add_argument('--device', default='cuda' if torch.cuda.is_available() else 'cpu')
    args = parser.parse_args()
    torch.manual_seed(0)
    nets = {name: FIFN(fifb=dict(type=f'mmfusion.{name}')).to(args.device).eval() for name in ('FastFIFB', 'FIFB')}
    randomize(nets['FastFIFB'])
    nets['FIFB'].load_state_dict(nets['FastFIFB'].state_dict())
    vi, ir = torch.rand(2, 1, 1, *args.shape, device=args.device)
    seconds, outputs = {name: [] for name in nets}, {}
    for _ in range(args.rounds + 1):
        for name, net in nets.items():
            start = time.perf_counter()
            outputs[name] = net(vi, ir)
            if vi.is_cuda:
                torch.cuda.synchronize()
            seconds[name].append(time.perf_counter() - start)
    fast, plain = (statistics.median(times[1:]) for times in seconds.values())
    difference = (outputs['FastFIFB'] - outputs['FIFB']).abs().max().item()
    print(
        f'{args.shape[0]}×{args.shape[1]}, {args.device}: fast {fast:.3f} s, plain {plain:.3f} s, {plain / fast:.2f} ×'
    )
    print(f'largest difference of the fused images, in [0, 1]: {difference:.1e}')


if __name__ == '__main__':
    main()
