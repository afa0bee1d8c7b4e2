"""Strict loading of checkpoints: what is accepted, and what each refusal says."""

import pickle

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.logging.history_buffer import HistoryBuffer
from torch import nn

from mmfusion.models import checkpoint as module
from mmfusion.models.checkpoint import check_start, check_weights, latest_checkpoint, load_weights
from mmfusion.models.methods.occo import FIFN
from mmfusion.models.methods.occo.official import to_official
from mmfusion.registry import MODELS
from mmfusion.utils.checkpoint import CheckpointError, read_checkpoint


class Model(nn.Module):
    """A model with a batch norm, and losses that may be absent."""

    training_only = ('losses',)

    def __init__(self, width=3, losses=()):
        super().__init__()
        self.network = nn.Sequential(nn.Conv2d(1, width, 1), nn.BatchNorm2d(width))
        self.losses = nn.ModuleList(losses)


def equal(a, b):
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


def save(path, content):
    torch.save(content, path)
    return path


@pytest.mark.parametrize('form', ['plain', 'mmengine', 'data_parallel'])
def test_forms_of_checkpoints(tmp_path, form):
    source, target = Model(), Model()
    assert not equal(source, target)
    state = source.state_dict()
    if form == 'data_parallel':
        state = {f'module.{name}': value for name, value in state.items()}
    if form == 'mmengine':
        history = HistoryBuffer()
        history.update(np.float64(0.5))
        state = dict(state_dict=state, meta=dict(epoch=3), message_hub=dict(log_scalars={'loss': history}))
    meta = load_weights(target, save(tmp_path / 'a.pth', state))
    assert equal(source, target)
    assert meta == (dict(epoch=3) if form == 'mmengine' else {})


def test_wrapped_model(tmp_path):
    source, target = Model(), Model()
    torch.distributed.init_process_group('gloo', init_method=f'file://{tmp_path / "store"}', rank=0, world_size=1)
    try:
        load_weights(nn.parallel.DistributedDataParallel(target), save(tmp_path / 'a.pth', source.state_dict()))
    finally:
        torch.distributed.destroy_process_group()
    assert equal(source, target)


def test_what_may_differ(tmp_path):
    """Counters of batch norm, and weights of losses that the model was built without."""
    source, target = Model(losses=[nn.Linear(2, 2)]), Model()
    state = source.state_dict()
    del state['network.1.num_batches_tracked']
    path = save(tmp_path / 'a.pth', state)
    load_weights(target, path)
    assert torch.equal(target.network[0].weight, source.network[0].weight)
    with pytest.raises(CheckpointError, match=r'Unknown to the model: losses\.0\.weight, losses\.0\.bias\.'):
        load_weights(nn.Sequential(), save(tmp_path / 'b.pth', {k: v for k, v in state.items() if 'losses' in k}))


def test_another_network(tmp_path):
    state = {**Model().network.state_dict(), 'head.weight': torch.zeros(2)}
    path = save(tmp_path / 'other.pth', dict(state_dict=state, meta=dict(experiment_name='yolo_2026')))
    model = Model()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(CheckpointError) as e:
        load_weights(model, path)
    text = str(e.value)
    assert text.startswith(
        f'{path}: not a checkpoint of this model. Missing in the file: network.0.weight, network.0.bias'
    )
    assert 'and 3 more; unknown to the model: 0.weight, 0.bias, 1.weight and 5 more.' in text
    assert text.endswith("with the same --cfg-options. It was saved by the run 'yolo_2026'.")
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_other_widths(tmp_path):
    path = save(tmp_path / 'wide.pth', Model(5).state_dict())
    with pytest.raises(
        CheckpointError, match=r'network\.0\.weight \[5, 1, 1, 1\] in the file, \[3, 1, 1, 1\] in the model'
    ):
        check_weights(Model(3), path)


def test_weights_of_another_method_are_named(tmp_path):
    """By their names: those of OCCO's authors, given to another network; a FIFN takes them as they are."""
    net = FIFN()
    path = save(tmp_path / 'occo.pth', {f'module.{k}': v for k, v in to_official(net.state_dict()).items()})
    with pytest.raises(CheckpointError, match="By its names it holds the authors' weights of FIFN"):
        load_weights(Model(), path)
    fuser = MODELS.build(dict(type='mmfusion.ImageFuser', network=dict(type='mmfusion.FIFN')))
    load_weights(fuser, path)
    assert equal(fuser.network, net)


class Evil:
    """Would run code when it is unpickled."""

    def __reduce__(self):
        return pytest.fail, ('code of a checkpoint was run',)


def test_unreadable_files(tmp_path):
    with pytest.raises(CheckpointError, match=r'none\.pth: no such checkpoint'):
        read_checkpoint(tmp_path / 'none.pth')
    whole = save(tmp_path / 'whole.pth', Model().state_dict()).read_bytes()
    (tmp_path / 'cut.pth').write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CheckpointError, match=r'cut\.pth: damaged or incomplete'):
        read_checkpoint(tmp_path / 'cut.pth')
    (tmp_path / 'empty.pth').write_bytes(b'')
    with pytest.raises(CheckpointError, match=r'empty\.pth: is empty \(0 bytes\)'):
        read_checkpoint(tmp_path / 'empty.pth')
    (tmp_path / 'text.pth').write_text('<html>not found</html>')
    with pytest.raises(CheckpointError, match=r'text\.pth: is a web page, not the weights'):
        read_checkpoint(tmp_path / 'text.pth')
    with pytest.raises(CheckpointError, match=r'evil\.pth: holds more than weights: objects of'):
        read_checkpoint(save(tmp_path / 'evil.pth', {'a': Evil()}))
    (tmp_path / 'evil_pickle.pth').write_bytes(pickle.dumps(Evil()))
    with pytest.raises(CheckpointError, match=r'evil_pickle\.pth: (is no checkpoint|holds more)'):
        read_checkpoint(tmp_path / 'evil_pickle.pth')
    with pytest.raises(
        CheckpointError, match=r'expected a checkpoint with a state_dict.*found a dict with the keys epoch'
    ):
        read_checkpoint(save(tmp_path / 'c.pth', {'epoch': 3}))
    with pytest.raises(CheckpointError, match="found a <class 'list'>"):
        read_checkpoint(save(tmp_path / 'd.pth', [torch.zeros(1)]))


@pytest.fixture
def said(monkeypatch):
    """What goes to the log."""
    lines = []
    monkeypatch.setattr(module, 'print_log', lambda text, *args, **kwargs: lines.append(text))
    return lines


def test_load_from_says_what_fits(tmp_path, said):
    state = Model().state_dict()
    path = save(tmp_path / 'a.pth', state)
    check_start(Model(), Config(dict(load_from=str(path), resume=False)))
    assert 'all 7 tensors of the model are loaded' in said.pop()
    state['network.0.bias'] = torch.zeros(9)
    path = save(tmp_path / 'b.pth', {k: v for k, v in state.items() if 'network.1' not in k or 'running' in k})
    check_start(Model(), Config(dict(load_from=str(path), resume=False)))
    line = said.pop()
    assert "3 of the model's 7 tensors are loaded; the others keep their initial values. Missing in the file" in line
    assert 'network.0.bias [9] in the file, [3] in the model' in line
    check_start(Model(), Config(dict(load_from=None, resume=False)))
    assert not said
    with pytest.raises(
        CheckpointError, match=r'load_from=.*c\.pth.*nothing in it fits this model\. Missing in the file'
    ):
        check_start(Model(), Config(dict(load_from=str(save(tmp_path / 'c.pth', {'x': torch.zeros(1)})))))


def test_resuming_needs_this_very_model(tmp_path, said):
    cfg = Config(dict(load_from=None, resume=True, work_dir=str(tmp_path)))
    check_start(Model(), cfg)  # nothing to resume from: training begins
    path = save(tmp_path / 'epoch_1.pth', dict(state_dict=Model(5).state_dict(), meta={}))
    (tmp_path / 'last_checkpoint').write_text(str(path))
    check_start(Model(5), cfg)
    moved = tmp_path / 'moved'
    moved.mkdir()
    (moved / 'last_checkpoint').write_text('/gone/with/the/old/folder/epoch_1.pth')
    assert latest_checkpoint(moved) is None
    path.rename(moved / 'epoch_1.pth')
    assert latest_checkpoint(moved) == str(moved / 'epoch_1.pth')
    path = (moved / 'epoch_1.pth').rename(path)
    with pytest.raises(CheckpointError, match=r'epoch_1\.pth: not a checkpoint of this model'):
        check_start(Model(3), cfg)
