"""Text files as people have them."""

import codecs
import os
from pathlib import Path
from runpy import run_path

import numpy as np
import pytest

from mmfusion.datasets.boxes import read_yolo
from mmfusion.registry import DATASETS
from mmfusion.utils import read_names, read_text, replace_all, write_image

NAMES = '00001D\nstreet/东门.png\n'


@pytest.mark.parametrize(
    'data',
    [
        NAMES.encode(),
        codecs.BOM_UTF8 + NAMES.encode(),
        NAMES.encode('utf-16'),
        NAMES.encode('utf-16-le'),
        NAMES.encode('utf-16-be'),
        NAMES.encode('gbk'),
        NAMES.replace('\n', '\r\n').encode(),
        NAMES.replace('/', '\\').encode(),
        f'"{NAMES.splitlines()[0]}"\n{NAMES.splitlines()[1]}\n\n'.encode(),
    ],
)
def test_names_in_any_encoding(data, tmp_path):
    (tmp_path / 'list.txt').write_bytes(data)
    assert [p.as_posix() for p in read_names(tmp_path / 'list.txt')] == NAMES.split()


@pytest.mark.skipif(os.name == 'nt', reason='names are text there')
@pytest.mark.parametrize('name', [b'caf\xe9', b'caf\xe9s'], ids=['no text', 'text in GB 18030'])
def test_names_as_their_bytes_are(name, tmp_path, monkeypatch):
    """A list made by `ls` of images that came from a system in Latin-1."""
    for folder in ('vi', 'ir'):
        for stem in (name, b'b'):
            write_image(tmp_path / folder / os.fsdecode(stem + b'.png'), np.full((8, 8), 7, np.uint8))
    (tmp_path / 'list.txt').write_bytes(name + b'.png\n')
    (tmp_path / 'b.txt').write_bytes(b'b\n')
    dataset = DATASETS.build(dict(type='FusionDataset', data_root=str(tmp_path), ann_file='list.txt', pipeline=[]))
    assert [dataset.get_data_info(i)['img_id'] for i in range(len(dataset))] == [os.fsdecode(name)]
    monkeypatch.chdir(tmp_path)
    split = run_path(str(Path(__file__).parents[2] / 'tools/dataset_converters/make_split.py'))['main']
    assert split(['x', '--images', 'vi', '--every', '2']) == 0
    assert (tmp_path / 'x_train.txt').read_bytes() == b'b\n'
    assert (tmp_path / 'x_val.txt').read_bytes() == name + b'\n'
    (tmp_path / 'vi/c.png').write_bytes((tmp_path / 'vi/b.png').read_bytes())
    assert split(['y', '--images', 'vi', '--every', '2', '--without', 'x_val.txt']) == 0
    assert (tmp_path / 'y_train.txt').read_bytes() + (tmp_path / 'y_val.txt').read_bytes() == b'b\nc\n'


def test_what_is_no_text_is_named(tmp_path):
    (tmp_path / 'x.txt').write_bytes(b'\xff\xff\xfe\x00\x81')
    with pytest.raises(ValueError, match=r'x\.txt: not a text file in UTF-8'):
        read_text(tmp_path / 'x.txt')


def test_lists_and_labels_of_datasets_are_read_so(tmp_path):
    for folder in ('vi', 'ir'):
        for name in 'ab':
            write_image(tmp_path / folder / f'{name}.png', np.full((8, 8), 7, np.uint8))
    (tmp_path / 'list.txt').write_bytes('b\r\n'.encode('utf-16'))
    dataset = DATASETS.build(dict(type='FusionDataset', data_root=str(tmp_path), ann_file='list.txt', pipeline=[]))
    assert [dataset.get_data_info(i)['img_id'] for i in range(len(dataset))] == ['b']
    (tmp_path / 'b.txt').write_bytes(codecs.BOM_UTF8 + b'0 0.5 0.5 0.5 0.5\n')
    assert read_yolo(tmp_path / 'b.txt', ('person',), tmp_path / 'vi/b.png')[0][0] == 'person'


def test_parts_of_names_are_replaced_in_the_order_given():
    names = {'encoder.0.': 'first.', 'encoder.': 'rest.', 'first.conv': 'first.head'}
    assert replace_all('encoder.0.conv.weight', names) == 'first.head.weight'
    assert replace_all('encoder.1.conv.weight', names) == 'rest.1.conv.weight'
