"""The sides of a cascade as checkpoints of their own."""

from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS as ROOT_MODELS
from mmengine.registry import DefaultScope

from mmfusion.registry import MODELS

ROOT = Path(__file__).resolve().parents[2]
CONFIG = ROOT / 'configs/cascades/occo_deeplabv3plus_synthetic.py'


@pytest.fixture(scope='module')
def tool(load_tool):
    return load_tool('tools/model_converters/split_cascade.py')


def test_both_sides_load_where_they_belong(tool, tmp_path, capsys):
    """The stock library's own class loads the task's side strictly, without a name of ours in it."""
    cfg = Config.fromfile(CONFIG)
    model = MODELS.build(cfg.model)
    torch.save(dict(state_dict=model.state_dict(), meta=dict(dataset_meta=dict(classes=('a',)))), tmp_path / 'both.pth')
    files = [tmp_path / 'fuser.pth', tmp_path / 'out' / 'task.pth']
    assert tool.main([str(CONFIG), str(tmp_path / 'both.pth'), '--fuser', str(files[0]), '--task', str(files[1])]) == 0
    assert f'{files[1]}: {len(model.segmentor.state_dict())} tensors' in capsys.readouterr().out
    task = torch.load(files[1], weights_only=True)
    with DefaultScope.overwrite_default_scope('mmseg'):
        stock = ROOT_MODELS.build(cfg.model.segmentor)
    stock.load_state_dict(task['state_dict'], strict=True)
    assert torch.equal(stock.backbone.stem[0].weight, model.segmentor.backbone.stem[0].weight)
    assert task['meta']['dataset_meta'] == dict(classes=('a',))
    fuser = torch.load(files[0], weights_only=True)['state_dict']
    assert fuser.keys() == model.fuser.state_dict().keys()


def test_errors(tool, tmp_path, capsys):
    torch.save(dict(state_dict=dict(a=torch.zeros(1))), tmp_path / 'other.pth')
    assert tool.main([str(CONFIG), str(tmp_path / 'other.pth'), '--fuser', str(tmp_path / 'f.pth')]) == 1
    assert 'not a checkpoint of this model' in capsys.readouterr().err
    assert tool.main([str(ROOT / 'configs/occo/occo_demo.py'), str(tmp_path / 'other.pth'), '--task', 'x']) == 1
    assert 'only a cascade has two sides' in capsys.readouterr().err
    (tmp_path / 'open.py').write_text('model = dict(type=')
    assert tool.main([str(tmp_path / 'open.py'), str(tmp_path / 'other.pth'), '--task', 'x']) == 1
    assert 'open.py: the config, or one that it inherits, cannot be read: SyntaxError' in capsys.readouterr().err
    with pytest.raises(SystemExit):
        tool.main([str(CONFIG), 'x.pth'])
