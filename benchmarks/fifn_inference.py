"""FIFN at test time against the same network computed directly: time and difference.

    python benchmarks/fifn_inference.py [--shape 480 640] [--rounds 5] [--device cpu]

The direct form is what OCCO's public implementation is documented to do, in PyTorch's own operators: feature maps in
N×C×H×W memory, flattened and transposed to tokens and back, K and V formed, branches and modalities concatenated, every
batch norm by itself. Both forms have the same weights, and run turn by turn; the medians and their ratio are printed.
"""

import argparse
import statistics
import time

import torch
import torch.nn.functional as F
from torch import nn

import mmfusion  # noqa: F401
from mmfusion.models.layers import min_max_normalize
from mmfusion.models.methods.occo import FIFN


def norm(bn, x):
    """A batch norm by its running statistics."""
    return F.batch_norm(x, bn.running_mean, bn.running_var, bn.weight, bn.bias, eps=bn.eps)


def direct_attention(attention, own, other):
    """Linear attention with the heads' K and V formed; N×L×C tokens."""

    def heads(x):
        return x.reshape(*x.shape[:2], attention.num_heads, -1).transpose(1, 2)

    n, length, c = own.shape
    k, v = attention.chunk_kv(other)
    context = (heads(k).transpose(-2, -1) @ heads(v)) * (c // attention.num_heads) ** -0.5
    out = heads(own) @ context.softmax(dim=-2)
    return out.transpose(1, 2).reshape(n, length, c)


class KV:
    """The K, V map of one modality."""

    def __init__(self, block, name):
        self.num_heads, self.linear = block.attention.num_heads, block.attention.kv[name]

    def chunk_kv(self, tokens):
        return self.linear(tokens).chunk(2, dim=-1)


def direct_fifb(block, vi, ir):
    """FIFB (public variant), nothing folded."""
    n, c, h, w = vi.shape
    both = torch.cat([vi, ir], dim=1)
    pooled = torch.cat([F.adaptive_avg_pool2d(both, 1).flatten(1), F.adaptive_max_pool2d(both, 1).flatten(1)], dim=1)
    weights = torch.sigmoid(block.channel.mlp(pooled)).view(n, 2, c, 1, 1)
    maps, tokens, spatial = dict(vi=vi, ir=ir), {}, {}
    first, second = block.spatial['vi'].mlp[0], block.spatial['vi'].mlp[2]
    for k, m in enumerate(('vi', 'ir')):
        enhanced = (maps[m] * weights[:, k]).flatten(2).transpose(1, 2)
        tokens[m] = F.relu(block.attention.proj[m](enhanced))
        logits = F.conv2d(
            F.relu(F.conv2d(maps[m], first.weight[..., None, None], first.bias)),
            second.weight[..., None, None],
            second.bias,
        )
        spatial[m] = (maps[m] * torch.sigmoid(logits)).flatten(2).transpose(1, 2)
    out = []
    for own, other in (('vi', 'ir'), ('ir', 'vi')):
        attended = direct_attention(KV(block, other), tokens[own], tokens[other])
        merged = block.merge[own](torch.cat([spatial[own], attended], dim=-1))
        out.append(block.norm[own](maps[own].flatten(2).transpose(1, 2) + merged))
    x = torch.cat(out, dim=-1).permute(0, 2, 1).reshape(n, 2 * c, h, w).contiguous()
    r = block.refine
    y = F.conv2d(x, r.reduce.weight[..., None, None], r.reduce.bias)
    y = F.conv2d(F.relu(r.depthwise(y)), r.expand.weight[..., None, None], r.expand.bias)
    return norm(r.norm, F.conv2d(x, r.residual.weight[..., None, None]) + norm(r.inner_norm, y))


def direct_fifn(net, vi, ir):
    """FIFN (public variant), nothing folded."""

    def encode(x, blocks):
        features = []
        for block in blocks:
            x = F.max_pool2d(x, 2) if features else x
            for layer in block:
                x = norm(layer, x) if isinstance(layer, nn.BatchNorm2d) else layer(x)
            features.append(x)
        return features

    features = zip(encode(vi, net.encoder['vi']), encode(ir, net.encoder['ir']), strict=True)
    fused = [direct_fifb(block, v, i) for block, (v, i) in zip(net.fifb, features, strict=True)]
    x = fused.pop()
    for block in net.decoder:
        skip = fused.pop()
        up = F.interpolate(x, scale_factor=2, mode='bilinear', align_corners=True)
        up = F.pad(up, (0, skip.shape[3] - up.shape[3], 0, skip.shape[2] - up.shape[2]), mode='reflect')
        x = torch.cat([skip, up], dim=1)
        for layer in block.conv:
            x = layer(x)
    return min_max_normalize(net.final(x), per_image=True)


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
    net = FIFN().to(args.device).eval()
    randomize(net)
    vi, ir = torch.rand(2, 1, 1, *args.shape, device=args.device)
    forms = dict(FIFN=net, direct=lambda a, b: direct_fifn(net, a, b))
    seconds, outputs = {name: [] for name in forms}, {}
    for _ in range(args.rounds + 1):
        for name, form in forms.items():
            start = time.perf_counter()
            outputs[name] = form(vi, ir)
            if vi.is_cuda:
                torch.cuda.synchronize()
            seconds[name].append(time.perf_counter() - start)
    a, b = (statistics.median(seconds[name][1:]) for name in forms)
    difference = (outputs['FIFN'] - outputs['direct']).abs().max().item()
    print(f'{args.shape[0]}×{args.shape[1]}, {args.device}: FIFN {a:.3f} s, direct {b:.3f} s, ratio {a / b:.2f}')
    print(f'largest difference of the fused images, in [0, 1]: {difference:.1e}')


if __name__ == '__main__':
    main()
