"""Read TensorFlow checkpoints (``X.index`` and ``X.data-00000-of-00001``) without TensorFlow.

The index is a table in LevelDB's form: blocks of sorted keys, each key without what it shares with the one before it, and
an index block that says where the others lie. Its values are protocol buffers (``tensorflow/core/protobuf/
tensor_bundle.proto``) that give a variable's type, shape and place in the data files, which are raw values.
"""

import re
import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

_MAGIC = 0xDB4775248B80FB57
_FOOTER = 48
# DataType of tensorflow/core/framework/types.proto → NumPy's. bfloat16 has none: its bits are those of int16.
_TYPES = {
    1: '<f4',
    2: '<f8',
    3: '<i4',
    4: 'u1',
    5: '<i2',
    6: 'i1',
    9: '<i8',
    10: '?',
    14: '<i2',
    17: '<u2',
    19: '<f2',
    22: '<u4',
    23: '<u8',
}
_STRING, _BFLOAT16 = 7, 14


def tf_prefix(path: str | Path) -> Path | None:
    """Find a TensorFlow checkpoint's prefix; None where it is none.

    The path is the prefix itself, its ``.index``, or one of its data files (``.data-…``).
    """
    path = Path(path)
    prefix = path.with_name(re.sub(r'\.(index|data-\d{5}-of-\d{5})$', '', path.name))
    if prefix == path:
        return prefix if Path(f'{prefix}.index').is_file() and not path.exists() else None
    return prefix


def read_tf_checkpoint(prefix: str | Path) -> dict[str, torch.Tensor]:
    """Read all variables of a TensorFlow checkpoint, optimizer slots included.

    They are in TensorFlow's own layout (height, width, in, out). Variables of text are left out.

    Raises:
        ValueError: If the index or a data file is missing, cut, compressed, or of an unknown form.
    """
    index = Path(f'{prefix}.index')
    try:
        entries = dict(_table(index.read_bytes()))
    except (IndexError, struct.error) as e:
        raise ValueError(f'{index}: incomplete or damaged ({e}). Copy or download it again.') from e
    except ValueError as e:
        raise ValueError(f'{index}: {e}') from e
    header = _fields(entries.pop(b'', b''))
    if header.get(2, [0])[0] != 0:
        raise ValueError(f'{index}: its values are big-endian, expected little-endian.')
    shards = header.get(1, [1])[0]
    files, state = {}, {}
    for key, value in sorted(entries.items()):
        entry, name = _fields(value), key.decode()
        kind, shard, offset, size = (entry.get(field, [0])[0] for field in (1, 3, 4, 5))
        if kind == _STRING:
            continue
        if kind not in _TYPES or 7 in entry:
            raise ValueError(f'{index}: {name} is partitioned, or of the type number {kind}: not supported.')
        shape = [_signed(_fields(dim).get(1, [0])[0]) for dim in _fields(entry.get(2, [b''])[0]).get(2, [])]
        if shard not in files:
            files[shard] = _data(Path(f'{prefix}.data-{shard:05d}-of-{shards:05d}'))
        raw = files[shard][offset : offset + size]
        array = np.frombuffer(raw, _TYPES[kind]) if len(raw) == size else np.empty(0)
        if len(raw) != size or array.size != np.prod(shape, dtype=np.int64):
            raise ValueError(f'{prefix}: the data of {name} are incomplete. Copy or download the files again.')
        tensor = torch.from_numpy(array.reshape(shape).copy())
        state[name] = tensor.view(torch.bfloat16) if kind == _BFLOAT16 else tensor
    return state


def _data(file: Path) -> memoryview:
    if not file.is_file():
        raise ValueError(f'{file}: missing; a TensorFlow checkpoint is its .index and its .data files. Copy it, too.')
    return memoryview(file.read_bytes())


def _table(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Keys and values of a table, in order."""
    if len(data) < _FOOTER or struct.unpack('<Q', data[-8:])[0] != _MAGIC:
        raise ValueError('not an index of a TensorFlow checkpoint, or cut. Copy or download it again.')
    footer = data[-_FOOTER:]
    position = 0
    for _ in range(2):  # of the meta index, which nobody needs
        _, position = _varint(footer, position)
    for _, handle in _block(data, *_handle(footer, position)):
        yield from _block(data, *_handle(handle, 0))


def _handle(data: bytes, position: int) -> tuple[int, int]:
    offset, position = _varint(data, position)
    return offset, _varint(data, position)[0]


def _block(data: bytes, offset: int, size: int) -> Iterator[tuple[bytes, bytes]]:
    """Keys and values of a block, whose keys share their beginnings."""
    if data[offset + size] != 0:
        raise ValueError('the index is compressed, which is not supported.')
    block = data[offset : offset + size]
    end = size - 4 * (1 + struct.unpack('<I', block[-4:])[0])
    key, position = b'', 0
    while position < end:
        shared, position = _varint(block, position)
        fresh, position = _varint(block, position)
        length, position = _varint(block, position)
        key = key[:shared] + block[position : position + fresh]
        position += fresh
        yield key, block[position : position + length]
        position += length


def _varint(data: bytes, position: int) -> tuple[int, int]:
    """A number in groups of 7 bits, lowest first; and what follows."""
    value = shift = 0
    while True:
        byte = data[position]
        value |= (byte & 127) << shift
        position, shift = position + 1, shift + 7
        if byte < 128:
            return value, position


def _signed(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value


def _fields(message: bytes) -> dict[int, list[int | bytes]]:
    """Fields of a protocol buffer: number → values; fixed ones as bytes."""
    out, position = {}, 0
    while position < len(message):
        tag, position = _varint(message, position)
        number, wire = tag >> 3, tag & 7
        if wire == 0:
            value, position = _varint(message, position)
        elif wire in (1, 2, 5):
            length = {1: 8, 5: 4}.get(wire)
            if length is None:
                length, position = _varint(message, position)
            value, position = message[position : position + length], position + length
        else:
            raise ValueError(f'a protocol buffer with the wire type {wire}: not of the form expected here.')
        out.setdefault(number, []).append(value)
    return out
