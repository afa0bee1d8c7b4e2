"""Evaluation of folders, resuming, bad input, tables, panels."""

import csv
import json
import math
import multiprocessing
import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from importlib import import_module

import cv2
import numpy as np
import pytest

from mmfusion.evaluation.report import (
    Results,
    best_and_worst,
    choose_pictures,
    evaluate_files,
    evaluate_folders,
    folders,
    load,
    load_image,
    magnify,
    make_panel,
    notes,
    parse_box,
    rank,
    split_day_night,
    summarize,
    table_of,
    write_html,
)
from mmfusion.utils import read_visible, write_image


def _run(root, metrics=('EN', 'CC', 'MSE'), methods=('a', 'b'), **kwargs):
    folders = {m: root / m for m in methods}
    return evaluate_folders(root / 'ir', root / 'vi', folders, list(metrics), out_dir=root / 'out', **kwargs)


def test_files_hold_every_value(fused_folders):
    results, missing = _run(fused_folders)
    assert missing == []
    with open(fused_folders / 'out' / 'metrics.csv', newline='') as handle:
        rows = list(csv.DictReader(handle))
    assert len(rows) == 2 * 3 * 3
    for row in rows:
        assert float(row['value']) == results.value(row['method'], row['metric'], row['image'])
    direct, _ = evaluate_files(*(next((fused_folders / d).glob('00002N.*')) for d in ('b', 'ir', 'vi')), ['CC'], 'tang')
    assert results.value('b', 'CC', '00002N') == direct['CC']
    data = json.loads((fused_folders / 'out' / 'metrics.json').read_text())
    assert data['protocol'] == 'tang'
    assert [m['higher_is_better'] for m in data['metrics']] == [True, True, False]
    again = load(fused_folders / 'out' / 'metrics.json')
    assert (again.values, again.images, again.metrics) == (results.values, results.images, results.metrics)


def test_resumes_where_it_stopped(fused_folders):
    seen = []

    def progress(done, total, text):
        seen.append((done, total, text))

    def stop(done, total, text):
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        _run(fused_folders, progress=stop)
    _run(fused_folders, progress=progress)
    assert [total for _, total, _ in seen] == [4] * 4
    seen.clear()
    _run(fused_folders, progress=progress)
    assert seen == []
    _run(fused_folders, metrics=['EN', 'SF'], progress=progress)
    assert len(seen) == 6  # only SF is new
    seen.clear()
    write_image(fused_folders / 'a' / '00001D.png', np.zeros((48, 56), np.uint8))
    results, _ = _run(fused_folders, progress=progress)
    assert results.value('a', 'EN', '00001D') == 0
    assert seen[0][2] == 'a 00001D'


def test_processes_give_the_same(fused_folders):
    """Ctrl-C, which a terminal sends to all processes, is the first one's to answer: others printed tracebacks."""
    single, _ = _run(fused_folders)
    (fused_folders / 'out' / 'metrics.json').unlink()

    def interrupt(done, total, text):
        for child in multiprocessing.active_children():
            os.kill(child.pid, signal.SIGINT)

    parallel, _ = _run(fused_folders, workers=2, progress=interrupt)
    assert parallel.values == single.values


def test_interrupted_while_processes_measure(fused_folders, tmp_path, monkeypatch):
    """Metrics of large images take minutes, for which nobody waits after Ctrl-C."""
    (tmp_path / 'slow_metrics.py').write_text(
        'import time\ndef work(job):\n    time.sleep(0 if job[1] == "00001D" else 1000)\n    return *job[:2], {}, {}\n'
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(folders, '_work', import_module('slow_metrics').work)

    def interrupt(done, total, text):
        raise KeyboardInterrupt

    begin = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        _run(fused_folders, workers=2, progress=interrupt)
    assert time.monotonic() - begin < 60
    assert not multiprocessing.active_children()


def test_a_process_that_was_killed(fused_folders, monkeypatch):
    """Threads in the place of processes, of which one reports what a killed process leaves."""

    def killed(job):
        raise BrokenProcessPool('terminated abruptly')

    monkeypatch.setattr(folders, 'ProcessPoolExecutor', lambda workers, **kwargs: ThreadPoolExecutor(workers))
    monkeypatch.setattr(folders, '_work', killed)
    with pytest.raises(RuntimeError, match=r'one of 2 processes was killed, .* use fewer --workers'):
        _run(fused_folders, workers=2)


@pytest.mark.parametrize(
    ('fused', 'message'),
    [
        (np.eye(48, 56, dtype=np.uint8), '8 bits, and no value but 0 and 1, as floating-point values from 0 to 1 that'),
        (np.full((48, 56), 200, np.uint16), '16 bits, and no value above 200, as values of 8 bits that were saved'),
    ],
)
def test_fused_images_saved_without_scaling(fused_folders, fused, message):
    """Of which EN 0.4 was measured in the place of 6.6, without a word or with a warning."""
    cv2.imwrite(str(fused_folders / 'a' / '00001D.png'), fused)
    with pytest.raises(ValueError, match=rf'a/00001D\.png: {message}.* Save the fused image with 8 bits'):
        _run(fused_folders)
    write_image(fused_folders / 'a' / '00001D.png', np.zeros((48, 56), np.uint8))  # black, as a network may give
    assert _run(fused_folders)[0].value('a', 'EN', '00001D') == 0


def test_missing_images_are_listed(fused_folders):
    (fused_folders / 'ir' / '00001D.png').unlink()
    (fused_folders / 'b' / '00003N.jpg').unlink()
    expected = r'ir \(ir\) lacks 1 of 3 images: 00001D; .*b \(b\) lacks 1 of 3 images: 00003N.*--allow-missing'
    with pytest.raises(ValueError, match=expected):
        _run(fused_folders)
    results, missing = _run(fused_folders, allow_missing=True)
    assert len(missing) == 2
    assert results.images == ['00002N', '00003N']
    assert math.isnan(results.value('b', 'EN', '00003N'))
    assert results.mean('b', 'EN') == results.value('b', 'EN', '00002N')


def test_images_that_no_method_of_one_has(fused_folders):
    """A method alone that has one of three images is not a method on one image."""
    for name in ('00001D', '00003N'):
        (fused_folders / 'a' / f'{name}.png').unlink()
    with pytest.raises(ValueError, match=r'a \(a\) lacks 2 of 3 images: 00001D, 00003N\. .*--allow-missing'):
        _run(fused_folders, methods=['a'])
    results, missing = _run(fused_folders, methods=['a'], allow_missing=True)
    assert (results.images, len(missing)) == (['00002N'], 1)


@pytest.mark.parametrize('suffix', ['tif', 'npy', '16.png', 'f8.tif'])
def test_a_fused_image_is_never_stretched(fused_folders, suffix):
    """Deeper files of the same fused images have the same values, raw sources or not."""
    suffix, dtype = suffix.split('.')[-1], np.float64 if suffix == 'f8.tif' else np.float32
    (fused_folders / 'deep').mkdir()
    for file in (fused_folders / 'a').iterdir():
        image = cv2.imread(str(file)) // 2 + 60  # not the full range, which a stretched image would have
        write_image(file, image)
        deep = image.astype(np.uint16) * 257 if suffix == 'png' else image.astype(dtype) / dtype(255)
        target = fused_folders / 'deep' / f'{file.stem}.{suffix}'
        np.save(target, deep) if suffix == 'npy' else cv2.imwrite(str(target), deep)
        ir = cv2.imread(str(fused_folders / 'ir' / file.name), cv2.IMREAD_GRAYSCALE)
        cv2.imwrite(str(fused_folders / 'ir' / file.name), 7000 + 4 * ir.astype(np.uint16))
    results, _ = _run(fused_folders, methods=['a', 'deep'], metrics=['SF', 'Qabf'], depth16='stretch')
    assert results.values['deep'] == results.values['a']
    write_html(results, fused_folders / 'report.html')
    np.save(fused_folders / 'deep' / '00001D.npy', np.full((48, 56), 300.0))
    for file in (fused_folders / 'deep').glob('00001D.[!n]*'):
        file.unlink()
    with pytest.raises(
        ValueError, match=r'00001D\.npy: .* from 300 to 300 have no full scale.*Save the fused image with 8'
    ):
        _run(fused_folders, methods=['deep'], depth16='stretch')


def test_sources_in_four_channels(fused_folders):
    """Values are those of the two folders; one folder for both sources is refused."""
    for file in (fused_folders / 'vi').iterdir():
        ir = cv2.imread(str(fused_folders / 'ir' / file.name), cv2.IMREAD_GRAYSCALE)
        write_image(fused_folders / 'rgbt' / file.name, np.dstack([cv2.imread(str(file)), ir]))
    expected, _ = _run(fused_folders)
    folders = {m: fused_folders / m for m in 'ab'}
    results, _ = evaluate_folders(None, fused_folders / 'rgbt', folders, expected.metrics)
    assert results.values == expected.values
    write_html(results, fused_folders / 'report.html')
    with pytest.raises(ValueError, match=r'rgbt: given as the visible and as the infrared images.*--rgbt DIR'):
        evaluate_folders(fused_folders / 'rgbt', fused_folders / 'rgbt', folders, ['EN'])
    with pytest.raises(ValueError, match=r'rgbt.00001D\.png: an infrared image with a fourth channel'):
        evaluate_folders(fused_folders / 'rgbt', fused_folders / 'vi', folders, ['EN'])


def test_sizes_and_folders_are_named(fused_folders):
    write_image(fused_folders / 'a' / '00002N.png', np.zeros((48, 50), np.uint8))
    with pytest.raises(ValueError, match=r'a/00002N\.png is 50×48, .*ir/00002N\.png is 56×48'):
        _run(fused_folders)
    with pytest.raises(FileNotFoundError, match='no such folder'):
        _run(fused_folders, methods=['c'])
    with pytest.raises(ValueError, match='cannot have the name of a source'):
        evaluate_folders(fused_folders / 'ir', fused_folders / 'vi', {'ir': fused_folders / 'a'})


def test_sixteen_bits_and_mixed_grey_and_colour(fused_folders):
    ir = cv2.imread(str(fused_folders / 'ir' / '00001D.png'), cv2.IMREAD_UNCHANGED)
    before, _ = _run(fused_folders, methods=['a'])
    cv2.imwrite(str(fused_folders / 'ir' / '00001D.png'), ir.astype(np.uint16) * 257)
    colour = cv2.imread(str(fused_folders / 'ir' / '00002N.png'), cv2.IMREAD_COLOR)
    write_image(fused_folders / 'ir' / '00002N.png', colour)
    after, _ = _run(fused_folders, methods=['a'])
    assert after.values == before.values


def test_damaged_results_file(fused_folders):
    (fused_folders / 'out').mkdir()
    (fused_folders / 'out' / 'metrics.json').write_text('{"protocol": ')
    with pytest.raises(ValueError, match=r'not a metrics\.json'):
        _run(fused_folders)


@pytest.fixture
def results():
    r = Results('tang', ['a_1', 'b', 'c'], ['1', '2'], ['EN', 'MSE', 'SCD'])
    r.values = {
        'a_1': {'EN': {'1': 6.0, '2': 7.0}, 'MSE': {'1': 0.02, '2': 0.04}, 'SCD': {'1': 1.0, '2': math.nan}},
        'b': {'EN': {'1': 7.0, '2': 7.4}, 'MSE': {'1': 0.05, '2': 0.05}, 'SCD': {'1': 1.5, '2': 1.5}},
        'c': {'EN': {'1': 5.0, '2': 5.0}, 'MSE': {'1': 0.01, '2': 0.01}, 'SCD': {'1': math.nan, '2': math.nan}},
    }
    r.reasons = {'a_1': {'SCD': {'2': 'flat'}}, 'c': {'SCD': {'1': 'flat', '2': 'flat'}}}
    return r


def test_ranks_and_notes(results):
    summary = summarize(results)
    assert summary['ranks'] == {
        'a_1': dict(EN=2, MSE=2, SCD=2),
        'b': dict(EN=1, MSE=3, SCD=1),
        'c': dict(EN=3, MSE=1, SCD=None),
    }
    assert summary['mean_rank'] == dict(a_1=2, b=pytest.approx(5 / 3), c=2)
    assert notes(results, summary) == ['a_1, SCD: without 1 image(s) (flat)', 'c, SCD: without 2 image(s) (flat)']
    assert rank([math.inf, 1, 1, math.nan], False) == [3, 1, 1, None]
    assert best_and_worst(results, 'MSE')['a_1'] == ('1', '2')
    assert choose_pictures(results, None) == ['1', '2']
    assert len(choose_pictures(results, 1)) == 1


def test_markdown_and_latex(results):
    text = table_of(results).markdown().splitlines()
    assert text[0] == '| Method | EN ↑ | MSE ↓ | SCD ↑ | Rank ↓ |'
    assert text[2] == '| a_1 | <u>6.500</u> | <u>0.03000</u> | <u>1.000†</u> | <u>2.00</u> |'
    assert text[4] == '| c | 5.000 | **0.01000** | –† | <u>2.00</u> |'
    latex = table_of(results).latex('tab:fusion')
    assert (
        r'a\_1 & \underline{6.500} & \underline{0.03000} & \underline{1.000$^\dagger$} & \underline{2.00} \\' in latex
    )
    assert r'EN $\uparrow$ & MSE $\downarrow$' in latex
    assert latex.count(r'\textbf{') == 4


def test_day_and_night():
    assert split_day_night(['00131D', '01023N']) == {'day': ['00131D'], 'night': ['01023N']}
    assert split_day_night(['00131D', '01023N', 'x']) == {}


def test_panel(fused_folders, tmp_path):
    columns = {d: {'00001D': next((fused_folders / d).glob('00001D.*'))} for d in ('ir', 'a')}
    panel = make_panel(columns, ['00001D'], {'00001D': [(4, 4, 8, 8)]}, width=112, gap=4)
    assert panel.shape == (96 + 16 + 4, 2 * (112 + 4), 3)
    assert (panel[:, 112:116] == 255).all()
    with pytest.raises(ValueError, match='none of ir, a has this image'):
        make_panel(columns, ['nothing'])


def test_magnify_shows_the_region():
    img = np.zeros((100, 100, 3), np.uint8)
    img[10:20, 10:20] = 200
    out = magnify(img, [(10, 10, 10, 10)])
    assert (out[70:90, 70:90] == 200).all()
    assert (out[:58, 60:] == 0).all()
    with pytest.raises(ValueError, match='leaves the image of 100×100'):
        magnify(img, [(95, 0, 10, 10)])
    with pytest.raises(ValueError, match='four whole numbers'):
        parse_box('1,2,3')


@pytest.mark.data
def test_load_keeps_the_number_of_channels(data_dir):
    folder = data_dir / 'reference_fusions'
    assert load_image(folder / 'TNO' / 'SeAFusion' / '05.png').shape[1] in (1, 3)
    file = folder / 'VIFB' / 'vi' / 'fight.jpg'
    assert np.array_equal(load_image(file)[0].permute(1, 2, 0).numpy()[..., ::-1], read_visible(file))
