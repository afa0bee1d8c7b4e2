"""tools/test.py and tools/train.py refuse a checkpoint that mmengine would only warn about."""

from pathlib import Path

import pytest
import torch

from mmfusion.apis import find_config
from mmfusion.utils.checkpoint import CheckpointError

SMALL = (
    'test_dataloader.dataset.num=1',
    'test_dataloader.dataset.size=(32,48)',
    'test_dataloader.num_workers=0',
    'test_dataloader.persistent_workers=False',
    "test_evaluator.metric=['EN']",
)


@pytest.fixture
def arguments(narrow, tmp_path):
    """Arguments of tools/test.py for a checkpoint."""
    work_dir = ['--work-dir', str(tmp_path / 'work')]
    return lambda file: [
        str(find_config('occo_synthetic')),
        str(file),
        *work_dir,
        *narrow,
        *SMALL,
        f'experiment_name={Path(file).stem}',
    ]


def test_test_loads_strictly(load_tool, arguments, checkpoint, tmp_path, monkeypatch):
    monkeypatch.setenv('MMFUSION_VGG19', '/nowhere/vgg19.pth')  # a test needs no losses
    tool = load_tool('tools/test.py')
    tool.main(arguments(checkpoint))
    assert list((tmp_path / 'work').glob('*/*.json'))
    state = torch.load(checkpoint, weights_only=True)
    del state['state_dict']['network.final.bias']
    torch.save(state, tmp_path / 'less.pth')
    with pytest.raises(
        CheckpointError, match=r'less\.pth: not a checkpoint of this model. Missing in the file: network\.f'
    ):
        tool.main(arguments(tmp_path / 'less.pth'))


def test_train_looks_at_load_from(load_tool, narrow, tmp_path):
    torch.save({'backbone.weight': torch.zeros(3)}, tmp_path / 'other.pth')
    config = str(find_config('occo_synthetic'))
    options = ['model.losses=None', f'load_from={tmp_path / "other.pth"}', 'experiment_name=train']
    with pytest.raises(CheckpointError, match='nothing in it fits this model'):
        load_tool('tools/train.py').main([config, '--work-dir', str(tmp_path / 'work'), *narrow, *options])
