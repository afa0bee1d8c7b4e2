"""OCCO's regions and the loss of Model-4: known values."""

import pytest
import torch

from mmfusion.models.methods.occo import MaskedRegionLoss, split_masks


def test_split_masks_are_a_partition():
    vi, ir = torch.tensor([0, 0, 1, 1], dtype=torch.bool), torch.tensor([0, 1, 0, 1], dtype=torch.bool)
    regions = split_masks(vi, ir)
    assert {k: v.tolist().index(True) for k, v in regions.items()} == dict(
        background=0, unique_ir=1, unique_vi=2, shared=3
    )
    assert (sum(v.int() for v in regions.values()) == 1).all()
    assert all(
        torch.equal(a, b) for a, b in zip(split_masks(vi.float(), ir.byte()).values(), regions.values(), strict=True)
    )


@pytest.mark.parametrize(('target', 'second'), [('ir', 0.5), ('vi', 0.3)])
def test_region_known_value(target, second):
    """Constant differences on quarters of the image: root mean squares over the whole of it."""
    vi_only, ir_only, both = torch.zeros(3, 1, 1, 2, 4, dtype=torch.bool)
    vi_only[..., 0], ir_only[..., 1], both[..., 2] = True, True, True
    fused, vi, ir = (torch.full((1, 1, 2, 4), v) for v in (0.5, 0.2, 1.0))
    value = MaskedRegionLoss(omega=(0.5, 0.25), infrared_target=target)(fused, vi, ir, vi_only | both, ir_only | both)
    quarter = 0.25**0.5
    assert value.item() == pytest.approx(quarter * (0.5 * 0.3 + 0.25 * second + 0.3), rel=1e-5)


def test_region_of_empty_masks_has_finite_gradient():
    fused = torch.rand(2, 1, 4, 4, requires_grad=True)
    nothing = torch.zeros(2, 1, 4, 4, dtype=torch.bool)
    for mask in (nothing, ~nothing):
        value = MaskedRegionLoss()(fused, fused.detach(), fused.detach(), mask, mask)
        assert value.item() == pytest.approx(0, abs=1e-5)
        (grad,) = torch.autograd.grad(value, fused)
        assert (grad == 0).all()


def test_region_gradcheck():
    fused, vi, ir = torch.rand(3, 1, 1, 4, 5, dtype=torch.float64)
    a, b = torch.rand(2, 1, 1, 4, 5) > 0.5
    assert torch.autograd.gradcheck(
        lambda x: MaskedRegionLoss()(x, vi, ir, a, b), fused.requires_grad_(), fast_mode=True
    )


def test_region_error():
    with pytest.raises(ValueError, match=r"infrared_target must be 'ir' or 'vi', got 'both'"):
        MaskedRegionLoss(infrared_target='both')
