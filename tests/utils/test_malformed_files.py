"""Damaged images and label files of every kind, made by seeded mutation, end in an image or in one sentence.

python tests/utils/test_malformed_files.py 500       # more than the suite has time for
"""

import io
import json
import sys
import warnings
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from mmfusion.datasets.boxes import BoxSource
from mmfusion.utils import (
    image_size,
    read_four_channels,
    read_infrared,
    read_label_map,
    read_mask,
    read_names,
    read_shown,
    read_visible,
)

COUNT = 60
XML = """<annotation><size><width>32</width><height>24</height><depth>3</depth></size>
<object><name>car</name><difficult>0</difficult>
<bndbox><xmin>3</xmin><ymin>4</ymin><xmax>20</xmax><ymax>18</ymax></bndbox></object></annotation>"""
YOLO = b'0 0.5 0.5 0.4 0.4\n1 0.2 0.3 0.1 0.2 0.9\n'
COCO = dict(
    images=[dict(id=1, file_name='a.png', width=32, height=24)],
    annotations=[dict(id=1, image_id=1, category_id=1, bbox=[3, 4, 17, 14], area=238, iscrowd=0)],
    categories=[dict(id=1, name='car')],
)


def encoded(suffix, image):
    return cv2.imencode(suffix, image)[1].tobytes()


def array_file(values):
    file = io.BytesIO()
    np.save(file, values)
    return file.getvalue()


def whole_files():
    """Suffix and bytes of files that are read as they are."""
    rng = np.random.default_rng(0)
    colour, grey = rng.integers(0, 256, (24, 32, 3), np.uint8), rng.integers(0, 256, (24, 32), np.uint8)
    deep = rng.integers(0, 65536, (24, 32), np.uint16)
    palette = io.BytesIO()
    Image.fromarray(grey % 4).convert('P').save(palette, 'png')
    files = [(suffix, encoded(suffix, colour)) for suffix in ('.png', '.jpg', '.tif', '.bmp', '.webp', '.ppm')]
    files += [(suffix, encoded(suffix, grey)) for suffix in ('.png', '.tif', '.pgm')]
    files += [(suffix, encoded(suffix, deep)) for suffix in ('.png', '.tif', '.pgm')]
    files += [('.png', palette.getvalue()), ('.npy', array_file(colour)), ('.npy', array_file(deep / 65535))]
    files += [
        ('.json', json.dumps(COCO).encode()),
        ('.xml', XML.encode()),
        ('.txt', b'0 0.5 0.5 0.4 0.4\n1 0.2 0.3 0.1 0.2 0.9\n'),
    ]
    return [*files, ('.csv', b'a.png\nb.png\n')]  # fmt: skip


def damaged(data, rng):
    """Cut, change, repeat, remove or exchange some bytes; numbers and marks of text become others."""
    data = bytearray(data)
    for _ in range(rng.integers(1, 4)):
        at = int(rng.integers(0, max(1, len(data))))
        kind = rng.integers(0, 7)
        if kind == 0:
            del data[at:]
        elif kind == 1:
            for k in rng.integers(0, max(1, len(data)), 8):
                data[k : k + 1] = bytes([rng.integers(0, 256)])
        elif kind == 2:
            data[at:at] = data[at : at + int(rng.integers(1, 40))]
        elif kind == 3:
            del data[at : at + int(rng.integers(1, 40))]
        elif kind == 4:  # heads decide about everything
            data[min(at, 40) % max(1, len(data)) :][:1] = bytes([rng.integers(0, 256)])
            data[at % 40 : at % 40 + 4] = rng.integers(0, 256, 4, np.uint8).tobytes()
        elif kind == 5:
            words = (b'-1', b'nan', b'1e999', b'null', b'[]', b'{}', b'"', b'\xff\xfe', b'9' * 30, b'\0')
            data[at : at + 2] = words[rng.integers(0, len(words))]
        else:
            old = (b'"bbox"', b'1', b'0', b'xmin', b'car', b'images', b',', b':', b'<', b'.')
            data = bytearray(bytes(data).replace(old[rng.integers(0, len(old))], b'' if at % 2 else b'x', 1))
    return bytes(data)


def boxes_of(file):
    folder = file if file.suffix == '.json' else file.parent
    image = file.with_name('a.png')
    source = BoxSource(folder, file.suffix)
    return source.read('a', ['car', 'person'], image) if source.has('a') else []


READERS = {
    'image': [
        read_visible, read_infrared, read_four_channels, read_mask, read_label_map, image_size,
        lambda file: read_infrared(file, 'stretch'),
        lambda file: read_infrared(file, ir_range=('1%', '99%'), ir_colormap='inferno'),
        lambda file: read_shown(file, 'result'),
    ],
    'boxes': [boxes_of],
    'names': [read_names],
}  # fmt: skip
KINDS = {'.json': 'boxes', '.xml': 'boxes', '.txt': 'boxes', '.csv': 'names'}


def try_file(folder, seed):
    """Damage one file, and read it in all ways.

    Returns:
        How many readers gave something; what is wrong, as text, or None.
    """
    rng = np.random.default_rng(seed)
    files = whole_files()
    suffix, data = files[seed % len(files)]
    folder = Path(folder) / str(seed)
    folder.mkdir()
    file = folder / f'a{suffix}'
    kind = KINDS.get(suffix, 'image')
    if kind == 'boxes':
        cv2.imwrite(str(folder / 'a.png'), np.zeros((24, 32), np.uint8))
    file.write_bytes(damaged(data, rng))
    read = 0
    for reader in READERS[kind]:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter('ignore')
                reader(file)
            read += reader is not image_size  # which gives (0, 0) of a damaged file
        except (ValueError, FileNotFoundError) as e:
            if str(folder) not in str(e):
                return read, f'{file}: not named in: {type(e).__name__}: {e}'
        except Exception as e:
            return read, f'{file}: {type(e).__name__}: {e}'
    return read, None


def test_whole_files_are_read(tmp_path):
    """Else damaged ones would be refused for another reason."""
    for k, (suffix, data) in enumerate(whole_files()):
        (tmp_path / str(k)).mkdir()
        file = tmp_path / str(k) / f'a{suffix}'
        cv2.imwrite(str(file.with_name('a.png')), np.zeros((24, 32), np.uint8))
        file.write_bytes(data)
        assert len(READERS[KINDS.get(suffix, 'image')][0](file)) >= 1


@pytest.mark.parametrize('first', range(0, COUNT, 20))
def test_damaged_files_are_read_or_named(tmp_path, first):
    found = [try_file(tmp_path, seed) for seed in range(first, first + 20)]
    assert [wrong for _, wrong in found if wrong] == []
    assert 0 < sum(read > 0 for read, _ in found) < 20 or first  # some damage is harmless


if __name__ == '__main__':
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        results = [try_file(folder, seed) for seed in range(int(sys.argv[1]))]
    faults = [wrong for _, wrong in results if wrong]
    print(
        *faults,
        f'{len(results)} files, {sum(r > 0 for r, _ in results)} read by some reader, {len(faults)} faults',
        sep='\n',
    )
    sys.exit(bool(faults))
