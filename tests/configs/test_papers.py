"""docs/papers.md: no table or figure without a command or a reason; configs learn and test, and every command runs."""

import importlib
import math
import re
import shlex
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.structures import PixelData
from small_training import SIZE, end_stages, shrink, shrink_datasets, write_data

from mmfusion import cli
from mmfusion.apis import FusionInferencer as build_inferencer
from mmfusion.cli import compare, draw
from mmfusion.cli.draw import parse_prior
from mmfusion.comparison import methods, running
from mmfusion.comparison.entrants import Pairs, open_data, parse_entrant
from mmfusion.models import hub
from mmfusion.registry import METRICS, MODELS
from mmfusion.structures import FusionDataSample
from mmfusion.utils import configs, write_bytes
from mmfusion.utils.configs import config_folder, find_config

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / 'docs/papers.md').read_text(encoding='utf-8')
# Tables and figures that each paper has.
ITEMS = dict(OCCO=(9, 20), GFFusion=(4, 10), MGFusion=(4, 7))
pytestmark = pytest.mark.usefixtures('one_thread')


def rows(paper):
    """(item, what it shows, what makes it) of a paper's table."""
    section = TEXT.split(f'## {paper}\n')[1].split('\n## ')[0]
    cells = [[c.strip() for c in line.strip('|').split('|')] for line in section.splitlines() if line.startswith('| ')]
    return [tuple(row) for row in cells if row[0] != 'item']


def commands():
    """Verb, script or ``-c``, and arguments, of each command in the page."""
    for text in re.findall(r'`((?:mmfusion|python (?=tools|demo|-c)) ?[^`]+)`', TEXT):
        words = shlex.split(text)
        if len(words) > 2:  # else it names a verb
            yield words[1], words[2:]


COMMANDS = list(dict.fromkeys((verb, tuple(args)) for verb, args in commands()))
# Configs that learn or test. Those of frozen cascades, and RFN-Nest's, which learn in stages, take their steps in the
# runs below.
CONFIGS = configs.list_models()
NAMES = sorted({args[0] for verb, args in COMMANDS if verb in ('train', 'test') and 'rfnnest' not in args[0]})


@pytest.mark.parametrize('paper', ITEMS)
def test_every_table_and_figure_has_a_command_or_a_reason(paper):
    found = rows(paper)
    assert all(len(row) == 3 and all(row) for row in found)
    for kind, count in zip(('Table', 'Fig.'), ITEMS[paper], strict=True):
        numbers = [int(item.split()[1]) for item, *_ in found if item.startswith(kind)]
        assert numbers == list(range(1, count + 1)), kind


@pytest.mark.parametrize(('verb', 'args'), COMMANDS, ids=lambda x: x if isinstance(x, str) else ' '.join(x)[:50])
def test_commands_parse(verb, args):
    """Options and names are those of the tools; configs, methods and datasets exist."""
    if verb.endswith('.py') or verb == '-c':
        return  # tests/test_docs.py compares their options
    parsed = importlib.import_module(f'mmfusion.cli.{verb}').make_parser().parse_args(args)
    if verb == 'compare':
        for method in parsed.methods:
            assert parse_entrant(method).config
        assert (config_folder() / '_base_/datasets' / f'{parsed.data}.py').is_file()
    elif verb == 'downstream':
        assert parsed.variants[:2] == ['visible', 'infrared']
    if hasattr(parsed, 'config'):
        assert find_config(parsed.config).is_file()


NARROW = {
    'mmfusion.FIFN': dict(channels=(8, 12, 16, 20)),
    'mmfusion.GFFusion': dict(channels=(4, 6), decoder_channels=(6, 5, 4)),
    'mmfusion.MGFusion': dict(channels=4, num_blocks=1),
}
CLIP = dict(embed_dim=8, vision_cfg=dict(image_size=32, patch_size=8, width=16, head_width=8, layers=12))
DINOV2 = dict(embed_dims=16, num_layers=12, num_heads=2, feedforward_channels=16)
RESNET = dict(pretrained=None, backbone=dict(base_channels=4, stem_channels=4))
# Stock models of the cascades, by the parts that their names say.
NARROW_TASKS = dict(
    deeplabv3plus=dict(
        RESNET,
        decode_head=dict(in_channels=128, c1_in_channels=16, c1_channels=4, channels=8),
        auxiliary_head=dict(in_channels=64, channels=8),
    ),
    fpn=dict(
        RESNET,
        neck=dict(in_channels=[16, 32, 64, 128], out_channels=8),
        decode_head=dict(in_channels=[8] * 4, channels=8),
    ),
    segformer=dict(
        backbone=dict(embed_dims=4, num_layers=[1] * 4, init_cfg=None),
        decode_head=dict(in_channels=[4, 8, 20, 32], channels=8),
    ),
    segnext=dict(
        backbone=dict(embed_dims=[4, 8, 20, 32], depths=[1] * 4, init_cfg=None),
        decode_head=dict(in_channels=[8, 20, 32], channels=32, ham_channels=32),
    ),
    yolox=dict(
        backbone=dict(widen_factor=0.125),
        neck=dict(in_channels=[32, 64, 128], out_channels=32),
        bbox_head=dict(in_channels=32, feat_channels=32),
        data_preprocessor=dict(batch_augments=None),
    ),
)


def narrow(name):
    """The config of a name, with networks that learn in no time."""
    cfg = Config.fromfile(CONFIGS[name])
    fuser = cfg.model.get('fuser', cfg.model)
    fuser.network.update(NARROW.get(fuser.network.type, {}))
    for loss in (fuser.get('losses') or {}).values():
        if loss and 'prior' in loss:
            loss.prior.update(weights='random', width=1 / 32)
            if loss.get('max_points'):
                loss.max_points = 64
    if fuser.network.get('injection'):
        fuser.network.injection.prior_channels = 16
    for part in ('cii', 'cff'):
        if fuser.network.get(part):
            fuser.network[part].embed_dim = 8
    if fuser.get('priors'):
        fuser.priors.prior.update(model=CLIP, pretrained='random', size=None)
    if 'segmentor' in cfg.model and cfg.model.segmentor.backbone.type == 'mmfusion.FrozenBackbone':
        cfg.model.segmentor.backbone.backbone.arch = DINOV2
        cfg.model.segmentor.decode_head.update(in_channels=16, channels=16)
    for task, options in NARROW_TASKS.items():
        if f'_{task}' in name:
            part = 'segmentor' if 'segmentor' in cfg.model else 'detector'
            cfg.merge_from_dict({f'model.{part}': options})
    for key in ('fuser_checkpoint', 'task_checkpoint'):
        cfg.model.pop(key, None)
    return cfg


@pytest.fixture(scope='module')
def batch():
    """Four pairs of 32×32 with masks of both modalities and a label map."""
    inputs, samples = [], []
    for k in range(4):
        generator = torch.Generator().manual_seed(k)
        inputs.append(torch.randint(0, 256, (4, 32, 32), dtype=torch.uint8, generator=generator))
        size = dict.fromkeys(('ori_shape', 'img_shape', 'pad_shape'), (32, 32))
        whole = ((0, 255), (0, 255))  # as LoadImagePair(value_range=True) records it, for occo_fmb_public.py
        sample = FusionDataSample(metainfo=dict(img_path=f'{k}.png', img_id=str(k), value_range=whole, **size))
        mask = torch.zeros(1, 32, 32, dtype=torch.bool)
        mask[:, 4:20, 4:24] = True
        sample.gt_saliency = PixelData(vi=mask, ir=mask.roll(6, -1))
        sample.gt_sem_seg = PixelData(data=mask.long())
        samples.append(sample)
    return dict(inputs=inputs, data_samples=samples)


def fusion_metric(cfg):
    """The config's metric of fused images; VIF and VIFF need 41 pixels and are left out."""
    evaluators = cfg.test_evaluator if isinstance(cfg.test_evaluator, list) else [cfg.test_evaluator]
    for evaluator in evaluators:
        if evaluator.type == 'mmfusion.FusionMetric':
            return METRICS.build(dict(evaluator, metric=[m for m in evaluator.metric if not m.startswith('VIF')]))
    return None


@pytest.mark.parametrize('name', NAMES)
def test_configs_learn_and_test_in_small(name, batch, monkeypatch):
    """One step of the loss and its gradients; one evaluation by the config's metrics."""
    for variable in ('MMFUSION_VGG19', 'MMFUSION_DINOV2', 'MMFUSION_CLIP'):
        monkeypatch.setenv(variable, 'random')
    cfg = narrow(name)
    model = MODELS.build(cfg.model)
    data = model.data_preprocessor(batch, training=True)
    losses, _ = model.parse_losses(model(**data, mode='loss'))
    losses.backward()
    assert losses.isfinite()
    assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())
    with torch.inference_mode():
        found = model.eval()(**model.data_preprocessor(batch), mode='predict')
    metric = fusion_metric(cfg)
    metric.process(batch, [sample.to_dict() for sample in found])
    assert all(map(math.isfinite, metric.evaluate(4).values()))


# What follows runs the commands.


def small(name):
    """The config of a name for a run of one epoch, or one of each stage: :func:`narrow`, on small images."""
    cfg = narrow(name)
    for part in ('train', 'val', 'test'):
        loader = cfg.get(f'{part}_dataloader')
        if loader:
            shrink(loader)
            shrink_datasets(loader, part)
            loader.update(num_workers=0, persistent_workers=False)
    task = cfg.model.get('segmentor') or {}
    if (task.get('data_preprocessor') or {}).get('size'):
        task.data_preprocessor.size = SIZE[::-1]
    if cfg.get('train_cfg'):
        cfg.train_cfg.update(max_epochs=1, val_interval=1)
        cfg.train_cfg.max_epochs = end_stages(cfg)
    guide = (cfg.get('default_hooks') or {}).get('guide')
    if guide:
        guide.allow_random_guide = True
    cfg.load_from = None
    cfg.log_level = 'ERROR'
    return cfg


# Trainings that run as a whole, one of each kind; the others take their step above.
TRAININGS = (
    'occo_fmb',
    'occo_fmb_public',
    'gffusion_joint_mfnet',
    'mgfusion_unified',
    'rfnnest_msrs',
    'rfnnest_msrs_contrastive',
)
# tests/masks/test_generate.py runs the command of masks, where its tiny detector is.
RUN = [(v, a) for v, a in COMMANDS if v != 'masks' and (v != 'train' or a[0] in TRAININGS)]
# The downstream comparison that runs with all its variants; each of the others with its frozen fuser alone.
ALL_VARIANTS = 'occo-frozen_deeplabv3plus_msrs'
OURS = ('occo', 'gffusion', 'mgfusion', 'rfnnest_msrs')
# Of each verb: options that make it fast, without changing what it does.
MORE = {
    'compare': ['--no-cost', '--workers', '1', '--device', 'cpu'],
    'tools/dataset_converters/boxes_to_masks.py': ['--prior', 'tiny.py', '--crop-size', '28', '--overwrite'],
}
TINY_PRIOR = """
prior = dict(
    type='mmfusion.DINOv2Prior',
    backbone=dict(arch=dict(embed_dims=16, num_layers=2, num_heads=2, feedforward_channels=32), img_size=28),
    weights='random',
)
"""
PRIORS = {
    'mmfusion.VGGPrior': dict(weights='random', width=1 / 16),
    'mmfusion.CLIPPrior': dict(model=CLIP, pretrained='random'),
    'mmfusion.DINOv2Prior': dict(backbone=dict(arch=DINOV2, img_size=28), weights='random'),
}


class Page:
    """Runs commands of the page in a folder with ``data``, each once, and before it those whose files it reads."""

    def __init__(self, root, load_tool):
        self.root, self.load_tool, self.done = root, load_tool, set()

    def run(self, verb, args):
        """Run a command; nothing happens if it ran."""
        if (verb, args) in self.done:
            return
        self.done.add((verb, args))
        if verb == '-c':
            exec(args[0], {})
            return
        words = [re.sub(r'epoch_\d+\.pth', 'epoch_1.pth', word) for word in args]
        out = words[words.index('--out') + 1] if '--out' in words else None
        for path in re.findall(r'work_dirs/[^,=:\s]+|\bvi\.png', ' '.join(words)):
            if path != out and not (self.root / path).exists():
                self.provide(path)
        if verb == 'downstream' and args[0] != ALL_VARIANTS:
            words = [word for word in words if word not in ('visible', 'infrared')]
        if any('tno_55' in word for word in words):
            self.provide('data/TNO_scenes')
        words += MORE.get(verb, [])
        code = self.load_tool(verb).main(words) if verb.endswith('.py') else cli.main([verb, *words])
        assert not code
        assert out is None or (self.root / out).exists()

    def provide(self, path):
        """Make what a command reads: by the command of the page that writes there, or by hand."""
        for verb, args in COMMANDS:
            writes = args[args.index('--out') + 1] if '--out' in args else None
            if (verb == '-c' and path in args[0]) or (writes and (path + '/').startswith(writes + '/')):
                self.run(verb, args)
                assert (self.root / path).exists(), f'{verb} {" ".join(args)} leaves no {path}'
                return
        (self.root / path).parent.mkdir(parents=True, exist_ok=True)
        if path.endswith('.pth'):  # what `mmfusion train` leaves in the folder of a config's name
            model = MODELS.build(small(Path(path).parent.name).model)
            torch.save(dict(state_dict=model.state_dict(), meta=dict(epoch=1, iter=1)), self.root / path)
        else:  # images that "and so on" of the page would fuse
            (self.root / path).symlink_to(self.root / 'data/MSRS/test/vi')


class SmallConfigs(dict):
    """Names of configs → files; those that the page trains are written narrow when they are asked for."""

    def __getitem__(self, name):
        """File of a name."""
        if not name.startswith(OURS):
            return super().__getitem__(name)
        file = Path('configs', f'{name}.py').resolve()
        if not file.is_file():
            write_bytes(file, small(name).pretty_text.encode())
        return file


def in_this_process(command, arguments, log, claim):
    """In the place of a process of its own for each cell."""
    assert cli.main([*command[2:], *map(str, arguments)]) == 0


def first_pair(*args, **kwargs):
    """The pair of a dataset that figures show, or its first one."""
    pairs = open_data(*args, **kwargs).items
    return Pairs([p for p in pairs if p[0] in ('00507', '01911', '00327D', '42')][:1] or pairs[:1])


def tiny_prior(text):
    """What :func:`draw.parse_prior` reads, narrow and random."""
    title, prior = parse_prior(text)
    return title, dict(prior, **PRIORS[prior['type']])


@pytest.fixture(scope='module')
def page(tmp_path_factory, load_tool):
    """The commands' folder."""
    root = tmp_path_factory.mktemp('papers')
    write_data(root)
    (root / 'tiny.py').write_text(TINY_PRIOR)
    inferencers = {}

    def inferencer(config, weights, *args, **kwargs):
        key = str(config), str(weights)
        if key not in inferencers:
            inferencers[key] = build_inferencer(config, weights, *args, **kwargs)
        return inferencers[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        for variable in ('MMFUSION_VGG19', 'MMFUSION_DINOV2', 'MMFUSION_CLIP'):
            patch.setenv(variable, 'random')
        for variable in ('MMFUSION_DATA', 'MMFUSION_FUSER', 'MMFUSION_SEG_HEAD'):
            patch.delenv(variable, raising=False)
        patch.setattr(configs, 'list_models', lambda: SmallConfigs(CONFIGS))
        patch.setattr(hub, 'find_weights', lambda cfg: hub.RANDOM)
        patch.setattr(methods, 'find_weights', lambda cfg: hub.RANDOM)
        patch.setattr(methods, 'FusionInferencer', inferencer)
        patch.setattr(compare, 'open_data', first_pair)
        patch.setattr(running, 'run_tool', in_this_process)
        patch.setattr(draw, 'parse_prior', tiny_prior)
        yield Page(root, load_tool)


@pytest.mark.parametrize(('verb', 'args'), RUN, ids=lambda x: x if isinstance(x, str) else ' '.join(x)[:60])
def test_commands_run(page, verb, args):
    """As the page prints them, but for what the lines above this test make small."""
    page.run(verb, args)
