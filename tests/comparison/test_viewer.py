"""mmfusion view: what the page shows, without gradio; the page itself where gradio is installed."""

import importlib.util

import numpy as np
import pytest

from mmfusion.cli import view
from mmfusion.comparison import viewer as module
from mmfusion.comparison.entrants import Entrant, open_data
from mmfusion.comparison.viewer import PairViewer, build_page
from mmfusion.utils import read_infrared, read_visible, write_image

pytestmark = pytest.mark.usefixtures('one_thread')


@pytest.fixture
def viewer(pairs):
    for name in 'abc':
        write_image(
            pairs / 'given' / f'{name}.png', np.full(read_visible(pairs / f'vi/{name}.png').shape, 60, np.uint8)
        )
    config = pairs / 'average.py'
    config.write_text("model = dict(type='mmfusion.ImageFuser', network=dict(type='mmfusion.AverageNetwork'))")
    entrants = [Entrant('average', str(config), 'random'), Entrant('given', folder=pairs / 'given')]
    return PairViewer(open_data(pairs), entrants, 'cpu')


def test_images_of_a_pair(viewer, pairs):
    assert (viewer.names, viewer.methods) == (['a', 'b', 'c'], ['average', 'given'])
    assert (viewer.neighbour('c', 1), viewer.neighbour('a', -1)) == ('a', 'c')
    visible, infrared = viewer.sources('b')
    np.testing.assert_array_equal(visible[..., ::-1], read_visible(pairs / 'vi/b.png'))
    np.testing.assert_array_equal(infrared[..., 1], read_infrared(pairs / 'ir/b.bmp'))
    fused, seconds = viewer.fused('b', 'average')
    assert (fused.shape, fused.dtype, seconds > 0) == (visible.shape, np.uint8, True)
    assert viewer.fused('b', 'average')[0] is fused  # going back fuses nothing
    captions = [caption for _, caption in viewer.side_by_side('b')]
    assert captions[:2] == ['visible', 'infrared']
    assert captions[2].startswith('average, ')
    assert captions[3] == 'given'


def test_fading_from_visible_over_fused_to_infrared(viewer):
    visible, infrared = viewer.sources('a')
    np.testing.assert_array_equal(viewer.blend('a', 'given', 0), visible)
    np.testing.assert_array_equal(viewer.blend('a', 'given', 0.5), viewer.fused('a', 'given')[0])
    np.testing.assert_array_equal(viewer.blend('a', 'given', 1), infrared)
    half = viewer.blend('a', 'given', 0.25).astype(int)
    assert abs(half - (visible.astype(int) + 60) / 2).max() <= 1


def test_a_folder_that_lacks_an_image_is_named(viewer, pairs):
    (pairs / 'given/b.png').unlink()
    with pytest.raises(ValueError, match=r'given: no fused image of 1 of the pairs: b\.'):
        PairViewer(open_data(pairs), [Entrant('given', folder=pairs / 'given')])


def test_a_missing_package_is_one_sentence(pairs, monkeypatch, capsys):
    monkeypatch.setattr(module, 'find_spec', lambda name: None)
    assert view.main(['--vi', str(pairs / 'vi'), '--ir', str(pairs / 'ir')]) == 1
    assert capsys.readouterr().err == ("error: mmfusion view needs the package gradio: pip install 'mmfusion[view]'.\n")


@pytest.mark.skipif(importlib.util.find_spec('gradio') is None, reason='gradio is not installed (mmfusion[view])')
def test_page(viewer):
    page = build_page(viewer)
    shown = {block.label for block in page.blocks.values() if getattr(block, 'label', None)}
    assert {'visible | fused', 'infrared | fused', 'side by side', 'Method'} <= shown
    name, method, position = 'a', 'given', 0.5
    functions = {f.fn.__name__: f.fn for f in page.fns.values()}
    assert functions  # what the events call, called as they do
    loaded = next(f for f in page.fns.values() if len(f.outputs) == 4)
    (visible, fused), (_, again), faded, gallery = loaded.fn(name, method, position)
    np.testing.assert_array_equal(fused, again)
    np.testing.assert_array_equal(fused, faded)
    np.testing.assert_array_equal(visible, viewer.sources(name)[0])
    assert len(gallery) == 4
