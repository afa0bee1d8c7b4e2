"""Resuming a Runner under weights_only=True, and that nothing else is let in."""

import pickle
import random
import zipfile

import numpy as np
import pytest
import torch
from mmengine.hooks import Hook
from mmengine.logging.history_buffer import HistoryBuffer
from mmengine.model import BaseModel
from mmengine.runner import Runner
from mmengine.utils import digit_version
from torch.utils.data import Dataset

from mmfusion.compat import serialization

pytestmark = pytest.mark.skipif(
    digit_version(torch.__version__) < digit_version('2.6.0'), reason='torch before 2.6 loads these by itself'
)


class Points(Dataset):
    metainfo = {'classes': ('point',), 'palette': np.zeros((1, 3), np.uint8)}

    def __len__(self):
        return 4

    def __getitem__(self, index):
        return torch.full((2,), float(index))


class Line(BaseModel):
    def __init__(self):
        super().__init__()
        self.linear = torch.nn.Linear(2, 1)

    def forward(self, *points, mode='loss'):
        values = self.linear(torch.stack(points))
        return {'loss': (values**2).mean()} if mode == 'loss' else values


class KeepRandomState(Hook):
    """Keeps what a hook may keep in the message hub: the random states and NumPy scalars."""

    def before_save_checkpoint(self, runner, checkpoint):
        states = {'numpy': np.random.get_state(), 'python': random.getstate()}
        runner.message_hub.update_info('states', states)
        runner.message_hub.update_info('scalars', [np.float32(2.5), np.int64(3), np.bool_(True), np.float64(0.1)])
        checkpoint['message_hub'] = runner.message_hub.state_dict()
        checkpoint['torch_state'] = torch.get_rng_state()


def _runner(work_dir, epochs, resume):
    return Runner(
        Line(),
        str(work_dir),
        train_dataloader={
            'dataset': Points(),
            'batch_size': 2,
            'sampler': {'type': 'DefaultSampler', 'shuffle': False},
        },
        train_cfg={'by_epoch': True, 'max_epochs': epochs},
        optim_wrapper={'optimizer': {'type': 'Adam', 'lr': 0.1}},
        param_scheduler={'type': 'LinearLR', 'start_factor': 0.1, 'end': 4},
        custom_hooks=[KeepRandomState()],
        resume=resume,
        experiment_name=f'{work_dir.name}_{epochs}',
        log_level='ERROR',
    )


def test_a_runner_resumes(tmp_path):
    """One epoch of two iterations, then a second one resumed, gives the weights of two epochs in one go."""
    _runner(tmp_path / 'resumed', 1, False).train()
    checkpoint = torch.load(tmp_path / 'resumed' / 'epoch_1.pth', weights_only=True)
    assert checkpoint['meta']['iter'] == 2
    assert isinstance(checkpoint['message_hub']['log_scalars']['train/loss'], HistoryBuffer)
    assert checkpoint['message_hub']['runtime_info']['scalars'] == [2.5, 3, True, 0.1]
    states = checkpoint['message_hub']['runtime_info']['states']
    np.random.set_state(states['numpy'])
    random.setstate(states['python'])

    torch.manual_seed(0)
    whole = _runner(tmp_path / 'whole', 2, False)
    initial = whole.model.state_dict()
    torch.save({'state_dict': initial}, tmp_path / 'initial.pth')
    whole.train()

    first = _runner(tmp_path / 'parts', 1, False)
    first.model.load_state_dict(torch.load(tmp_path / 'initial.pth')['state_dict'])
    first.train()
    second = _runner(tmp_path / 'parts', 2, True)
    second.train()
    assert second.iter == 4
    assert len(second.message_hub.get_scalar('train/loss').data[0]) == 4
    for name, value in whole.model.state_dict().items():
        torch.testing.assert_close(second.model.state_dict()[name], value, rtol=0, atol=0)


@pytest.mark.parametrize('module', ['numpy.core', 'numpy._core'])
def test_checkpoints_of_numpy_1_and_2_are_read(tmp_path, module):
    """The module that holds NumPy's rebuilding functions changed its name; a file written with either is read."""
    torch.save({'buffer': HistoryBuffer([1.0, 2.0], [1, 1]), 'scalar': np.float64(3)}, tmp_path / 'a.pth')
    written = np.float64(0).__reduce__()[0].__module__.removesuffix('.multiarray')
    renamed = _rename_global(tmp_path / 'a.pth', tmp_path / 'b.pth', written, module)
    loaded = torch.load(renamed, weights_only=True)
    assert loaded['scalar'] == 3
    assert loaded['buffer'].mean() == 1.5


def _rename_global(source, target, old, new):
    """Rewrite the names of global functions in the pickle inside of a torch file."""
    with zipfile.ZipFile(source) as archive, zipfile.ZipFile(target, 'w') as out:
        for item in archive.infolist():
            data = archive.read(item)
            if item.filename.endswith('data.pkl'):
                assert b'c' + old.encode() + b'.multiarray\n' in data
                data = data.replace(b'c' + old.encode() + b'.multiarray\n', b'c' + new.encode() + b'.multiarray\n')
            out.writestr(item.filename.replace('a/', 'b/', 1), data)
    return target


class Stranger:
    """A class that nobody allowed."""


def test_other_classes_are_still_refused(tmp_path):
    torch.save({'x': Stranger()}, tmp_path / 'stranger.pth')
    with pytest.raises(pickle.UnpicklingError, match='Stranger'):
        torch.load(tmp_path / 'stranger.pth', weights_only=True)


class _Attribute:
    """Pickles as getattr(owner, name), as a forged checkpoint would."""

    def __init__(self, owner, name):
        self.call = (getattr, (owner, name))

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize(('owner', 'name'), [(HistoryBuffer, '__init__'), (np.ndarray, 'min'), (HistoryBuffer, 'data')])
def test_getattr_is_allowed_for_the_four_statistics_only(tmp_path, owner, name):
    torch.save({'x': _Attribute(HistoryBuffer, 'mean')}, tmp_path / 'mean.pth')
    assert torch.load(tmp_path / 'mean.pth', weights_only=True)['x'] is HistoryBuffer.mean
    torch.save({'x': _Attribute(owner, name)}, tmp_path / 'forged.pth')
    with pytest.raises(pickle.UnpicklingError, match=f"attribute '{name}'"):
        torch.load(tmp_path / 'forged.pth', weights_only=True)


def test_nothing_is_done_on_older_torch(monkeypatch):
    monkeypatch.setattr(torch, '__version__', '2.5.1')
    monkeypatch.setattr(torch.serialization, 'add_safe_globals', lambda _: pytest.fail('called'))
    serialization.allow_runner_checkpoints()
