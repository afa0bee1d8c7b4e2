"""Reading weights as people have them: wrappers, prefixes, formats, and files that are something else."""

import argparse
import hashlib
import pickle
import zipfile

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from mmfusion.utils.checkpoint import CheckpointError, fetch, read_checkpoint

STATE = {'conv.weight': torch.arange(4.0).view(2, 2), 'conv.bias': torch.ones(2)}


def read(tmp_path, content, name='a.pth'):
    torch.save(content, tmp_path / name)
    return read_checkpoint(tmp_path / name)


def save(path):
    torch.save(STATE, path)
    return path


def prefixed(prefix):
    return {f'{prefix}{k}': v for k, v in STATE.items()}


@pytest.mark.parametrize(
    'content',
    [
        STATE,
        *({key: STATE} for key in ('model', 'net', 'params', 'state_dict', 'model_state_dict', 'weight', 'own')),
        dict(state_dict=STATE, optimizer=dict(state={0: dict(exp_avg=torch.zeros(2))}), meta={}, epoch=3),
        dict(epoch=3, network=dict(state_dict=STATE), args=argparse.Namespace(lr=0.1)),
        dict(params=dict(other=torch.ones(1)), params_ema=STATE),
        {k: v.numpy() for k, v in STATE.items()},
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
    named = read_checkpoint({'table': tmp_path / 'lut.npy', 'first': tmp_path / 'a.npz'})[0]
    assert list(named) == ['table', 'first.conv.weight', 'first.conv.bias']
    with pytest.raises(CheckpointError, match='two files have one name without suffix'):
        read_checkpoint([tmp_path / 'a.npz', tmp_path / 'a.pth'])
    (tmp_path / 'none').mkdir()
    with pytest.raises(CheckpointError, match='none: a folder without weights'):
        read_checkpoint(tmp_path / 'none')


def cut(path, **options):
    torch.save(STATE, path, **options)
    path.write_bytes(path.read_bytes()[:-300])


def archive(path):
    with zipfile.ZipFile(path, 'w') as file:
        file.writestr('weights.bin', 'w')


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
        (cut, r'damaged or incomplete \(the end of the archive is missing\)'),
        (lambda p: cut(p, _use_new_zipfile_serialization=False), 'damaged or incomplete'),
        (lambda p: p.write_bytes(b'\x93NUMPY\x01\x00'), 'damaged or incomplete'),
        (lambda p: p.write_bytes(b'\x90\0\0\0\0\0\0\0{"conv'), 'damaged or incomplete'),
        (archive, r'is a zip archive with weights\.bin.*Unpack it first'),
        (lambda p: p.write_bytes(b'\x89HDF\r\n'), r'is an HDF5 file \(Keras\)'),
        (lambda p: p.write_text('hello there'), 'is no checkpoint'),
        (lambda p: p.write_bytes(pickle.dumps(dict(a=1))), 'is no checkpoint'),
        (lambda p: np.save(p.open('wb'), np.array([print]), allow_pickle=True), 'holds pickled objects'),
        (lambda p: torch.save(dict(state_dict={}), p), r'found a dict with the keys state_dict'),
        (lambda p: torch.save({}, p), r'found an empty dict'),
        (lambda p: p.write_bytes(b'\x00\x01\x02 weights of something'), 'is no checkpoint|damaged or incomplete'),
    ],
)
def test_files_that_are_something_else(tmp_path, write, message):
    write(tmp_path / 'x.pth')
    with pytest.raises(CheckpointError, match=rf'x\.pth: .*({message})') as e:
        read_checkpoint(tmp_path / 'x.pth')
    assert 'weights_only' not in str(e.value)
    assert '\n' not in str(e.value)


def test_an_empty_path_is_no_folder(tmp_path, monkeypatch):
    save(tmp_path / 'a.pth')
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CheckpointError, match='weights: an empty path'):
        read_checkpoint('')


def test_fetch(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, 'get_dir', lambda: str(tmp_path / 'hub'))
    file = save(tmp_path / 'a b.pth')
    url = file.as_uri()
    assert list(read_checkpoint(url)[0]) == list(STATE)
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    fetched = fetch(url, digest)
    assert fetched.read_bytes() == file.read_bytes()
    file.unlink()
    assert fetch(url, digest) == fetched
    given = tmp_path / 'kept' / 'weights.pth'
    given.parent.mkdir()
    given.write_text('cut')
    with pytest.raises(CheckpointError, match='cannot be fetched'):  # another file than wanted is fetched again
        fetch(url, digest, given)
    with pytest.raises(CheckpointError, match='cannot be fetched'):
        fetch((tmp_path / 'none.pth').as_uri())
    changed = save(tmp_path / 'changed.pth')
    with pytest.raises(
        CheckpointError, match=r'the file there is another one than expected \(its SHA-256 is not 0{64}\)'
    ):
        fetch(changed.as_uri(), '0' * 64)
    assert not list((tmp_path / 'hub').rglob('*changed*'))
