"""tno.py: the scenes of TNO's archive, laid out as pairs."""

import cv2
import numpy as np
import pytest


@pytest.fixture
def tool(load_tool):
    return load_tool('tools/dataset_converters/tno.py')


@pytest.fixture
def tree(tool, tmp_path):
    """The archive with small images: grey, or of three equal channels; some thermal ones with rows to be cut."""
    for k, row in enumerate(tool.read_scenes(tool.SCENES)):
        image = np.full((6, 5), 2 * k, np.uint8)
        image[0] = 255
        thermal = image // 2
        if int(row['first_row']):
            thermal = np.concatenate([np.zeros((int(row['first_row']), 5), np.uint8), thermal, image[:3]])
        if k % 3 == 0:
            image = np.repeat(image[..., None], 3, 2)
        for key, content in (('visible', image), ('infrared', thermal)):
            file = tmp_path / 'tree' / row[key]
            file.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(file), content)
    return tmp_path / 'tree'


def test_scenes(tool, tree, tmp_path, capsys):
    assert tool.main([str(tree), '--out', str(tmp_path / 'out')]) == 0
    assert '55 pairs' in capsys.readouterr().out
    names = (tool.SCENES.parent / 'tno_55.txt').read_text().split()
    for part in ('vi', 'ir'):
        assert sorted(file.stem for file in (tmp_path / 'out' / part).iterdir()) == sorted(names)
    for k, name in enumerate(names):
        vi, ir = (cv2.imread(str(tmp_path / 'out' / part / f'{name}.png'), 0) for part in ('vi', 'ir'))
        assert (vi.shape, vi[0, 0], vi[-1, 0]) == ((6, 5), 255, 2 * k)
        assert np.array_equal(ir, vi // 2), name


def test_missing_and_unequal_files(tool, tree, tmp_path, capsys):
    (tree / 'tank/LWIR.tif').unlink()
    assert tool.main([str(tree), '--out', str(tmp_path / 'out')]) == 1
    assert '1 of 110 files are missing: tank/LWIR.tif. Expected the tree' in capsys.readouterr().err
    assert tool.main([str(tree), '--out', str(tmp_path / 'out'), '--allow-missing']) == 0
    assert '54 pairs' in capsys.readouterr().out
    cv2.imwrite(str(tree / 'tank/LWIR.tif'), np.zeros((7, 5), np.uint8))
    assert tool.main([str(tree), '--out', str(tmp_path / 'out')]) == 1
    assert 'Vis.tif is 5×6 but tank/LWIR.tif 5×7 (width×height); expected one size' in capsys.readouterr().err
    (tmp_path / 'bad.csv').write_text('name,visible,infrared,first_row\na,b,c,x\n')
    assert tool.main([str(tree), '--out', str(tmp_path / 'out'), '--scenes', str(tmp_path / 'bad.csv')]) == 1
    assert 'bad.csv, line 2: expected name,visible,infrared,first_row' in capsys.readouterr().err
