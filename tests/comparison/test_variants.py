"""Variants are read from the command line."""

import pytest

from mmfusion.comparison.variants import Variant, parse_variant


def test_variants_are_read(weights, tmp_path):
    assert parse_variant('visible') == Variant('visible', 'visible')
    assert parse_variant('OCCO-joint=joint') == Variant('OCCO-joint', 'joint')
    assert parse_variant(f'frozen:{weights}') == Variant('frozen', 'frozen', str(weights))
    assert parse_variant(f'A=joint:{weights}') == Variant('A', 'joint', str(weights))
    assert parse_variant(f'B=folder:{tmp_path}') == Variant('B', 'folder', str(tmp_path))
    assert parse_variant('method:pmgi_tno') == Variant('pmgi_tno', 'method', 'pmgi_tno')
    assert parse_variant('S=method:pmgi:random') == Variant('S', 'method', 'pmgi:random')
    assert parse_variant('C=frozen:https://x.org/a.pth').source == 'https://x.org/a.pth'


@pytest.mark.parametrize(
    ('text', 'error', 'message'),
    [
        (
            'thermal',
            ValueError,
            "unknown variant 'thermal'.*visible.*infrared.*average.*joint.*frozen:CHECK.*folder:DIR",
        ),
        ('A=frozen:none.pth', FileNotFoundError, 'no such checkpoint: none.pth'),
        ('A=folder:none', FileNotFoundError, 'none is no folder'),
        ('A=folder', ValueError, 'expected folder:DIR'),
        ('a/b=visible', ValueError, 'name of a folder'),
        ('method:pgmi', FileNotFoundError, 'Did you mean PMGI'),
        ('visible:x', ValueError, 'takes nothing after a colon'),
    ],
)
def test_wrong_variants_are_refused(text, error, message):
    with pytest.raises(error, match=message):
        parse_variant(text)
