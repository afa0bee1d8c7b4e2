"""Conversion of OCCO's public checkpoints, both ways."""

import pytest
import torch

from mmfusion.models.methods.occo import FIFN
from mmfusion.models.methods.occo.official import from_official, official_names, to_official

NARROW = dict(channels=(4, 8, 8, 4), num_heads=(2, 2, 2, 1))


def test_round_trip():
    """Every parameter and buffer of FIFN has a public name, and comes back the same."""
    state = FIFN(**NARROW).state_dict()
    public = to_official(state)
    assert len(public) == len(state) == len(official_names())
    back = from_official(public)
    assert back.keys() == state.keys()
    assert all(torch.equal(back[k], v) for k, v in state.items())
    FIFN(**NARROW).load_state_dict(back, strict=True)


def test_known_names():
    """Some of the public names, and the shapes of 1×1 convolutions there."""
    net = FIFN(**NARROW)
    public = to_official(net.state_dict())
    assert torch.equal(public['v1.Conv_BN_ReLU_2.0.weight'], net.encoder['vi'][0][0].weight)
    assert torch.equal(public['i4.Conv_BN_ReLU_2.4.running_var'], net.encoder['ir'][3][4].running_var)
    assert torch.equal(public['fusion2.cross.channel_proj4.bias'], net.fifb[1].attention.proj['ir'].bias)
    assert torch.equal(public['up_concat3.conv2.weight'], net.decoder[0].conv[2].weight)
    assert public['fusion1.channel_emb.residual.weight'].shape == (4, 8, 1, 1)
    assert public['fusion1.space_weight1.mlp.2.weight'].shape == (1, 4, 1, 1)
    assert public['fusion1.cross.end_proj1.weight'].shape == (4, 8)


def test_data_parallel_prefix():
    public = to_official(FIFN(**NARROW).state_dict())
    assert from_official({f'module.{k}': v for k, v in public.items()}).keys() == from_official(public).keys()


def test_unknown_public_name():
    with pytest.raises(KeyError, match=r"'backbone.conv1.weight' is no parameter of OCCO's public implementation"):
        from_official({'backbone.conv1.weight': torch.zeros(1)})


def test_paper_variant_has_no_public_form():
    with pytest.raises(KeyError, match=r"public implementation.*Only FIFN with variant='official'"):
        to_official(FIFN(**NARROW, variant='paper').state_dict())


@pytest.mark.parametrize('part', ['spatial', 'channel', 'attention'])
def test_missing_parts_are_not_written(part):
    """Half a checkpoint would load nowhere."""
    with pytest.raises(
        KeyError, match=r"are not in this state dict. Only FIFN with variant='official' and all its parts"
    ):
        to_official(FIFN(**NARROW, fifb={part: False}).state_dict())


@pytest.mark.data
def test_real_names(data_dir):
    """The public implementation's own names and shapes, there and back."""
    parity = torch.load(data_dir / 'parity' / 'occo_official.pt', weights_only=True)
    ours = from_official(parity['state_dict'])
    FIFN(channels=parity['channels']).load_state_dict(ours, strict=True)
    back = to_official(ours)
    assert back.keys() == parity['state_dict'].keys()
    for name, value in parity['state_dict'].items():
        assert back[name].shape == value.shape
        assert torch.equal(back[name], value)
