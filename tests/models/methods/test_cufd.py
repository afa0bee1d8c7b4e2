import pytest
import torch

from mmfusion.models.methods.cufd import CUFD, CUFDDecompositionLoss

from .zoo import PublishedMethod, stand_in


class TestCUFD(PublishedMethod):
    name = 'cufd'
    config = 'cufd/cufd_tno.py'
    train = 'cufd/cufd_roadscene.py'
    tensorflow = True
    tolerance = 1e-4
    narrow = {'network.channels': 8, 'network.wide': 12, 'network.decoder_channels': (6, 5, 4)}

    def test_both_files_are_needed(self, numbers):
        state = stand_in(numbers['names'], numbers['shapes'], tensorflow=True)
        first = {name: value for name, value in state.items() if name.startswith('1part1_model.')}
        with pytest.raises(KeyError, match='s_encoder'):
            CUFD.from_authors(first)


def test_decomposition_of_equal_sources_costs_nothing_but_edges():
    """Common and joined features that are the sources' own leave the strengthened edges alone."""
    f = torch.rand(1, 4, 8, 8)
    value, terms = CUFDDecompositionLoss()(f, f, f, f, f, f)
    assert terms['common'] == 0
    flat = torch.zeros_like(f)
    assert CUFDDecompositionLoss()(flat, flat, flat, flat, flat, flat)[0] == 0
    torch.testing.assert_close(value, 50 * terms['pixel'])
