"""Folded batch norms get their statistics back."""

import copy
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from torch.nn.modules.batchnorm import _BatchNorm

from mmfusion.registry import MODELS

ROOT = Path(__file__).resolve().parents[2]
CONFIG = ROOT / 'configs/cascades/occo_yolox_synthetic.py'


@pytest.fixture(scope='module')
def tool(load_tool):
    return load_tool('tools/model_converters/unfold_norms.py')


@pytest.fixture
def folded(tmp_path):
    """A cascade on a few small scenes, whose detector's file has the norms of a deployed one; config and detector."""
    cfg = Config.fromfile(CONFIG)
    cfg.train_dataloader.batch_size = 2
    cfg.train_dataloader.dataset.update(num=4, size=(64, 96))
    model = MODELS.build(cfg.model)
    model.init_weights()
    for norm in (m for m in model.task.modules() if isinstance(m, _BatchNorm)):
        torch.nn.init.uniform_(norm.bias, -0.5, 0.5)
    torch.save(dict(state_dict=model.task.state_dict()), tmp_path / 'folded.pth')
    cfg.model.task_checkpoint = str(tmp_path / 'folded.pth')
    cfg.dump(str(tmp_path / 'config.py'))
    return tmp_path / 'config.py', model.task


def test_tests_give_the_same_and_training_starts_there(tool, folded, tmp_path, capsys):
    config, before = folded
    assert tool.main([str(config), str(tmp_path / 'out.pth'), '--images', '4']) == 0
    after = copy.deepcopy(before)
    after.load_state_dict(torch.load(tmp_path / 'out.pth', weights_only=True)['state_dict'])
    norms = [m for m in after.modules() if isinstance(m, _BatchNorm)]
    assert f'{len(norms)} batch norms unfolded' in capsys.readouterr().out
    assert not any(tool.is_folded(norm) for norm in norms)
    x = 255 * torch.rand(2, 3, 64, 96)
    with torch.no_grad():
        for a, b in zip(before.eval().extract_feat(x), after.eval().extract_feat(x), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-3 * a.abs().max().item())

    def shift(model):
        """How far the features of a batch move from tests to training."""
        with torch.no_grad():
            in_tests, in_training = model.eval().extract_feat(x)[-1], model.train().extract_feat(x)[-1]
        return ((in_tests - in_training).norm() / in_tests.norm()).item()

    assert shift(after) < shift(before)


def test_nothing_to_unfold(tool, folded, tmp_path, capsys):
    config, _ = folded
    assert tool.main([str(config), str(tmp_path / 'out.pth'), '--images', '4']) == 0
    cfg = Config.fromfile(config)
    cfg.model.task_checkpoint = str(tmp_path / 'out.pth')
    cfg.dump(str(tmp_path / 'again.py'))
    assert tool.main([str(tmp_path / 'again.py'), str(tmp_path / 'no.pth')]) == 1
    assert 'again.py: no batch norm of its detector is folded' in capsys.readouterr().err
    assert tool.main([str(ROOT / 'configs/lite/lite.py'), str(tmp_path / 'no.pth')]) == 1
    assert 'its model is a ImageFuser; expected a cascade' in capsys.readouterr().err
    assert not (tmp_path / 'no.pth').exists()
