"""Reading TensorFlow checkpoints: one that the test writes by itself, and the authors' files."""

import shutil
import struct

import numpy as np
import pytest
import torch

from mmfusion.utils.checkpoint import CheckpointError, read_checkpoint
from mmfusion.utils.tf_checkpoint import read_tf_checkpoint, tf_prefix

VARIABLES = {
    'net/layer10/kernel': np.arange(54, dtype='<f4').reshape(3, 3, 2, 3),
    'net/layer10/kernel/Adam': np.ones((3, 3, 2, 3), '<f4'),
    'net/layer2/bias': np.array([0.5, -2], '<f8'),
    'net/layer2/steps': np.array(300, '<i8'),
    'net/layer2/used': np.array([True, False]),
}
TYPES = {'<f4': 1, '<f8': 2, '<i8': 9, '|b1': 10}


def varint(value):
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def field(number, value):
    """A field of a protocol buffer: a number, or bytes."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def block(items, restart=2):
    """A block of a table; every ``restart`` keys one is written whole."""
    out, starts, before = b'', [], b''
    for k, (key, value) in enumerate(items):
        shared = 0
        if k % restart == 0:
            starts.append(len(out))
        else:
            while shared < min(len(key), len(before)) and key[shared] == before[shared]:
                shared += 1
        out += varint(shared) + varint(len(key) - shared) + varint(len(value)) + key[shared:] + value
        before = key
    return out + b''.join(struct.pack('<I', s) for s in [*starts, len(starts)])


def entry(array, offset, **changes):
    shape = b''.join(field(2, field(1, size)) for size in array.shape)
    kind = changes.get('kind', TYPES[array.dtype.str])
    numbers = field(4, offset) + field(5, array.nbytes) if offset else field(5, array.nbytes)
    return field(1, kind) + field(2, shape) + numbers + varint(6 << 3 | 5) + b'\0\0\0\0'


def write(prefix, compression=0, **changes):
    """Write VARIABLES; two data blocks and an index block, as TensorFlow does for many variables."""
    data, items = b'', [(b'', field(1, 1) + field(3, field(1, 1)))]
    for name, array in VARIABLES.items():
        items.append((name.encode(), entry(array, len(data), **changes)))
        data += array.tobytes()
    text = b'serialized graph'
    items.append((b'zzz/graph', field(1, 7) + field(2, b'') + field(4, len(data)) + field(5, len(text))))
    table, handles = b'', []
    for part in (items[:3], items[3:]):
        content = block(part)
        handles.append((part[-1][0], varint(len(table)) + varint(len(content))))
        table += content + bytes([compression]) + b'crc.'
    content = block(handles, restart=1)
    footer = varint(0) + varint(0) + varint(len(table)) + varint(len(content))
    table += content + b'\0crc.' + footer.ljust(40, b'\0') + struct.pack('<Q', 0xDB4775248B80FB57)
    prefix.with_name(f'{prefix.name}.index').write_bytes(table)
    prefix.with_name(f'{prefix.name}.data-00000-of-00001').write_bytes(data + text)
    return prefix


def test_all_variables(tmp_path):
    state = read_tf_checkpoint(write(tmp_path / 'model.ckpt'))
    assert list(state) == list(VARIABLES)
    for name, array in VARIABLES.items():
        assert state[name].numpy().dtype == array.dtype
        np.testing.assert_array_equal(state[name].numpy(), array)


def test_given_by_prefix_or_either_file(tmp_path):
    prefix = write(tmp_path / 'model.ckpt-10')
    index, data = (tmp_path / f'model.ckpt-10.{end}' for end in ('index', 'data-00000-of-00001'))
    for given in (prefix, index, data, [index, data], tmp_path):
        assert list(read_checkpoint(given)[0]) == list(VARIABLES)
    torch.save({'w': torch.zeros(1)}, tmp_path / 'a.pth')
    assert list(read_checkpoint(tmp_path)[0]) == ['a.w', *(f'model.{name}' for name in VARIABLES)]
    assert tf_prefix(tmp_path / 'a.pth') is None


def test_refusals(tmp_path):
    prefix = write(tmp_path / 'm')
    index, data = tmp_path / 'm.index', tmp_path / 'm.data-00000-of-00001'
    whole = index.read_bytes()
    shutil.copy(data, tmp_path / 'kept')
    data.write_bytes(data.read_bytes()[:-40])
    with pytest.raises(CheckpointError, match=r'm: the data of net/layer2/\w+ are incomplete'):
        read_checkpoint(prefix)
    data.unlink()
    with pytest.raises(CheckpointError, match=r'm\.data-00000-of-00001: missing; a TensorFlow checkpoint is'):
        read_checkpoint(prefix)
    shutil.copy(tmp_path / 'kept', data)
    index.write_bytes(whole[:-20])
    with pytest.raises(CheckpointError, match=r'm\.index: not an index of a TensorFlow checkpoint, or cut'):
        read_checkpoint(index)
    index.write_bytes(whole[:30] + whole[-48:])
    with pytest.raises(CheckpointError, match=r'm\.index: incomplete or damaged'):
        read_checkpoint(index)
    write(prefix, compression=1)
    with pytest.raises(CheckpointError, match=r'm\.index: the index is compressed'):
        read_checkpoint(index)
    write(prefix, kind=99)
    with pytest.raises(CheckpointError, match=r'm\.index: net/layer10/kernel is partitioned, or of the type number 99'):
        read_checkpoint(index)
    index.unlink()
    with pytest.raises(CheckpointError, match=r'm\.index: missing'):
        read_checkpoint(data)


@pytest.mark.data
def test_authors_files(data_dir):
    """Numbers that TensorFlow 2.21 gives for all variables of the files."""
    sums = {'CUFD': (147, 667108), 'MURF': (65, 116123), 'PMGI': (74, 42401), 'SDNet': (32, 67091)}
    sums |= {'STDFusionNet': (72, 282513), 'U2Fusion': (20, 659217)}
    for name, (count, values) in sums.items():
        state, _ = read_checkpoint(data_dir / 'zoo' / name)
        assert (len(state), sum(v.numel() for v in state.values())) == (count, values)
        assert all(torch.isfinite(v).all() for v in state.values())
    kernel = state['Generator_1/decoder/conv2_4/kernel']
    assert kernel.shape == (3, 3, 32, 1)
