"""Checkpoints record their frozen priors and refuse others: in a run, on resuming, in a test, in the inferencer."""

import hashlib
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmengine.runner import Runner
from torch import nn

from mmfusion.apis import FusionInferencer
from mmfusion.models.checkpoint import check_priors, check_weights, prior_records
from mmfusion.models.fusers import ImageFuser
from mmfusion.models.priors.frozen import hash_weights
from mmfusion.models.resuming import check_start
from mmfusion.registry import MODELS
from mmfusion.utils.checkpoint import CheckpointError

CONFIG = Path(__file__).resolve().parents[2] / 'configs/occo/occo_synthetic.py'
pytestmark = pytest.mark.usefixtures('one_thread')


@MODELS.register_module()
class TintNet(torch.nn.Module):
    """Adds a brightness that CLIP chooses."""

    def __init__(self):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.tensor(0.1))

    def forward(self, vi, ir, prior=None):
        return (vi + self.scale * ir + prior['vi'].embedding.mean() * 0.01).clamp(0, 1)


def clip(width=8):
    vision = dict(image_size=16, layers=1, width=width, head_width=8, patch_size=8)
    model = dict(embed_dim=4, vision_cfg=vision)
    return dict(type='mmfusion.CLIPPrior', model=model, pretrained='random', embedding=True)


def vgg_loss(width=1 / 32):
    prior = dict(type='mmfusion.VGGPrior', weights='random', width=width)
    return dict(type='mmfusion.ContextualContrastiveLoss', prior=prior, groups=2, layers={'relu2_1': 1.0})


def model_config(width=8, vgg=1 / 32, **kwargs):
    return dict(
        type='mmfusion.ImageFuser',
        network=dict(type='mmfusion.TintNet'),
        priors=dict(prior=clip(width)),
        losses=dict(texture=dict(type='mmfusion.TextureLoss'), contrastive=vgg_loss(vgg)),
        **kwargs,
    )


def config(tmp_path, model, **options):
    """One epoch of one step on synthetic pairs."""
    cfg = Config.fromfile(CONFIG)
    for transform in cfg.train_dataloader.dataset.pipeline:
        if transform.type == 'mmfusion.ForegroundCrop':
            transform.crop_size = (64, 64)
    cfg.model = model
    cfg.merge_from_dict(
        {
            'work_dir': str(tmp_path),
            'train_cfg': dict(max_epochs=1, val_interval=9),
            'train_dataloader': dict(batch_size=2, num_workers=0, persistent_workers=False),
            'train_dataloader.dataset': dict(num=2, size=(96, 128)),
            'log_level': 'WARNING',
            **options,
        }
    )
    for key in ('val', 'test'):
        cfg[f'{key}_cfg'] = cfg[f'{key}_dataloader'] = cfg[f'{key}_evaluator'] = None
    return cfg


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    """Checkpoint of a run with a CLIP prior and a VGG in a loss."""
    folder = tmp_path_factory.mktemp('run')
    with DefaultScope.overwrite_default_scope('mmfusion'):
        Runner.from_cfg(config(folder, model_config())).train()
    return folder / 'epoch_1.pth'


def test_checkpoint_holds_what_is_trained_and_the_record(trained):
    content = torch.load(trained, weights_only=True)
    assert list(content['state_dict']) == ['network.scale']
    assert trained.stat().st_size < 100_000
    record = content['meta']['priors']
    model = MODELS.build(model_config())
    assert set(record) == {'losses.contrastive.vgg', 'prior'}
    assert record['prior'] == dict(name='CLIPPrior(custom, random)', sha256=model.prior('prior').weights_hash)
    assert record['losses.contrastive.vgg']['name'] == 'VGGPrior(vgg19, random)'
    optimizer = content['optimizer']
    assert sum(len(g['params']) for g in optimizer['param_groups']) == 1


def test_the_same_priors_are_taken(trained, tmp_path):
    check_weights(MODELS.build(model_config()), trained, training=True)
    runner = Runner.from_cfg(config(tmp_path, model_config(), load_from=str(trained), resume=True))
    check_start(runner.model, runner.cfg)
    runner.load_or_resume()
    assert runner.epoch == 1


NAME = r'CLIPPrior\(custom, random\) \(SHA-256 '
OTHER = rf"trained with the prior {NAME}.*'(fuser\.)?prior' is {NAME}"


def test_another_prior_is_refused_everywhere(trained, tmp_path):
    other = model_config(width=16)
    with pytest.raises(CheckpointError, match=OTHER):
        check_weights(MODELS.build(other), trained)
    for resume in (True, False):
        runner = Runner.from_cfg(config(tmp_path, other, load_from=str(trained), resume=resume))
        with pytest.raises(CheckpointError, match=OTHER):
            runner.load_or_resume()
    with pytest.raises(CheckpointError, match=OTHER):
        check_start(runner.model, Config(dict(load_from=str(trained), resume=True)))
    cfg = config(tmp_path, other)
    with pytest.raises(CheckpointError, match=OTHER):
        FusionInferencer(cfg, trained, 'cpu', show_progress=False)


def test_fine_tuning_with_another_prior_by_option(trained, tmp_path):
    cfg = config(tmp_path, model_config(width=16), load_from=str(trained))
    cfg.default_hooks.prior_record.allow_other = True
    Runner.from_cfg(cfg).load_or_resume()
    cfg.resume = True
    with pytest.raises(CheckpointError, match=OTHER):
        Runner.from_cfg(cfg).load_or_resume()


def test_a_prior_of_a_loss_matters_for_resuming_only(trained, tmp_path):
    other = MODELS.build(model_config(vgg=1 / 16))
    check_weights(other, trained)
    with pytest.raises(CheckpointError, match=r"prior VGGPrior\(vgg19, random\).*'losses.contrastive.vgg' is VGGPrior"):
        check_weights(other, trained, training=True)
    cfg = config(tmp_path, model_config(vgg=1 / 16), load_from=str(trained))
    Runner.from_cfg(cfg).load_or_resume()
    cfg.resume = True
    with pytest.raises(CheckpointError, match='VGGPrior'):
        Runner.from_cfg(cfg).load_or_resume()
    without = dict(model_config(), losses=None)
    FusionInferencer(config(tmp_path, without), trained, 'cpu', show_progress=False)


def test_no_record_is_warned_about(tmp_path, monkeypatch):
    lines, model = [], MODELS.build(model_config())
    monkeypatch.setattr('mmfusion.utils.log.print_log', lambda text, *_: lines.append(text))
    torch.save(model.state_dict(), tmp_path / 'plain.pth')
    check_weights(model, tmp_path / 'plain.pth')
    assert lines == [
        f'{tmp_path / "plain.pth"}: does not say which prior it was trained with. Make sure that it was '
        'CLIPPrior(custom, random).'
    ]
    lines.clear()
    without = ImageFuser(dict(type='TintNet'))
    torch.save(without.state_dict(), tmp_path / 'plain.pth')
    check_weights(without, tmp_path / 'plain.pth')
    assert not lines


def test_places_within_a_cascade():
    """A fuser's checkpoint in a cascade, and the other way round."""
    fuser, other = (MODELS.build(dict(model_config(width), losses=None)) for width in (8, 16))
    cascades = [nn.ModuleDict(dict(fuser=f)) for f in (fuser, other)]
    assert list(prior_records(cascades[0])) == ['fuser.prior']
    check_priors(cascades[0], dict(priors=prior_records(fuser)), 'x.pth')
    check_priors(fuser, dict(priors=prior_records(cascades[0])), 'x.pth')
    for model, source in ((cascades[1], fuser), (other, cascades[0])):
        with pytest.raises(CheckpointError, match=OTHER):
            check_priors(model, dict(priors=prior_records(source)), 'x.pth')
    check_priors(nn.ModuleDict(dict(segmentor=other)), dict(priors=prior_records(cascades[0])), 'x.pth')


def test_hash_is_of_names_shapes_types_and_values():
    state = dict(a=torch.arange(6.0), b=torch.ones(2))
    first = hash_weights(state)
    assert hash_weights(dict(reversed(state.items()))) == first
    others = [
        dict(state, a=torch.arange(6.0).view(2, 3)),
        dict(state, a=torch.arange(6.0).double()),
        dict(state, a=torch.arange(6.0) + 1e-6),
        dict(c=state['a'], b=state['b']),
    ]
    assert len({first, *(hash_weights(o) for o in others)}) == 5
    digest = hashlib.sha256(b'a torch.float32 (6,)\n')
    digest.update(state['a'].numpy().tobytes())
    digest.update(b'b torch.float32 (2,)\n' + state['b'].numpy().tobytes())
    assert digest.hexdigest() == first
