"""benchmarks/gpu.sh in its reduced form, on a CPU."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def gpu(out, *steps, **variables):
    """Run steps of the script; its exit code and what it printed."""
    path = f'{Path(sys.executable).parent}{os.pathsep}{os.environ["PATH"]}'  # torchrun
    environment = dict(os.environ, REDUCED='1', OUT=str(out), PYTHON=sys.executable, PATH=path, **variables)
    command = ['bash', str(ROOT / 'benchmarks/gpu.sh'), *steps]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.slow
def test_steps_without_data(tmp_path):
    code, text = gpu(tmp_path, 'steps', 'public', 'nccl', PORT='29731')
    assert code == 0, text
    rows = [line.split() for line in (tmp_path / 'steps.log').read_text().splitlines() if line.startswith('lite')]
    assert len(rows) == 4  # float32, AMP, channels last, both
    assert 'skipped: set CODE' in (tmp_path / 'public.log').read_text()
    assert (tmp_path / 'nccl' / 'epoch_1.pth').exists()


def test_mistakes(tmp_path):
    code, text = gpu(tmp_path, 'nothing', 'train-nothing')
    assert code == 1
    assert 'no step nothing: tests steps' in text
    assert 'no training nothing: ' in text
    assert text.rstrip().endswith('failed: nothing train-nothing')


def test_an_error_inside_a_step_ends_it(tmp_path):
    """Also where other commands of the step would follow."""
    (tmp_path / 'occo').mkdir()
    (tmp_path / 'occo' / 'last_checkpoint').write_text('nothing.pth')
    (tmp_path / 'gffusion').mkdir()  # comes after it
    code, text = gpu(tmp_path, 'weights')
    assert code == 1
    assert 'nothing.pth: no such checkpoint' in text
    assert 'stat' not in text
    assert text.rstrip().endswith('failed: weights')


@pytest.mark.slow
@pytest.mark.data
def test_a_training_and_its_weights(tmp_path, data_dir):
    """A call trains, the next one goes on, and the weights are published."""
    for name in ('RoadScene', 'MSRS', 'TNO'):
        (tmp_path / name).symlink_to(data_dir / name)
    for ours, theirs in (('visible', 'vi'), ('infrared', 'ir')):
        (tmp_path / 'LLVIP' / ours).mkdir(parents=True)
        (tmp_path / 'LLVIP' / ours / 'train').symlink_to(data_dir / 'samples/LLVIP/train' / theirs)
    code, text = gpu(tmp_path / 'out', 'train-seafusion', 'weights', MMFUSION_DATA=str(tmp_path))
    assert code == 0, text
    assert 300_000 < (tmp_path / 'out' / 'seafusion.safetensors').stat().st_size < 400_000
