"""boxes_to_masks.py and prior_pca.py from the command line, with a tiny DINOv2 of random weights."""

import json

import numpy as np
import pytest

from mmfusion.datasets import M3FDDataset
from mmfusion.utils import read_label_map, read_visible, write_image

TINY = """
prior = dict(
    type='mmfusion.DINOv2Prior',
    backbone=dict(arch=dict(embed_dims=16, num_layers=2, num_heads=2, feedforward_channels=32), img_size=28),
    weights='random',
)
"""


@pytest.fixture
def prior(tmp_path):
    (tmp_path / 'tiny.py').write_text(TINY)
    return str(tmp_path / 'tiny.py')


def annotate(root, name, *objects):
    items = ''.join(
        f'<object><name>{kind}</name><difficult>{int(hard)}</difficult><bndbox>'
        + ''.join(f'<{k}>{v}</{k}>' for k, v in zip(('xmin', 'ymin', 'xmax', 'ymax'), box, strict=True))
        + '</bndbox></object>'
        for kind, box, hard in objects
    )
    file = root / 'M3FD_Detection/Annotation' / f'{name}.xml'
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f'<annotation>{items}</annotation>')


@pytest.fixture
def m3fd(tmp_path):
    """Two pairs in M3FD's layout, with a person and a car in the first."""
    root, rng = tmp_path / 'M3FD', np.random.default_rng(0)
    for name in ('00000', '00001'):
        write_image(root / 'M3FD_Detection/Vis' / f'{name}.png', rng.integers(0, 256, (60, 80, 3), np.uint8))
        write_image(root / 'M3FD_Detection/Ir' / f'{name}.png', rng.integers(0, 256, (60, 80), np.uint8))
    annotate(root, '00000', ('People', (5, 5, 25, 45), False), ('Car', (30, 10, 70, 50), False))
    annotate(root, '00001')
    return root


class TestBoxesToMasks:
    @pytest.fixture
    def run(self, load_tool, prior, tmp_path, m3fd):
        tool = load_tool('tools/dataset_converters/boxes_to_masks.py')

        def run(*args, root=m3fd, weights=('--prior', prior)):
            out = tmp_path / 'labels'
            code = tool.main(['M3FDDataset', str(root), '--out', str(out), '--crop-size', '56', *weights, *args])
            return code, out

        return run

    def test_label_maps(self, run, m3fd, capsys):
        code, out = run()
        assert code == 0
        assert '2 label maps made, 0 were there; 2 boxes' in capsys.readouterr().out
        labels = read_label_map(out / '00000.png')
        assert labels.shape == (60, 80)
        assert set(np.unique(labels)) == {0, 1, 2}
        assert set(np.unique(labels[5:45, 5:25])) <= {0, 1}
        assert not labels[:, 72:].any()
        assert not read_label_map(out / '00001.png').any()
        record = json.loads((out / 'masks.json').read_text())['settings']
        assert record['classes'] == ['background', *M3FDDataset.METAINFO['classes']]
        assert record['prior']['name'].endswith('random)')

    def test_difficult_objects_are_ignored(self, run, m3fd):
        annotate(m3fd, '00000', ('People', (5, 5, 25, 45), True))
        _, out = run()
        assert set(np.unique(read_label_map(out / '00000.png'))) == {0, 255}

    @pytest.mark.parametrize('modality', ['vi', 'ir'])
    def test_modality(self, run, m3fd, modality):
        """Only the images that are asked for have to be readable."""
        other = m3fd / 'M3FD_Detection' / {'vi': 'Ir', 'ir': 'Vis'}[modality] / '00000.png'
        other.write_bytes(b'no image')
        code, out = run('--modality', modality)
        assert code == 0
        assert read_label_map(out / '00000.png').any()

    def test_what_is_there_is_kept(self, run, capsys):
        _, out = run()
        (out / '00001.png').unlink()
        before = (out / '00000.png').stat().st_mtime_ns
        assert run()[0] == 0
        assert '1 label maps made, 1 were there' in capsys.readouterr().out
        assert (out / '00000.png').stat().st_mtime_ns == before

    def test_other_settings_are_refused(self, run, capsys):
        _, out = run()
        before = (out / '00000.png').read_bytes()
        assert run('--threshold', '0.7')[0] == 1
        assert 'made with other settings: threshold was' in capsys.readouterr().err
        assert (out / '00000.png').read_bytes() == before
        assert run('--threshold', '0.7', '--overwrite')[0] == 0
        (out / 'masks.json').unlink()
        assert run()[0] == 1
        assert 'but no masks.json says how they were made' in capsys.readouterr().err

    @pytest.mark.parametrize(
        ('box', 'message'), [((90, 5, 99, 9), 'lies outside of its image of 80×60'), ((5, 5, 5, 9), 'without extent')]
    )
    def test_bad_boxes(self, run, m3fd, capsys, box, message):
        annotate(m3fd, '00001', ('Car', box, False))
        assert run()[0] == 1
        error = capsys.readouterr().err
        assert message in error
        assert '00001' in error

    def test_errors(self, run, tmp_path, load_tool, capsys):
        assert run(weights=('--weights', 'nowhere.pth'))[0] == 1
        assert 'nowhere.pth' in capsys.readouterr().err
        tool = load_tool('tools/dataset_converters/boxes_to_masks.py')
        for name in ('TNODataset', 'Nothing', 'SyntheticDataset'):
            assert tool.main([name, str(tmp_path), '--out', str(tmp_path / 'o'), '--weights', 'random']) == 1
            assert name in capsys.readouterr().err
        with pytest.raises(SystemExit):
            run('--threshold', '1.5')


class TestPriorPCA:
    @pytest.fixture
    def tool(self, load_tool):
        return load_tool('tools/analysis_tools/prior_pca.py')

    def test_pictures_and_panel(self, tool, m3fd, prior, tmp_path, capsys):
        images = [str(m3fd / 'M3FD_Detection' / part / '00000.png') for part in ('Vis', 'Ir')]
        out = tmp_path / 'pca'
        assert tool.main([*images, '--out', str(out), '--prior', f'A={prior}', f'B={prior}', '--width', '60']) == 0
        assert capsys.readouterr().out.strip() == str(out / 'panel.png')
        for name in ('Vis_00000', 'Ir_00000'):
            picture = read_visible(out / 'A' / f'{name}.png')
            assert picture.shape == (60, 80, 3)
            assert (picture == read_visible(out / 'B' / f'{name}.png')).all()
        assert read_visible(out / 'panel.png').shape[1] >= 3 * 60
        # Stretched over both pictures together.
        both = np.stack([read_visible(out / 'A' / f'{name}.png') for name in ('Vis_00000', 'Ir_00000')])
        assert both.std() > 10

    def test_errors(self, tool, m3fd, prior, tmp_path, capsys):
        image = str(m3fd / 'M3FD_Detection/Vis/00000.png')
        for args, message in (
            ([image, '--prior', prior], 'expected NAME=FILE'),
            ([image, '--prior', 'A=nowhere.py'], 'nowhere.py: no such config file'),
            ([image, image, '--prior', f'A={prior}'], 'two of the images have the same name'),
            (['nowhere.png', '--prior', f'A={prior}'], 'nowhere.png: no such file'),
        ):
            assert tool.main([*args, '--out', str(tmp_path / 'pca')]) == 1
            assert message in capsys.readouterr().err

    def test_default_priors(self, tool):
        args = tool.parse_args(['a.png', '--out', 'o', '--clip', 'random', '--clip-layer', '7'])
        clip, dino = tool.sources(args).values()
        assert clip == dict(type='mmfusion.CLIPPrior', pretrained='random', layers=(7,))
        assert dino == dict(type='mmfusion.DINOv2Prior', weights='dinov2', layers=(12,))
