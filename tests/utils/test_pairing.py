"""Finding the images of folders, and pairing them by name, by patterns and in subfolders."""

import numpy as np
import pytest

from mmfusion.cli.fuse import find_pairs
from mmfusion.registry import DATASETS
from mmfusion.utils import NamePattern, list_images, pair_images, write_image
from mmfusion.utils.pairing import propose_patterns


@pytest.fixture
def rgb():
    return np.random.default_rng(0).integers(0, 256, (7, 11, 3), np.uint8)


@pytest.fixture
def folders(tmp_path, rgb):
    """Writes images of these names into vi and ir; gives both folders."""

    def make(vi, ir):
        for folder, names in (('vi', vi), ('ir', ir)):
            for name in names:
                write_image(tmp_path / folder / f'{name}.png', rgb)
        return tmp_path / 'vi', tmp_path / 'ir'

    return make


def test_listing(tmp_path, rgb):
    for name in ('b.png', 'a.JPG', '.hidden.png', 'c.d.bmp'):
        write_image(tmp_path / name, rgb)
    (tmp_path / 'notes.txt').touch()
    assert list(list_images(tmp_path)) == ['a', 'b', 'c.d']
    write_image(tmp_path / 'b.bmp', rgb)
    with pytest.raises(ValueError, match=r"b\.bmp and b\.png share the stem 'b'"):
        list_images(tmp_path)
    with pytest.raises(FileNotFoundError, match='no such folder'):
        list_images(tmp_path / 'nowhere')


def test_natural_order(tmp_path, rgb):
    names = ['frame1', 'frame2', 'frame10', 'frame010', 'frame11a', 'x', '7', '10']
    for name in names:
        write_image(tmp_path / f'{name}.png', rgb)
    expected = ['7', '10', 'frame1', 'frame2', 'frame010', 'frame10', 'frame11a', 'x']
    assert list(list_images(tmp_path)) == expected
    (tmp_path / 'ir').mkdir()
    for name in names:
        write_image(tmp_path / 'ir' / f'{name}.bmp', rgb)
    assert [stem for stem, *_ in pair_images(tmp_path, tmp_path / 'ir')] == expected


@pytest.mark.parametrize('missing', [False, True])
@pytest.mark.parametrize('empty', ['vi', 'ir'])
def test_an_empty_folder_is_named(folders, empty, missing):
    """Not a list of all images that the other folder holds."""
    vi, ir = folders(*([], ['a', 'b']) if empty == 'vi' else (['a', 'b'], []))
    (vi if empty == 'vi' else ir).mkdir()
    with pytest.raises(FileNotFoundError, match=rf'{empty}: no image \(.*in this folder'):
        pair_images(vi, ir, allow_missing=missing)
    with pytest.raises(FileNotFoundError, match=rf'{empty}: no image \(.*in this folder'):
        find_pairs(vi, ir, allow_missing=missing)


def test_one_folder_for_both(tmp_path, rgb):
    write_image(tmp_path / 'vi' / 'a.png', rgb)
    (tmp_path / 'link').symlink_to(tmp_path / 'vi')
    for ir in (tmp_path / 'vi', f'{tmp_path}/vi/', tmp_path / 'link'):
        with pytest.raises(ValueError, match=r'vi: given as the visible and as the infrared images.*--rgbt DIR'):
            pair_images(tmp_path / 'vi', ir)
    assert pair_images(tmp_path / 'vi') == [('a', *[tmp_path / 'vi' / 'a.png'] * 2)]


def test_folders_without_images_say_what_is_there(tmp_path, rgb):
    write_image(tmp_path / 'vi' / 'a.png', rgb)
    (tmp_path / 'ir' / 'set00').mkdir(parents=True)
    (tmp_path / 'ir' / 'a.mat').touch()
    with pytest.raises(FileNotFoundError, match=r'there are files of another suffix \(\.mat\) and folders.* \(set00\)'):
        pair_images(tmp_path / 'vi', tmp_path / 'ir')
    with pytest.raises(FileNotFoundError, match=r'ir: no image .*\.mat'):
        pair_images(tmp_path / 'ir')
    with pytest.raises(FileNotFoundError, match=r'a\.png: not a folder'):
        list_images(tmp_path / 'vi' / 'a.png')


def test_names_that_look_identical(tmp_path, rgb):
    """macOS writes an accent as a letter of its own, other systems do not."""
    composed, apart = 'Caf\u00e9', 'Cafe\u0301'
    write_image(tmp_path / 'vi' / f'{composed}.png', rgb)
    write_image(tmp_path / 'ir' / f'{apart}.png', rgb)
    assert [name for name, *_ in pair_images(tmp_path / 'vi', tmp_path / 'ir')] == [composed]
    (tmp_path / 'list.txt').write_text(f'{apart}.png\n', encoding='utf-8')
    dataset = DATASETS.build(dict(type='FusionDataset', data_root=str(tmp_path), ann_file='list.txt', pipeline=[]))
    assert dataset.get_data_info(0)['img_id'] == composed


def test_pairing(tmp_path, rgb):
    for folder, names in (('vi', ('1.png', '2.jpg')), ('ir', ('1.bmp', '2.png'))):
        for name in names:
            write_image(tmp_path / folder / name, rgb)
    pairs = pair_images(tmp_path / 'vi', tmp_path / 'ir')
    assert [(stem, vi.name, ir.name) for stem, vi, ir in pairs] == [('1', '1.png', '1.bmp'), ('2', '2.jpg', '2.png')]
    for k in range(12):
        write_image(tmp_path / 'vi' / f'x{k:02d}.png', rgb)
    with pytest.raises(ValueError, match=r'12 image\(s\) of .*vi have no counterpart .*ir: x00, x01.* and 2 more'):
        pair_images(tmp_path / 'vi', tmp_path / 'ir')
    (tmp_path / 'empty').mkdir()
    with pytest.raises(FileNotFoundError, match=r'no image .* in either folder'):
        pair_images(tmp_path / 'empty', tmp_path / 'empty')


@pytest.mark.parametrize(
    ('vi', 'ir', 'patterns'),
    [
        (['s1_VIS', 's2_VIS'], ['s1_IR', 's2_IR', 's3_IR'], ('{name}_VIS', '{name}_IR')),
        (['IMG_1', 'IMG_2'], ['img_1', 'img_2'], ('IMG_{name}', 'img_{name}')),
        (['00001', '00002'], ['00001_fused', '00002_fused'], ('{name}', '{name}_fused')),
        (
            ['FLIR_1_RGB', 'FLIR_2_RGB'],
            ['FLIR_1_PreviewData', 'FLIR_2_PreviewData'],
            ('{name}_RGB', '{name}_PreviewData'),
        ),
        (['a/visible/1', 'b/visible/1'], ['a/lwir/1', 'b/lwir/1'], ('{name}/visible/{frame}', '{name}/lwir/{frame}')),
        (['a_color', 'b_color'], ['a_thermo', 'b_thermo'], ('{name}_color', '{name}_thermo')),
        (['20240101_120000'], ['20240101_120001'], None),
        (['x', 'y'], ['p', 'q'], None),
        (['1', '2'], ['1', '3'], None),
    ],
)
def test_patterns_that_would_pair(vi, ir, patterns):
    assert propose_patterns(vi, ir) == patterns


def test_names_pair_by_patterns(folders):
    vi, ir = folders(['s1_VIS', 's2_VIS', 'notes'], ['sub/s1_IR', 's1_IR', 's2_IR'])
    with pytest.raises(
        ValueError, match=r"--vi-pattern '\{name\}_VIS' --ir-pattern '\{name\}_IR' would pair 2 of them .*vi_pattern"
    ):
        pair_images(vi, ir)
    with pytest.raises(ValueError, match=r'1 image\(s\) of .*ir have no counterpart in .*vi: sub/s1'):
        pair_images(vi, ir, '{name}_VIS', '{name}_IR')
    (ir / 'sub' / 's1_IR.png').unlink()
    assert [(n, v.name, i.name) for n, v, i in pair_images(vi, ir, '{name}_VIS', '{name}_IR')] == [
        ('s1', 's1_VIS.png', 's1_IR.png'),
        ('s2', 's2_VIS.png', 's2_IR.png'),
    ]
    with pytest.raises(
        ValueError, match=r"the pattern '\{name\}_RGB' fits none of its 3 images, such as notes, s1_VIS"
    ):
        list_images(vi, '{name}_RGB')


def test_one_folder_of_both_modalities(folders):
    vi, _ = folders(['set00/visible/1', 'set00/lwir/1', 'set01/visible/1', 'set01/lwir/1'], [])
    pairs = pair_images(vi, vi, '{name}/visible/{frame}', '{name}/lwir/{frame}')
    assert [name for name, *_ in pairs] == ['set00/1', 'set01/1']
    with pytest.raises(ValueError, match='told apart by --vi-pattern and --ir-pattern'):
        pair_images(vi, vi)


@pytest.mark.parametrize('text', ['VIS', '{name}_{name}', '{name', '{}_VIS', '{name}.png'])
def test_wrong_patterns_are_named(text):
    with pytest.raises(ValueError, match=r"pattern .*expected the files' names without suffix, with \{name\}"):
        NamePattern(text)


def test_subfolders_are_part_of_names(folders, rgb):
    vi, ir = folders(['b/2', 'b/10', 'a/x/2'], ['b/2', 'b/10', 'a/x/2'])
    (vi / 'loop').symlink_to(vi)
    write_image(vi / '.thumbs' / '2.png', rgb)
    assert [name for name, *_ in pair_images(vi, ir)] == ['a/x/2', 'b/2', 'b/10']
    write_image(vi / 'c.png', rgb)
    with pytest.warns(
        UserWarning, match=r'images of its subfolders \(a/x, b\) are left out, as there are images beside'
    ):
        assert list(list_images(vi)) == ['c']
    assert list(list_images(vi, '{name}')) == ['a/x/2', 'b/2', 'b/10', 'c']
