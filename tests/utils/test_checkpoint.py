"""Reading weights as people have them: wrappers, prefixes, formats, and files that are something else."""

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from mmfusion.utils.checkpoint import CheckpointError, read_checkpoint
from mmfusion.utils.tf_checkpoint import read_tf_checkpoint, tf_prefix

STATE = {'conv.weight': torch.arange(4.0).view(2, 2), 'conv.bias': torch.ones(2)}


def read(tmp_path, content, name='a.pth'):
    torch.save(content, tmp_path / name)
    return read_checkpoint(tmp_path / name)


def prefixed(prefix):
    return {f'{prefix}{k}': v for k, v in STATE.items()}


@pytest.mark.parametrize(
    'content',
    [
        STATE,
        *({key: STATE} for key in ('model', 'net', 'params', 'state_dict', 'model_state_dict', 'weight', 'own')),
        dict(state_dict=STATE, optimizer=dict(state={0: dict(exp_avg=torch.zeros(2))}), meta={}, epoch=3),
        dict(epoch=3, network=dict(state_dict=STATE)),
        *(
            prefixed(p)
            for p in ('module.', '_orig_mod.', 'model.', 'module._orig_mod.', '_orig_mod.module.', 'model.module.')
        ),
        dict(state_dict=prefixed('model._orig_mod.module.'), hyper_parameters=dict(lr=1.0)),
    ],
)
def test_one_state_dict_in_many_wrappings(tmp_path, content):
    state, _ = read(tmp_path, content)
    assert {k: v.tolist() for k, v in state.items()} == {k: v.tolist() for k, v in STATE.items()}


def test_meta_and_parts_of_a_file(tmp_path):
    assert read(tmp_path, dict(state_dict=STATE, meta=dict(epoch=2)))[1] == dict(epoch=2)
    parts = read(tmp_path, dict(att=dict(module=STATE), con=STATE, lr=1.0))[0]
    assert set(parts) == {'att.conv.weight', 'att.conv.bias', 'con.conv.weight', 'con.conv.bias'}
    assert set(read(tmp_path, dict(fuse=STATE, disc=STATE))[0]) == {f'{p}.{k}' for p in ('fuse', 'disc') for k in STATE}


def test_formats_folders_and_several_files(tmp_path):
    arrays = {k: v.numpy() for k, v in STATE.items()}
    np.savez(tmp_path / 'a.npz', **arrays)
    np.save(tmp_path / 'lut.npy', arrays['conv.bias'])
    save_file(STATE, tmp_path / 'b.safetensors')
    for name in ('a.npz', 'b.safetensors'):
        assert read_checkpoint(tmp_path / name)[0]['conv.weight'].tolist() == [[0, 1], [2, 3]]
    assert list(read_checkpoint(tmp_path / 'lut.npy')[0]) == ['lut']
    together = read_checkpoint([tmp_path / 'a.npz', tmp_path / 'lut.npy'])[0]
    assert list(together) == ['a.conv.weight', 'a.conv.bias', 'lut']
    assert set(read_checkpoint(tmp_path)[0]) == {*together, 'b.conv.weight', 'b.conv.bias'}
    (tmp_path / 'none').mkdir()
    with pytest.raises(CheckpointError, match='none: a folder without weights'):
        read_checkpoint(tmp_path / 'none')


def script(path):
    torch.jit.save(torch.jit.script(nn.Linear(2, 2)), path)


@pytest.mark.parametrize(
    ('write', 'message'),
    [
        (
            lambda p: p.write_text('version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n'),
            'Git LFS pointer',
        ),
        (lambda p: p.write_text('\n<!DOCTYPE html><html>Sign in'), 'is a web page'),
        (lambda p: p.write_bytes(b''), r'is empty \(0 bytes\)'),
        (lambda p: torch.save(nn.Linear(2, 2), p), r'holds more than weights: objects of torch\.nn\.modules'),
        (lambda p: torch.save(nn.Linear(2, 2), p, _use_new_zipfile_serialization=False), 'holds more than weights'),
        (script, 'is a TorchScript archive'),
        (lambda p: p.write_bytes(b'\x00\x01\x02 weights of something'), 'is no checkpoint|damaged or incomplete'),
    ],
)
def test_files_that_are_something_else(tmp_path, write, message):
    write(tmp_path / 'x.pth')
    with pytest.raises(CheckpointError, match=rf'x\.pth: .*({message})') as e:
        read_checkpoint(tmp_path / 'x.pth')
    assert 'weights_only' not in str(e.value)
    assert '\n' not in str(e.value)


def varint(n):
    out = b''
    while n > 127:
        out, n = out + bytes([n & 127 | 128]), n >> 7
    return out + bytes([n])


def block(entries):
    """A block of a table, keys without what they share with the one before."""
    out, last = b'', b''
    for key, value in entries:
        shared = next((i for i, (a, b) in enumerate(zip(key, last, strict=False)) if a != b), min(len(key), len(last)))
        out += varint(shared) + varint(len(key) - shared) + varint(len(value)) + key[shared:] + value
        last = key
    return out + (0).to_bytes(4, 'little') + (1).to_bytes(4, 'little')


def write_tensorflow(prefix, tensors):
    """Write a TensorFlow checkpoint of float32 tensors in its table form."""
    data, entries = b'', [(b'', b'\x08\x01')]
    for name in sorted(tensors):
        raw = tensors[name].numpy().tobytes()
        dims = b''.join(b'\x12' + varint(len(d)) + d for d in (b'\x08' + varint(n) for n in tensors[name].shape))
        entry = b'\x08\x01\x12' + varint(len(dims)) + dims + b'\x20' + varint(len(data)) + b'\x28' + varint(len(raw))
        entries.append((name.encode(), entry))
        data += raw
    body = block(entries)
    handle = varint(0) + varint(len(body))
    index = block([(b'z', handle)])
    start = len(body) + 5
    footer = varint(0) * 2 + varint(start) + varint(len(index))
    footer = footer.ljust(40, b'\0') + (0xDB4775248B80FB57).to_bytes(8, 'little')
    prefix.with_name(f'{prefix.name}.index').write_bytes(body + b'\0' * 5 + index + b'\0' * 5 + footer)
    prefix.with_name(f'{prefix.name}.data-00000-of-00001').write_bytes(data)


def test_tensorflow_checkpoint(tmp_path):
    tensors = {f'net/layer{k}/w': torch.rand(3, 3, k, 200) for k in (1, 2)} | {'net/scalar': torch.tensor(2.0)}
    prefix = tmp_path / 'model.ckpt'
    write_tensorflow(prefix, tensors)
    for given in (prefix, f'{prefix}.index', f'{prefix}.data-00000-of-00001', tmp_path):
        state, _ = read_checkpoint(given)
        assert state.keys() == tensors.keys()
        assert all(torch.equal(state[k], v) for k, v in tensors.items())
    data = tmp_path / 'model.ckpt.data-00000-of-00001'
    data.write_bytes(data.read_bytes()[:-8])
    with pytest.raises(CheckpointError, match=r'the data of net/scalar are incomplete|the data of net/layer2/w'):
        read_checkpoint(prefix)
    data.unlink()
    with pytest.raises(CheckpointError, match=r'data-00000-of-00001: missing'):
        read_checkpoint(prefix)
    index = tmp_path / 'model.ckpt.index'
    index.write_bytes(index.read_bytes()[:-20])
    with pytest.raises(CheckpointError, match=r'model\.ckpt\.index: not an index of a TensorFlow checkpoint, or cut'):
        read_checkpoint(prefix)


@pytest.mark.data
def test_tensorflow_checkpoints_of_authors(data_dir):
    """Number of variables, and the shape of a kernel, of two published files."""
    for name, count in (('U2Fusion', 20), ('PMGI', 74)):
        (index,) = (data_dir / 'zoo' / name).glob('*.index')
        assert len(read_tf_checkpoint(tf_prefix(index))) == count
