"""docs/papers.md: no table or figure without a command or a reason; commands parse, their configs learn and test."""

import importlib
import math
import re
import shlex
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.structures import PixelData

from mmfusion.comparison.entrants import parse_entrant
from mmfusion.registry import METRICS, MODELS
from mmfusion.structures import FusionDataSample
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
    """Verb or script, and arguments, of each command in the page."""
    for text in re.findall(r'`((?:mmfusion|python (?=tools|demo)) ?[^`]+)`', TEXT):
        words = shlex.split(text)
        if len(words) > 2:  # else it names a verb
            yield words[1], words[2:]


COMMANDS = list(dict.fromkeys((verb, tuple(args)) for verb, args in commands()))
# Configs of the three papers; methods of others have their own tests, and cascades on a frozen fuser, of full-size
# stock models, are only built (test_configs.py).
NAMES = sorted({args[0] for verb, args in COMMANDS if verb in ('train', 'test', 'fuse')})
NAMES = [name for name in NAMES if name.startswith(('occo', 'gffusion', 'mgfusion')) and 'frozen' not in name]
# test_configs.py builds them all. Here one of each structure learns: of configs that differ by a weight one, and of
# Table 2's merging strategies those without a segmenter.
LEARN = list({re.sub(r'-[\d.]+$', '', name): name for name in NAMES if 'table2' not in name}.values())


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
    if verb.endswith('.py'):
        return  # tests/test_docs.py compares their options, and tests/tools runs them
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


def narrow(name):
    """The config of a name, with networks that learn in no time."""
    cfg = Config.fromfile(find_config(name))
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


@pytest.mark.parametrize('name', LEARN)
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
