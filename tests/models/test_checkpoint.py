"""Strict loading of checkpoints: what is accepted, and what each refusal says."""

import pickle

import numpy as np
import pytest
import torch
from mmengine.logging.history_buffer import HistoryBuffer
from small_checkpoints import Model, authors_file, fuser, save
from torch import nn

from mmfusion.models.checkpoint import check_weights, compare, load_weights, training_only
from mmfusion.models.resuming import for_runner
from mmfusion.utils.checkpoint import CheckpointError, read_checkpoint


def equal(a, b):
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


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


def test_what_moved_is_found_where_it_was():
    from mmfusion.models import checkpoint, likeness, resuming

    for name in ('check_start', 'for_runner', 'latest_checkpoint'):
        assert getattr(checkpoint, name) is getattr(resuming, name)
    assert checkpoint.method_name is likeness.method_name
    assert checkpoint.resembling is likeness.resembling
    with pytest.raises(AttributeError, match='nothing_of_this_name'):
        checkpoint.nothing_of_this_name  # noqa: B018
