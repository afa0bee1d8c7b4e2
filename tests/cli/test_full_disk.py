"""A full disk and a read-only folder end in one sentence, whatever writes there."""

import subprocess
import sys

import numpy as np
import pytest

from mmfusion import cli
from mmfusion.apis.video import video_writer
from mmfusion.utils import WriteError, write_image

AVERAGE = "model = dict(type='mmfusion.ImageFuser', network=dict(type='mmfusion.AverageNetwork'))"
TRAIN = """
_base_ = ['mmfusion::lite/lite.py']
pairs = dict(type='mmfusion.FusionDataset', data_root={root!r}, pipeline=_base_.test_pipeline)
train_dataloader = dict(batch_size=1, num_workers=0, persistent_workers=False, dataset=dict(_delete_=True, **pairs))
val_dataloader = val_cfg = val_evaluator = test_dataloader = test_cfg = test_evaluator = None
train_cfg = dict(max_iters=1)
"""
MEASURE = '--metrics EN --workers 1'
RUNS = {
    'fuse': 'fuse average.py random --vi vi --ir ir --out {}',
    'evaluate': f'evaluate --vi vi --ir ir --fused a=vi {MEASURE} --out {{}}',
    'compare': f'compare --methods average.py:random --vi vi --ir ir --no-cost {MEASURE} --out {{}}',
    'video': 'video average.py random --vi vi --ir ir --out {}/fused.avi',
    'export': 'export average.py {}/average.torchscript --weights random',
    'train': 'train train.py --work-dir {}',
}


def fill(path):
    """Write until nothing more fits."""
    with open(path, 'wb', buffering=0) as file:
        while True:
            file.write(bytes(4096))


def run(command):
    """Exit code of a command; one verb ends by SystemExit, with its sentence."""
    try:
        return cli.main(command.split())
    except SystemExit as e:
        print(e, file=sys.stderr)
        return 1


@pytest.fixture
def disk(tmp_path, request):
    """A small disk: full, or read-only."""
    folder = tmp_path / 'disk'
    folder.mkdir()
    options = 'size=64k' + (',ro' if request.param == 'read-only' else '')
    done = subprocess.run(['mount', '-t', 'tmpfs', '-o', options, 'tmpfs', folder], capture_output=True, check=False)
    if done.returncode:
        pytest.skip('mounting a small disk needs root')
    try:
        if request.param == 'full':
            with pytest.raises(OSError, match='No space'):
                fill(folder / 'filler')
        yield folder
    finally:
        subprocess.run(['umount', '-l', folder], check=True)


@pytest.mark.parametrize('disk', ['full', 'read-only'], indirect=True)
def test_one_sentence(disk, tmp_path, monkeypatch, capsys, request):
    rng = np.random.default_rng(0)
    for name in 'ab':
        write_image(tmp_path / f'vi/{name}.png', rng.integers(0, 256, (32, 48, 3), np.uint8))
        write_image(tmp_path / f'ir/{name}.png', rng.integers(0, 256, (32, 48), np.uint8))
    (tmp_path / 'average.py').write_text(AVERAGE)
    (tmp_path / 'train.py').write_text(TRAIN.format(root=str(tmp_path)))
    monkeypatch.chdir(tmp_path)
    reason = 'no space left on device' if 'full' in request.node.name else 'read-only file system'
    for verb, command in RUNS.items():
        assert run(command.format('disk')) == 1, verb
        lines = capsys.readouterr().err.splitlines()
        said = [line for line in lines if 'rror' in line or 'Traceback' in line]
        assert len(said) == 1, (verb, lines)
        assert said[0].startswith('error: '), (verb, lines)
        assert any(reason in line and 'disk' in line for line in lines), (verb, lines)
        assert verb == 'train' or [f.name for f in disk.rglob('*') if f.is_file()] in ([], ['filler']), verb


@pytest.mark.parametrize('disk', ['full'], indirect=True)
def test_a_video_that_does_not_fit_is_noticed(disk):
    """OpenCV's writer says nothing."""
    (disk / 'filler').write_bytes(bytes(20000))
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)

    def record():
        with video_writer(disk / 'fused.avi', 10) as write:
            for _ in range(40):
                write(noise)

    with pytest.raises(WriteError, match=r'no space left on device\. Free some space|Is the disk full'):
        record()
    assert [file.name for file in disk.iterdir()] == ['filler']
