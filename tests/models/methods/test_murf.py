import pytest
import torch

from mmfusion.models.methods.murf import invert, random_deformation, sample

from .zoo import PublishedMethod, build


class TestMURF(PublishedMethod):
    name = 'murf'
    config = 'murf/murf_tno.py'
    train = 'murf/murf_roadscene.py'
    weights = 'MURF/0000.ckpt'
    tensorflow = True
    tolerance = 1e-4
    build_options = {'test_cfg.resize': (32, 32)}  # the public test script's N
    narrow = {'network.channels': (4, 6, 8), 'network.field_channels': 6}


def test_inverse_field_undoes_the_deformation():
    """Moved there and back, a smooth image is what it was, away from the border."""
    torch.manual_seed(0)
    y, x = torch.meshgrid(torch.linspace(0, 6, 40), torch.linspace(0, 5, 32), indexing='ij')
    image = (torch.sin(x) * torch.cos(y))[None, None]
    field = random_deformation(image, 3.0)
    assert field.abs().max() * 20 > 1  # pixels
    there = sample(image, field)
    back = sample(there, invert(field))
    middle = (..., slice(8, -8), slice(8, -8))
    assert (back - image)[middle].abs().mean() < 0.5 * (there - image)[middle].abs().mean()


def test_sampler_is_black_outside():
    offset = torch.zeros(1, 2, 4, 5)
    offset[:, 0] = 0.5  # one pixel to the right
    assert sample(torch.ones(1, 1, 4, 5), offset)[0, 0, 0].tolist() == pytest.approx([1, 1, 1, 1, 0])


def test_sizes():
    """Any size from 9 pixels on; smaller ones are refused in one sentence."""
    fuser, _ = build('murf/murf_tno.py', **TestMURF.narrow, **{'test_cfg.resize': None})
    fuser.eval()
    with torch.no_grad():
        assert fuser.run(torch.rand(1, 3, 17, 23), torch.rand(1, 1, 17, 23))['fused_rgb'].shape == (1, 3, 17, 23)
        with pytest.raises(ValueError, match='MURF needs images of at least 16×16 pixels, got 8×20'):
            fuser.run(torch.rand(1, 3, 8, 20), torch.rand(1, 1, 8, 20))
        with pytest.raises(ValueError, match=r'MURF needs sides that are multiples of 8, got \(17, 24\)'):
            fuser.network(torch.rand(1, 3, 17, 24), torch.rand(1, 1, 17, 24))
