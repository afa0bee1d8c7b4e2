"""benchmarks/dark_lines.py: what counts as a new dark line."""

import importlib.util
import sys
from pathlib import Path

import cv2
import numpy as np

FILE = Path(__file__).resolve().parents[2] / 'benchmarks/dark_lines.py'


def load():
    spec = importlib.util.spec_from_file_location('dark_lines', FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_only_lines_that_no_source_has_count(tmp_path, monkeypatch, capsys):
    """One column of the 48 inside; none where a source has it, faintly, one pixel beside."""
    vi, ir = np.full((2, 64, 64), (100,), np.uint8)
    fused = vi.copy()
    fused[:, 32] = 70
    faint = vi.copy()
    faint[:, 33] = 90
    for name, image in dict(vi=vi, ir=ir, fused=fused).items():
        for stem, picture in (('a', image), ('b', faint if name == 'ir' else image)):
            (tmp_path / name).mkdir(exist_ok=True)
            cv2.imwrite(str(tmp_path / name / f'{stem}.png'), picture)
    folders = {name: str(tmp_path / name) for name in ('vi', 'ir', 'fused')}
    arguments = ['--vi', folders['vi'], '--ir', folders['ir'], '--fused', f'mine={folders["fused"]}', '--worst', '2']
    monkeypatch.setattr(sys, 'argv', [str(FILE), *arguments])
    load().main()
    both, mine = capsys.readouterr().out.splitlines()
    assert both.split()[-6:] == ['0.000', '%', 'a', '0.00', 'b', '0.00']
    assert mine.split() == ['mine', f'{100 / 96:.3f}', '%', 'a', f'{100 / 48:.2f}', 'b', '0.00']
