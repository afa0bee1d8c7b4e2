"""Cells are trained, tested, resumed and claimed."""

import fcntl
import json
from pathlib import Path

import pytest
from mmengine.config import Config

from mmfusion.comparison.cells import Cell, CellError
from mmfusion.comparison.running import last_checkpoint, run_cell
from mmfusion.comparison.variants import Variant


@pytest.fixture
def cell(tmp_path):
    return Cell(Variant('visible', 'visible'), 0, tmp_path / 'cell')


def tools(folder, train):
    """A folder with a stand-in for tools/train.py; what it prints is in the log."""
    folder.mkdir(exist_ok=True)
    (folder / 'train.py').write_text(f'import sys, pathlib, json\ncell = pathlib.Path(sys.argv[1]).parent\n{train}\n')
    return folder


TRAIN = """
print(*sys.argv[2:])
(cell / 'train').mkdir(exist_ok=True)
(cell / 'train/epoch_1.pth').touch()
(cell / 'train/last_checkpoint').write_text('/where/it/was/epoch_1.pth')
"""


TEST = "(cell / 'metrics.json').write_text(json.dumps(dict(mIoU=50.0)))"


def test_a_failed_cell_shows_the_end_of_its_log_and_is_resumed(cell, tmp_path):
    fails = tools(tmp_path / 'tools', TRAIN + "print('what went wrong')\nsys.exit(3)")
    with pytest.raises(CellError, match=r'(?s)train.py ended with code 3.*train.log:.*\n    what went wrong'):
        run_cell(cell, Config(), fails)
    assert cell.result() is None
    assert cell.begun
    said = []
    run_cell(cell, Config(), tools(tmp_path / 'tools', TRAIN + TEST), say=said.append)
    assert said == ['visible, seed 0: training, resumed from epoch_1.pth']
    log = (cell.folder / 'train.log').read_text().splitlines()
    assert log[-1] == f'--resume {cell.folder}/train/epoch_1.pth'
    assert cell.result() == dict(mIoU=50)
    run_cell(cell, Config(), tmp_path / 'none')  # it has a result


def test_old_metrics_are_not_taken_for_new_ones(cell, tmp_path):
    cell.folder.mkdir()
    (cell.folder / 'metrics.json').write_text('{"mIoU": 1}')
    with pytest.raises(CellError, match='left no metrics'):
        run_cell(cell, Config(), tools(tmp_path / 'tools', TRAIN))
    with pytest.raises(CellError, match='no metric of the task, but aAcc'):
        run_cell(cell, Config(), tools(tmp_path / 'tools', TRAIN + TEST.replace('mIoU', 'aAcc')))


def test_the_best_checkpoint_is_tested_by_itself(cell, tmp_path):
    folder = tools(tmp_path / 'tools', TRAIN)
    with pytest.raises(CellError, match=r'expected one best_\*.pth, found none'):
        run_cell(cell, Config(), folder, 'best')
    (cell.folder / 'train/best_mIoU_epoch_7.pth').touch()
    (folder / 'test.py').write_text(f'import sys, pathlib, json\ncell = pathlib.Path(sys.argv[1]).parent\n{TEST}')
    run_cell(cell, Config(), folder, 'best')
    assert json.loads(cell.file.read_text())['checkpoint'] == 'best_mIoU_epoch_7.pth'


def test_two_processes_are_never_at_one_cell(cell, tmp_path):
    cell.folder.mkdir()
    with open(cell.folder / 'lock', 'w') as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(CellError, match='another process is at this cell'):
            run_cell(cell, Config(), tmp_path / 'none')


@pytest.mark.skipif(not Path('/proc/self/fd').is_dir(), reason='no /proc to see open files by')
def test_the_claim_lives_as_long_as_the_training(cell, tmp_path):
    """The training itself holds the lock, for the case that the tool is killed."""
    held = "open_files = [str(f.resolve()) for f in pathlib.Path('/proc/self/fd').iterdir()]\n"
    held += "print('held:', str((cell / 'lock').resolve()) in open_files)\n"
    run_cell(cell, Config(), tools(tmp_path / 'tools', held + TRAIN + TEST))
    assert 'held: True' in (cell.folder / 'train.log').read_text()


def test_last_checkpoint(tmp_path):
    assert last_checkpoint(tmp_path) is None
    (tmp_path / 'last_checkpoint').write_text('/elsewhere/epoch_4.pth\n')
    assert last_checkpoint(tmp_path) is None  # removed, or never complete
    (tmp_path / 'epoch_4.pth').touch()
    assert last_checkpoint(tmp_path) == tmp_path / 'epoch_4.pth'
