"""Published methods' networks beside their authors' code: the same weights, the same image, and how long either takes.

    python benchmarks/zoo_speed.py --code DIR [--methods densefuse …] [--shape 256 320] [--rounds 9] [--compile]

DIR holds clones of the repositories below, each in the folder that `git clone` makes. The authors' network is built with
random weights, which our network gets through its ``from_authors``; both run turn by turn. Printed are the least times of
either, their ratio, and the largest difference of their outputs, relative to the largest value. On a CPU the time is that of
the process, which other processes disturb little, and freed memory is kept, as the tools do: otherwise the time of new pages
comes on top, for either network by chance. ``--compile`` times our network under torch.compile, too.
"""

import argparse
import contextlib
import functools
import importlib
import io
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple
from unittest import mock

import torch
import torchvision
from torch import nn

from mmfusion.models.fusers.batch import Batch, take
from mmfusion.models.fusers.color import luminance
from mmfusion.models.hub import load_model_config
from mmfusion.registry import MODELS
from mmfusion.utils import keep_freed_memory


class Public(NamedTuple):
    """A method's public code.

    ``folder`` is put on the import path. ``build`` makes the networks from the imported modules; the key of each is the
    prefix of its parameters, as ``from_authors`` gets them. ``fuse(networks…, vi, ir)`` is their test without files.
    """

    config: str
    repository: str
    folder: str
    modules: str
    build: Callable
    fuse: Callable
    training: tuple[str, ...] = ()  # networks that their test leaves in training mode


def _two(net, vi, ir):
    return net(torch.cat([ir, vi], 1))


def _ir_first(net, vi, ir):
    return net(ir, vi)


def _vi_first(net, vi, ir):
    return net(vi, ir)


def _code(net, vi, ir):
    return net.decoder(net.encoder(torch.cat([ir, vi], 1)))[0]


def _stretched(x):
    return (x - x.min()) / (x.max() - x.min())


def _auif(base, detail, decoder, vi, ir):
    return decoder(base(ir)[0] + base(vi)[0], detail(ir)[0] + detail(vi)[0])


def _cddfuse(encoder, decoder, base, detail, vi, ir):
    (vi_base, vi_detail, _), (ir_base, ir_detail, _) = encoder(vi), encoder(ir)
    return decoder(vi, base(vi_base + ir_base), detail(vi_detail + ir_detail))[0]


def _decfusion(net, vi, ir):
    (vi_light, vi_reflectance, _), (ir_light, ir_reflectance, _) = net(vi), net(ir)
    return torch.max(vi_light, ir_light) * torch.max(vi_reflectance, ir_reflectance)


def _gifnet(net, vi, ir):
    common = net.forward_encoder(ir, vi)
    return net.forward_mixed_decoder(common, net.forward_MultiTask_branch(fea_com_ivif=common, fea_com_mfif=common))


def _mfeif(extractor, constructor, attention, rule, vi, ir):
    (ir_deep, *ir_skips), (vi_deep, *vi_skips) = extractor(ir), extractor(vi)
    joined = torch.softmax(ir_deep * attention(ir) + vi_deep * attention(vi), 1)
    return constructor(joined, *rule(ir_skips, vi_skips))


def _timfusion(models, genotypes):
    first = models.Network_Fusion9_Meta(48, 1, genotypes.fusion_M, ['Cell_Fusion', 'Cell_Chain2'])
    sides = [genotypes.fusion_ir_proposed, genotypes.fusion_vis_proposed]
    return {'weights_1.': first, 'weights_2.': models.Network_Fusion9_3(48, 1, ['Cell_Chain2'], sides)}


class Table(nn.Module):
    """LUT-Fuse's table, which is a file of its own, and the function that reads it."""

    def __init__(self, read):
        super().__init__()
        self.lut, self.read = nn.Parameter(torch.rand(16, 16, 16, 16, 1)), read


NEST = [64, 112, 160, 208, 256]
SWIN = dict(
    upscale=1, in_chans=1, img_size=128, window_size=8, img_range=1.0, depths=[6] * 4, embed_dim=60,
    num_heads=[6] * 4, mlp_ratio=2, upsampler=None, resi_connection='1conv',
)  # fmt: skip
METHODS = {
    'auif': Public(
        'auif_tno', 'Zhaozixiang1228/IVIF-AUIF-Net', '', 'AUIFNet',
        lambda m: {'TCSVT_Encoder_Base.': m.Encoder_Base(), 'TCSVT_Encoder_Detail.': m.Encoder_Detail(),
                   'TCSVT_Decoder.': m.Decoder()},
        _auif,
    ),
    'cddfuse': Public(
        'cddfuse_tno', 'Zhaozixiang1228/MMIF-CDDFuse', '', 'net',
        lambda m: {'DIDF_Encoder.': m.Restormer_Encoder(), 'DIDF_Decoder.': m.Restormer_Decoder(),
                   'BaseFuseLayer.': m.BaseFeatureExtraction(dim=64, num_heads=8),
                   'DetailFuseLayer.': m.DetailFeatureExtraction(num_layers=1)},
        _cddfuse,
    ),
    'coconet': Public(
        'coconet_tno', 'runjia0124/CoCoNet', '', 'models.model',
        lambda m: {'': m.Unet_resize_conv()},
        _vi_first, ('',),
    ),
    'datfuse': Public(
        'datfuse_tno', 'tthinking/DATFuse', '', 'Networks.network', lambda m: {'': m.MODEL(in_channel=2)}, _two
    ),
    'decfusion': Public(
        'decfusion_msrs', 'tianzhiya/DECFusion', '', 'LightWeightNet.LightWeightNet', lambda m: {'': m.net()},
        _decfusion,
    ),
    'densefuse': Public(
        'densefuse_tno', 'hli1221/densefuse-pytorch', '', 'net', lambda m: {'': m.DenseFuse_net(1, 1)},
        lambda net, vi, ir: net.decoder(net.fusion(net.encoder(ir), net.encoder(vi)))[0],
    ),
    'didfuse': Public(
        'didfuse_tno', 'Zhaozixiang1228/IVIF-DIDFuse', '', 'DIDFuse',
        lambda m: {'Encoder.': m.AE_Encoder(), 'Decoder.': m.AE_Decoder()},
        lambda encoder, decoder, vi, ir: decoder(*(x + y for x, y in zip(encoder(ir), encoder(vi), strict=True))),
    ),
    'gifnet': Public(
        'gifnet_tno', 'AWCXV/GIFNet', '', 'GIFNet_model args',
        lambda m, a: {'': m.TwoBranchesFusionNet(a.Args.s, a.Args.n, a.Args.channel, a.Args.stride)},
        _gifnet,
    ),
    'ifcnn': Public(
        'ifcnn-demo_tno', 'uzeful/IFCNN', 'Code', 'model', lambda m: {'': m.IFCNN(torchvision.models.resnet18(), 0)},
        lambda net, vi, ir: net(vi, ir.expand(-1, 3, -1, -1).contiguous()),
    ),
    'lrrnet': Public(
        'lrrnet_tno', 'hli1221/imagefusion-LRRNet', '', 'net_lista',
        lambda m: {'': m.LRR_NET(3, 128, 1, 1, 4, 'cat')},
        lambda net, vi, ir: net(_stretched(ir), _stretched(vi))['fuse'],
    ),
    'lutfuse': Public(
        'lutfuse_msrs', 'zyb5/LUT-Fuse', '', 'scripts.calculate',
        lambda m: {'table.': Table(m.apply_fusion_4d_with_interpolation), 'generator_context.': m.Generator_for_info()},
        lambda table, context, vi, ir: table.read(vi, ir, table.lut, context),
    ),
    'mfeif': Public(
        'mfeif_tno', 'JinyuanLiu-CV/MFEIF', '',
        'models.extractor models.constructor models.attention functions.feather_fuse',
        lambda e, c, a, f: {'ext.': e.Extractor(), 'con.': c.Constructor(), 'att.': a.Attention(), '-': f.FeatherFuse()},
        _mfeif,
    ),
    'mmdrfuse': Public(
        'mmdrfuse_llvip', 'yanglinDeng/MMDRFuse', '', 'student_net', lambda m: {'': m.stu_net(2, 1)}, _code
    ),
    'mufusion': Public(
        'mufusion_tno', 'AWCXV/MUFusion', 'ir_vis', 'net', lambda m: {'': m.TwoFusion_net(2, 1)}, _code
    ),
    'nestfuse': Public(
        'nestfuse_tno', 'hli1221/imagefusion-nestfuse', '', 'net',
        lambda m: {'': m.NestFuse_autoencoder(NEST, 1, 1, False)},
        lambda net, vi, ir: net.decoder_eval(net.fusion(net.encoder(ir), net.encoder(vi), 'attention_avg'))[0],
    ),
    'psfusion': Public(
        'psfusion_msrs', 'Linfeng-Tang/PSFusion', '', 'PSF', lambda m: {'': m.PSF(9)},
        lambda net, vi, ir: net(vi, ir)[3],
    ),
    'rcafusion': Public(
        'rcafusion_msrs', 'vehicle-AngLi/RCAFusion', '', 'FusionNet', lambda m: {'': m.FusionNet(1)}, _vi_first
    ),
    'refusion': Public('refusion_tno', 'HaowenBai/ReFusion', '', 'ReFusion', lambda m: {'': m.ReFusion()}, _two),
    'res2fusion': Public(
        'res2fusion_tno', 'Zhishe-Wang/Res2Fusion', '', 'Net', lambda m: {'': m.Rse2Net_atten_fuse(1)},
        lambda net, vi, ir: net.decoder(net.fusion_atten(net.encoder(ir), net.encoder(vi), 'atten')),
    ),
    'rfnnest': Public(
        'rfnnest_tno', 'hli1221/imagefusion-rfn-nest', '', 'net',
        lambda m: {'nestfuse_gray_1e2.': m.NestFuse_light2_nodense(NEST, 1, 1, False),
                   'rfn.': m.Fusion_network(NEST, 'res')},
        lambda net, rfn, vi, ir: net.decoder_eval(rfn(net.encoder(ir), net.encoder(vi)))[0],
    ),
    'sage': Public(
        'sage_fmb', 'RollingPlain/SAGE_IVIF', '', 'model_sub.model', lambda m: {'': m.Network()},
        lambda net, vi, ir: net(vi, ir)[0],
    ),
    'seafusion': Public(
        'seafusion_tno', 'Linfeng-Tang/SeAFusion', '', 'FusionNet', lambda m: {'': m.FusionNet(1)}, _vi_first
    ),
    'ship': Public(
        'ship_tno', 'zheng980629/SHIP', '', 'basicsr.archs.highOrderInteractionFusion_arch',
        lambda m: {'': m.highOrderInteractionFusion()}, _vi_first,
    ),
    'swinfusion': Public(
        'swinfusion_msrs', 'Linfeng-Tang/SwinFusion', '', 'models.network_swinfusion1',
        lambda m: {'': m.SwinFusion(**SWIN)}, _ir_first,
    ),
    'tardal': Public(
        'tardal_tno', 'JinyuanLiu-CV/TarDAL', '', 'module.fuse.generator', lambda m: {'': m.Generator()}, _ir_first
    ),
    'timfusion': Public(
        'timfusion_tno', 'LiuZhu-CV/TIMFusion', '', 'model.model_searched genotypes', _timfusion,
        lambda first, second, vi, ir: second(vi, ir, first(ir, vi))[2], ('weights_2.',),
    ),
    'umfcmgr': Public(
        'umfcmgr_tno', 'wdhudiekou/UMF-CMGR', '', 'models.fusion_net', lambda m: {'': m.FusionNet(64)}, _ir_first
    ),
    'ydtr': Public('ydtr_tno', 'tthinking/YDTR', '', 'Networks.net', lambda m: {'': m.MODEL(in_channel=1)}, _ir_first),
}  # fmt: skip


# Functions that torch has renamed since.
RENAMED = {'qr': torch.linalg.qr, 'lu': torch.linalg.lu_factor}


@contextlib.contextmanager
def importing(folder):
    """Import public code from a folder, and forget it afterwards.

    Many repositories call their modules ``net`` and ``utils``. Pre-trained weights are not downloaded, and ``.cuda()`` does
    nothing without a GPU.
    """
    before, untrained = set(sys.modules), functools.partial(torchvision.models.vgg19, weights=None)
    patches = [
        mock.patch.object(sys, 'path', [str(folder), *sys.path]),
        mock.patch.object(torchvision.models, 'vgg19', side_effect=lambda **options: untrained()),
        *(mock.patch.object(torch, old, new, create=True) for old, new in RENAMED.items()),
        contextlib.redirect_stdout(io.StringIO()),
    ]
    if not torch.cuda.is_available():
        patches += [mock.patch.object(owner, 'cuda', _same) for owner in (torch.Tensor, nn.Module)]
    with contextlib.ExitStack() as stack:
        for patch in patches:
            stack.enter_context(patch)
        try:
            yield
        finally:
            for name in set(sys.modules) - before:
                module = sys.modules[name]
                if isinstance(module, mock.MagicMock) or str(folder) in str(getattr(module, '__path__', [module])):
                    del sys.modules[name]


def _same(self, *args, **kwargs):
    return self


def load(name):
    """Import a module; packages that are absent, and that networks seldom need, are replaced by dummies."""
    while True:
        try:
            return importlib.import_module(name)
        except ImportError as e:
            absent = e.name or ''
            if name.startswith(absent) or isinstance(sys.modules.get(absent), mock.MagicMock):
                raise
            sys.modules[absent] = mock.MagicMock(__path__=[], __spec__=None)


def build(public, shape, device):
    """Make the public network and ours with the same weights.

    Returns:
        tuple: A function that fuses a random pair by the public one; our network, and the same pair for it, by name.
    """
    cfg = load_model_config(public.config).model
    low, high = cfg.get('input_range', (0, 1))
    vi_rgb, ir = (low + (high - low) * torch.rand(1, channels, *shape, device=device) for channels in (3, 1))
    parts, state = public.build(*map(load, public.modules.split())), {}
    for prefix, part in parts.items():
        randomize(part)
        part.to(device).train(prefix in public.training)
        state |= {prefix + name: value for name, value in part.state_dict().items()}
    network = MODELS.build(cfg.network)
    network.load_state_dict(network.from_authors(state))
    network.to(device).eval()
    given = take(network, Batch(vi=luminance(vi_rgb), vi_rgb=vi_rgb, ir=ir))
    vi = given.get('vi_rgb', given.get('vi'))
    return functools.partial(public.fuse, *parts.values(), vi, ir), network, given


def randomize(net):
    """Draw weights by which no output is flat, NaN or infinite, and rounding does not grow from layer to layer."""
    for name, tensor in [*net.named_parameters(), *net.named_buffers()]:
        kind = name.rpartition('.')[2]
        if tensor.dim() > 1 and isinstance(tensor, nn.Parameter):
            tensor.normal_(std=0.5 * tensor[0].numel() ** -0.5)
        elif kind == 'running_var' or (kind == 'weight' and tensor.dim() == 1):
            tensor.uniform_(0.5, 1.5)
        elif isinstance(tensor, nn.Parameter) or kind == 'running_mean':
            tensor.uniform_(0, 0.5)


def seconds(functions, rounds, device):
    """Run functions turn by turn; the least time of each."""
    cuda = torch.device(device).type == 'cuda'
    clock = time.perf_counter if cuda else time.process_time
    times = [[] for _ in functions]
    for _ in range(rounds + 1):
        for function, own in zip(functions, times, strict=True):
            start = clock()
            function()
            if cuda:
                torch.cuda.synchronize()
            own.append(clock() - start)
    return [min(own[1:]) for own in times]


@torch.no_grad()
def measure(method, args):
    """Compare one method; the cells of its row."""
    public = METHODS[method]
    folder = args.code / public.repository.split('/')[1]
    if not folder.is_dir():
        return [f'not in {args.code}: git clone https://github.com/{public.repository}']
    with importing(folder / public.folder):
        for seed in range(9):  # some weights make the last ReLU give zeros alone
            torch.manual_seed(seed)
            theirs, network, pair = build(public, args.shape, args.device)
            expected = theirs()
            if expected.amin() < expected.amax():
                break
        ours = functools.partial(network.forward, **pair)
        fused = ours()
        fused = fused['fused'] if isinstance(fused, dict) else fused
        # Where the public network ends in a ReLU or a cut, ours leaves it to the fuser.
        difference = (fused.clamp(expected.min(), expected.max()) - expected).abs().max() / expected.abs().max()
        first, second = seconds([theirs, ours], args.rounds, args.device)
        row = [f'{first:.3f}', f'{second:.3f}', f'{second / first:.2f}', f'{difference:.0e}']
        if args.compile:
            network.compile()
            second, third = seconds([ours, functools.partial(network, **pair)], args.rounds, args.device)
            row += [f'{third:.3f}', f'{third / second:.2f}']
    return row


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--code', type=Path, required=True, help='folder of the clones')
    parser.add_argument('--methods', nargs='+', choices=METHODS, default=METHODS, metavar='METHOD')
    parser.add_argument('--shape', type=int, nargs=2, default=(256, 320), metavar=('H', 'W'))
    parser.add_argument('--rounds', type=int, default=9)
    parser.add_argument('--threads', type=int, default=1)
    parser.add_argument('--device', default='cuda' if torch.cuda.is_available() else 'cpu')
    parser.add_argument('--compile', action='store_true', help='time our network under torch.compile, too')
    args = parser.parse_args()
    warnings.simplefilter('ignore')  # of the public code
    torch.set_num_threads(args.threads)
    keep_freed_memory()
    titles = ['method', 'public, s', 'ours, s', 'ratio', 'difference'] + ['compiled, s', 'to ours'] * args.compile
    print(' | '.join(titles))
    for method in args.methods:
        print(method, *measure(method, args), sep=' | ', flush=True)


if __name__ == '__main__':
    main()
