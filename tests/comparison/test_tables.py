"""Tables of a downstream comparison, on numbers that can be worked out by hand."""

import csv
import io
import json
import math

import cv2
import numpy as np
import pytest
from rich.console import Console

from mmfusion.comparison.tables import (
    Comparison,
    as_dict,
    caption,
    choose_columns,
    notes,
    plot,
    table_of,
    titles,
    to_csv,
    verdict,
    write_files,
)

KINDS = {'visible': 'visible', 'infrared': 'infrared', 'OCCO_1': 'joint'}


def cells(*means, car=10.0):
    return {seed: {'aAcc': 1.0, 'IoU/car_stop': car, 'mIoU': mean} for seed, mean in enumerate(means)}


def comparison(fused=(60.0, 64.0)):
    values = dict(visible=cells(50, 52), infrared=cells(40, 40), OCCO_1=cells(*fused, car=20.0))
    return Comparison(KINDS, values, ['IoU/car_stop', 'mIoU'], [0, 1])


def test_means_spreads_and_places():
    found = comparison()
    assert (found.mean('visible', 'mIoU'), found.mean('OCCO_1', 'mIoU')) == (51, 62)
    assert found.spread('visible', 'mIoU') == pytest.approx(math.sqrt(2))
    assert found.spread('infrared', 'mIoU') == 0
    assert found.ranks('mIoU') == dict(visible=2, infrared=3, OCCO_1=1)
    assert math.isnan(comparison(fused=(60,)).spread('OCCO_1', 'mIoU'))


def test_equal_means_have_no_best_and_fusion_metrics_their_own_direction():
    values = dict(a={0: {'fusion/Qcv': 1.0, 'mIoU': 3.0}}, b={0: {'fusion/Qcv': 2.0, 'mIoU': 3.0}})
    found = Comparison(dict(a='visible', b='joint'), values, ['mIoU'])
    assert found.ranks('mIoU') == dict(a=None, b=None)
    assert found.ranks('fusion/Qcv') == dict(a=1, b=2)


def test_columns():
    values = comparison().values
    assert choose_columns(['IoU/*', 'mIoU'], values) == ['IoU/car_stop', 'mIoU']
    assert choose_columns(['*IoU'], values) == ['mIoU']
    with pytest.raises(ValueError, match=r"no metric 'mAP'.*they have aAcc, IoU/car_stop, mIoU"):
        choose_columns(['mAP'], values)


def test_headings():
    assert titles(['IoU/car', 'IoU/bus', 'mIoU']) == ['car', 'bus', 'mIoU']
    assert titles(['AP50/car', 'AP/car', 'mAP50', 'mAP']) == ['AP@.5 car', 'AP@.5:.95 car', 'mAP@.5', 'mAP@.5:.95']
    assert caption(comparison()) == 'IoU of each class, percent, mean ± standard deviation over 2 seeds'


def test_markdown():
    assert table_of(comparison()).markdown().splitlines() == [
        '| Input | car_stop | mIoU |',
        '| --- | --- | --- |',
        '| visible | <u>10.00 ± 0.00</u> | <u>51.00 ± 1.41</u> |',
        '| infrared | <u>10.00 ± 0.00</u> | 40.00 ± 0.00 |',
        '| OCCO_1 | **20.00 ± 0.00** | **62.00 ± 2.83** |',
    ]


def test_latex():
    text = table_of(comparison()).latex('tab:downstream')
    assert r'Input & car\_stop & mIoU \\' in text
    assert r'OCCO\_1 & \textbf{20.00 $\pm$ 0.00} & \textbf{62.00 $\pm$ 2.83} \\' in text
    assert r'visible & \underline{10.00 $\pm$ 0.00} & \underline{51.00 $\pm$ 1.41} \\' in text
    assert r'\caption{IoU of each class, percent, mean $\pm$ standard deviation over 2 seeds.}' in text
    assert text.count('{') == text.count('}')
    assert text.isascii()


def test_csv_and_json():
    found = comparison(fused=(60.0,))
    rows = list(csv.DictReader(io.StringIO(to_csv(found))))
    assert rows[0]['mIoU mean'] == '51.0'
    assert float(rows[0]['mIoU std']) == pytest.approx(math.sqrt(2))
    assert (rows[2]['input'], rows[2]['seeds'], rows[2]['mIoU std']) == ('OCCO_1', '1', '')
    data = json.loads(json.dumps(as_dict(found), allow_nan=False))
    assert data['variants']['visible']['cells']['1']['mIoU'] == 52
    assert data['variants']['OCCO_1']['std']['mIoU'] is None


def test_terminal():
    out = io.StringIO()
    table_of(comparison()).print(Console(file=out))
    lines = out.getvalue().splitlines()
    assert lines[0] == f'{caption(comparison())}:'
    assert lines[-4:-1] == [
        '│ visible  │ ② 10.00 ± 0.00 │ ② 51.00 ± 1.41 │',
        '│ infrared │ ② 10.00 ± 0.00 │   40.00 ± 0.00 │',
        '│ OCCO_1   │ ① 20.00 ± 0.00 │ ① 62.00 ± 2.83 │',
    ]


def test_what_is_missing_is_told():
    found = comparison()
    del found.values['visible'][0]
    found.values['infrared'][1]['IoU/car_stop'] = math.nan
    lines = notes(found)
    assert lines == [
        'visible: without seed 0, of which there is no result',
        'infrared, IoU/car_stop: not defined for seed 1',
    ]
    assert all(line in table_of(found).markdown() for line in lines)
    found.values['infrared'] = {}
    assert '| infrared | – | – |' in table_of(found).markdown()
    assert 'no value of infrared' in verdict(found)[0]
    assert 'infrared & -- & --' in table_of(found).latex('tab:x')


@pytest.mark.parametrize(
    ('fused', 'ending'),
    [
        ((60, 64), 'it beats both single modalities by more than the spread.'),
        ((50, 56), 'it is above both single modalities, but NOT by more than the spread.'),
        ((45, 47), 'it does NOT beat both single modalities.'),
        ((51, 51), 'it does NOT beat both single modalities.'),
        ((60,), 'a single seed has no spread: repeat with more seeds.'),
    ],
)
def test_verdict(fused, ending):
    (sentence,) = verdict(comparison(fused))
    assert sentence.startswith('mIoU of OCCO_1 (')
    assert sentence.endswith(ending)


def test_verdict_names_margin_and_spread():
    (sentence,) = verdict(comparison())
    # of 60 − 50 and 64 − 52; of 60 − 40 and 64 − 40
    assert 'visible by +11.00 ± 1.41 and from infrared by +22.00 ± 2.83' in sentence


def test_what_all_seeds_share_does_not_count():
    """A seed that is good for all inputs widens each one's spread, and not that of their difference."""
    found = comparison((60, 90))
    found.values['visible'][1]['mIoU'] = 81
    found.values['infrared'][1]['mIoU'] = 70
    (sentence,) = verdict(found)
    assert 'visible by +9.50 ± 0.71 and from infrared by +20.00 ± 0.00' in sentence
    assert sentence.endswith('by more than the spread.')
    del found.values['visible'][0], found.values['OCCO_1'][1]
    assert verdict(found)[0].endswith('it has no seed in common with both single modalities.')


def test_no_verdict_without_both_modalities():
    found = comparison()
    found.kinds = {k: v for k, v in found.kinds.items() if k != 'infrared'}
    assert verdict(found) == [
        'mIoU: without visible and infrared among the variants nothing is said about the gain of fusion.'
    ]


def test_plot_has_bars_of_the_means():
    picture = cv2.imdecode(np.frombuffer(plot(comparison()), np.uint8), cv2.IMREAD_COLOR)
    blue, orange, green = (tuple(int(c[k : k + 2], 16) for k in (4, 2, 0)) for c in ('1f77b4', 'ff7f0e', '2ca02c'))
    counts = [(picture == colour).all(-1).sum() for colour in (blue, orange, green)]
    # areas of the bars in the ratio of 10 + 51, 10 + 40, 20 + 62 percent, but for what error bars and the legend cover
    assert counts[0] / counts[1] == pytest.approx(61 / 50, rel=0.05)
    assert counts[2] / counts[1] == pytest.approx(82 / 50, rel=0.05)


def test_files(tmp_path):
    files = write_files(comparison(), tmp_path)
    assert sorted(f.name for f in files) == ['plot.png', 'results.json', 'table.csv', 'table.md', 'table.tex']
    assert sorted(tmp_path.iterdir()) == sorted(files)
