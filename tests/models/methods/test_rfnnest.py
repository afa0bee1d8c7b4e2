"""NestFuse and RFN-Nest."""

import pytest
import torch
from mmengine.structures import PixelData

from mmfusion.models.methods.rfnnest import EPSILON, NestFuse, RFNLoss, RFNNest
from mmfusion.structures import FusionDataSample

from .zoo import PublishedMethod, build, stand_in

NARROW = {'network.channels': (8, 12, 16, 20)}


class Published(PublishedMethod):
    def test_public_code_by_stand_in_weights(self, numbers):
        """With last weights of either sign the last ReLU would make most of the images black."""
        state = stand_in(numbers['names'], numbers['shapes'], gain=float(numbers['gain']))
        next(value for name, value in state.items() if name.endswith('conv_out.conv2d.weight')).abs_()
        self.compare(self.fuser(state), numbers, 'standin')


class TestNestFuse(Published):
    name = 'nestfuse'
    config = 'nestfuse/nestfuse_tno.py'
    train = 'nestfuse/nestfuse_coco.py'
    narrow = NARROW
    single_images = True


class TestRFNNest(Published):
    name = 'rfnnest'
    config = 'rfnnest/rfnnest_tno.py'
    train = 'rfnnest/rfnnest_msrs.py'
    narrow = NARROW

    def test_names_of_other_networks_are_refused(self, numbers):
        state = stand_in(numbers['names'], numbers['shapes'])
        with pytest.raises(ValueError, match=r"'net\.conv9\.conv2d\.weight' is no parameter of the public NestFuse"):
            RFNNest.from_authors({**state, 'net.conv9.conv2d.weight': torch.zeros(1)})


class TestRFNNestOnKAIST(PublishedMethod):
    name = 'rfnnest'
    config = 'rfnnest/rfnnest_tno.py'
    train = 'rfnnest/rfnnest_kaist.py'
    narrow = NARROW
    test_public_code_by_stand_in_weights = None  # as above


class TestRFNNestContrastive(PublishedMethod):
    name = 'rfnnest'
    config = 'rfnnest/rfnnest_tno.py'
    train = 'rfnnest/rfnnest_msrs_contrastive.py'
    narrow = {
        **NARROW,
        'losses.contrastive.prior.weights': 'random',
        'losses.contrastive.prior.width': 1 / 32,
        'losses.contrastive.groups': 2,
    }
    test_public_code_by_stand_in_weights = None  # as above

    def samples(self):
        masks = torch.zeros(2, 2, 1, self.size, self.size, dtype=torch.bool)
        masks[0, ..., :20], masks[1, ..., 12:] = True, True
        return [FusionDataSample(gt_saliency=PixelData(vi=vi, ir=ir)) for vi, ir in zip(*masks, strict=True)]


def test_configs_differ_by_the_contrastive_loss_alone(monkeypatch):
    monkeypatch.setenv('MMFUSION_VGG19', 'random')
    (without, plain), (with_it, added) = (
        build(f'rfnnest/rfnnest_msrs{suffix}.py', **narrow)
        for suffix, narrow in (('', NARROW), ('_contrastive', TestRFNNestContrastive.narrow))
    )
    assert set(with_it.losses) - set(without.losses) == {'contrastive'}
    stages = [cfg.default_hooks.stages.stages for cfg in (plain, added)]
    assert stages[0][0] == stages[1][0]
    assert stages[1][1] == {**stages[0][1], 'losses': ['rfn', 'contrastive']}
    assert all(plain[key] == added[key] for key in ('train_dataloader', 'optim_wrapper', 'train_cfg'))


def test_loss_by_hand():
    """Features in proportion cost nothing; each scale and modality has its weight; only the visible image has details."""
    vi, maps = torch.rand(1, 1, 16, 16), [torch.rand(1, 2, s, s) for s in (16, 8, 4, 2)]
    zeros = [torch.zeros_like(x) for x in maps]
    loss, terms = RFNLoss()(vi, vi, [3 * x + 6 for x in maps], maps, [x + 1 for x in zeros])
    assert abs(loss) < 1e-2
    assert set(terms) == {'detail', 'feature'}
    for k, weight in enumerate((1, 10, 100, 1000)):
        features = [x + (i == k) for i, x in enumerate(zeros)]
        assert RFNLoss()(vi, vi, features, zeros, zeros)[1]['feature'] == weight
    assert RFNLoss()(torch.rand_like(vi), vi, zeros, zeros, zeros)[1]['detail'] > 50


@pytest.mark.parametrize('pooling', ['average', 'max', 'nuclear'])
def test_attention_by_hand(pooling):
    net = NestFuse((4, 4, 4, 4), pooling=pooling)
    ir, vi = torch.rand(2, 1, 3, 6, 5)

    def weigh(x):
        values = {'average': x[0].mean((1, 2)), 'max': x[0].flatten(1).amax(1)}
        nuclear = torch.stack([torch.linalg.matrix_norm(c, 'nuc') for c in x[0] + EPSILON])
        return {**values, 'nuclear': nuclear}[pooling][None, :, None, None]

    a, b = weigh(ir), weigh(vi)
    p, q = (x.mean(1, keepdim=True).exp() for x in (ir, vi))
    expected = ((a * ir + b * vi) / (a + b + 1e-5) + (p * ir + q * vi) / (p + q + 1e-5)) / 2
    torch.testing.assert_close(net.attend(ir, vi), expected)
    assert net.attend(1000 * ir, 1000 * vi).isfinite().all()


def test_unknown_pooling_is_refused():
    with pytest.raises(ValueError, match="pooling must be one of average, max, nuclear, got 'magic'"):
        NestFuse(pooling='magic')


def test_a_new_network_gives_no_black_images():
    """Its last layer ends in ReLU; with weights of either sign about every second start would give zeros."""
    image = 255 * torch.rand(1, 1, 16, 16)
    for seed in range(8):
        torch.manual_seed(seed)
        with torch.no_grad():
            assert NestFuse((8, 12, 16, 20)).reconstruct(image)['vi_hat'].any()
