"""Strict loading of checkpoints: what is accepted, and what each refusal says."""

import pickle

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.logging.history_buffer import HistoryBuffer
from torch import nn

from mmfusion.models import checkpoint as module
from mmfusion.models.checkpoint import (
    check_start,
    check_weights,
    compare,
    for_runner,
    latest_checkpoint,
    load_weights,
    resembling,
    training_only,
)
from mmfusion.models.methods.occo.official import to_official
from mmfusion.registry import MODELS
from mmfusion.utils.checkpoint import CheckpointError, read_checkpoint


class Model(nn.Module):
    """A model with a batch norm, and losses that may be absent."""

    training_only = ('losses', 'discriminators')

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
    with pytest.raises(CheckpointError, match='found a list'):
        read_checkpoint(save(tmp_path / 'd.pth', [torch.zeros(1)]))


@pytest.fixture
def said(monkeypatch):
    """What goes to the log."""
    lines = []
    monkeypatch.setattr(module, 'print_log', lambda text, *args, **kwargs: lines.append(text))
    return lines


def generator_and_critic():
    """An adversarial model: a network, and a part that only training needs, two levels down."""
    model = nn.Module()
    model.fuser = Model()
    model.fuser.discriminators = nn.ModuleDict(dict(vi=nn.Linear(2, 2)))
    return model


def test_what_only_training_needs(tmp_path, said):
    """A generator's file has no discriminators, and a generator's model ignores those in a file; resuming needs them."""
    model = generator_and_critic()
    assert training_only(model) == ('fuser.losses.', 'fuser.discriminators.')
    whole = model.state_dict()
    alone = {name: value for name, value in whole.items() if 'discriminators' not in name}
    assert compare(model, alone).exact
    assert compare(model, alone, training=True).missing == [name for name in whole if 'discriminators' in name]
    load_weights(model, save(tmp_path / 'generator.pth', alone))
    assert (
        'has no fuser.discriminators.vi.weight, fuser.discriminators.vi.bias, which only training needs' in said.pop()
    )
    path = save(tmp_path / 'whole.pth', {name.removeprefix('fuser.'): value for name, value in whole.items()})
    load_weights(Model(), path)
    assert not said
    with pytest.raises(CheckpointError, match=r'Unknown to the model: discriminators\.vi\.weight'):
        check_weights(Model(), path, training=True)


@MODELS.register_module()
class Toned(nn.Module):
    """A network whose authors call its parameters otherwise."""

    def __init__(self, width=3):
        super().__init__()
        self.stem, self.head = nn.Conv2d(2, width, 3), nn.Conv2d(width, 1, 1)

    @staticmethod
    def from_authors(state):
        names = {'stem.weight': 'conv1.w', 'stem.bias': 'conv1.b', 'head.weight': 'conv2.w', 'head.bias': 'conv2.b'}
        return {ours: state[theirs] for ours, theirs in names.items()}


def authors_file(path, width=3):
    state = Toned(width).state_dict()
    return save(path, {'net': dict(zip(('conv1.w', 'conv1.b', 'conv2.w', 'conv2.b'), state.values(), strict=True))})


def fuser(network):
    return MODELS.build(dict(type='mmfusion.ImageFuser', network=dict(type=network)))


def test_authors_file_of_the_network(tmp_path, said):
    """It is taken as it is; for mmengine's Runner, which knows its own form alone, it is written converted."""
    path, model = authors_file(tmp_path / 'a.pth'), fuser('Toned')
    first = torch.load(path, weights_only=True)['net']['conv1.w']
    load_weights(model, path)
    assert said.pop() == f"{path}: the authors' weights, converted."
    assert torch.equal(model.network.stem.weight, first)
    converted = for_runner(model, path, tmp_path / 'work')
    assert converted == str(tmp_path / 'work' / 'a-converted.pth')
    content = torch.load(converted, weights_only=True)
    assert torch.equal(content['state_dict']['network.stem.weight'], first)
    assert content['meta']['converted_from'] == ['a.pth']
    assert for_runner(model, converted, tmp_path) == converted
    with pytest.raises(CheckpointError, match=r'not a checkpoint of this model\. Missing in the file: network\.stem'):
        load_weights(model, authors_file(tmp_path / 'wide.pth', width=5))


def test_weights_of_another_method(tmp_path):
    """Said by their names: in the authors' form, and in ours, alone or within a fuser."""
    model = fuser('U2Fusion')
    path = authors_file(tmp_path / 'a.pth')
    with pytest.raises(CheckpointError, match=r"It looks like the authors' weights of Toned \(Toned\)"):
        load_weights(model, path)
    with pytest.raises(CheckpointError, match=r'It looks like weights of u2fusion \(U2Fusion\)'):
        load_weights(fuser('Toned'), save(tmp_path / 'b.pth', model.state_dict()))
    fifn = MODELS.get('FIFN')().state_dict()
    assert resembling(fifn) == 'weights of occo (FIFN)'
    assert resembling(to_official(fifn)) == "the authors' weights of occo (FIFN)"
    assert resembling({'backbone.conv1.weight': torch.zeros(3)}) is None


@pytest.mark.data
def test_authors_files_are_recognised(data_dir):
    files = {'SDNet': 'sdnet', 'PMGI': 'pmgi', 'STDFusionNet': 'stdfusionnet', 'LRRNet': 'lrrnet', 'YDTR': 'ydtr'}
    for folder, method in files.items():
        state, _ = read_checkpoint(data_dir / 'zoo' / folder)
        assert f"the authors' weights of {method} " in resembling(state)


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
    with pytest.raises(CheckpointError, match=r'epoch_1\.pth: not a checkpoint of this model'):
        check_start(Model(3), cfg)


def test_resuming_with_another_optimizer_or_at_the_end(tmp_path, said):
    meta = dict(cfg="optim_wrapper = dict(optimizer=dict(type='SGD', lr=0.1))", epoch=3, iter=12)
    path = save(tmp_path / 'epoch_3.pth', dict(state_dict=Model().state_dict(), meta=meta))

    def resume(kind, epochs=9):
        wrapper = dict(optimizer=dict(type=kind, lr=0.1))
        cfg = dict(resume=True, load_from=str(path), optim_wrapper=wrapper, train_cfg=dict(max_epochs=epochs))
        check_start(Model(), Config(cfg))
        return ' '.join(said)

    assert 'nothing is left' not in resume('mmengine.SGD')
    assert 'has 3 epochs already, and train_cfg.max_epochs is 3: nothing is left to train' in resume('SGD', 3)
    with pytest.raises(CheckpointError, match=r'epoch_3\.pth: was trained by SGD, and optim_wrapper now has Adam'):
        resume('Adam')


def test_moved_work_dir(tmp_path):
    """The file beside ``last_checkpoint`` counts before the path in it."""
    old, new = tmp_path / 'old', tmp_path / 'new'
    assert latest_checkpoint(new) is None
    for folder in (old, new):
        folder.mkdir()
        save(folder / 'epoch_1.pth', dict(state_dict=Model().state_dict(), meta={}))
    (new / 'last_checkpoint').write_text(str(old / 'epoch_1.pth'))
    assert latest_checkpoint(new) == str(new / 'epoch_1.pth')
    (new / 'epoch_1.pth').unlink()
    assert latest_checkpoint(new) == str(old / 'epoch_1.pth')
    (old / 'epoch_1.pth').unlink()
    with pytest.raises(CheckpointError, match=r'last_checkpoint: names .*epoch_1\.pth, and neither that file nor'):
        latest_checkpoint(new)
    (new / 'last_checkpoint').write_text('')
    with pytest.raises(CheckpointError, match=r'last_checkpoint: names nothing, and neither'):
        latest_checkpoint(new)
    (new / 'last_checkpoint').write_text('D:\\runs\\occo\\epoch_2.pth')
    save(new / 'epoch_2.pth', {})
    assert latest_checkpoint(new) == str(new / 'epoch_2.pth')
