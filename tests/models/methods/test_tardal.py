import pytest
import torch
from mmengine.optim import build_optim_wrapper
from mmengine.structures import PixelData

from mmfusion.models.methods.tardal import TarDAL, TarDALTargetDiscriminator
from mmfusion.structures import FusionDataSample

from .zoo import PublishedMethod, build, stand_in


class TestTarDAL(PublishedMethod):
    name = 'tardal'
    config = 'tardal/tardal_tno.py'
    train = 'tardal/tardal_roadscene.py'
    narrow = {
        'network.channels': 4,
        'losses.source.prior.weights': 'random',
        'losses.source.prior.width': 1 / 32,
        'losses.source.size': 32,
        'discriminators.target.size': 32,
        'discriminators.target.channels': (4, 4, 4),
        'discriminators.detail.size': 32,
        'discriminators.detail.channels': (4, 4, 4),
    }

    def samples(self):
        masks = torch.ones(2, 1, self.size, self.size, dtype=torch.bool)
        return [FusionDataSample(gt_saliency=PixelData(vi=mask, ir=mask)) for mask in masks]

    def test_file_with_discriminators_and_detector(self, numbers):
        """What the public code saves: the generator under `fuse`, beside it what is not for fusing."""
        state = stand_in(numbers['names'], numbers['shapes'])
        whole = {f'fuse.{name}': value for name, value in state.items()}
        whole['disc.t.conv.0.0.weight'] = whole['detect.model.0.conv.weight'] = torch.zeros(1)
        alone, taken = TarDAL.from_authors(state), TarDAL.from_authors(whole)
        assert alone.keys() == taken.keys()
        assert all(alone[name] is taken[name] for name in alone)
        with pytest.raises(KeyError, match=r'conv1\.weight: not a parameter of TarDAL'):
            TarDAL.from_authors({'conv1.weight': torch.zeros(1)})

    def test_statistics_of_the_image(self):
        """As the public code's generator left in training mode, one image at a time."""
        network = TarDAL(4, use_eval=False).eval()
        vi, ir = torch.rand(2, 1, 1, 8, 9)
        with torch.no_grad():
            found = network(vi, ir)
            torch.testing.assert_close(found, network.train()(vi, ir))
            network.eval().use_eval = True
            assert not torch.allclose(found, network(vi, ir))

    def test_adversarial_step(self):
        """The network and both discriminators learn, each by its own optimizer."""
        fuser, cfg = build(self.train, **self.narrow)
        wrapper = build_optim_wrapper(fuser, cfg.optim_wrapper)
        before = {name: value.clone() for name, value in fuser.named_parameters()}
        inputs = [torch.randint(0, 256, (4, 32, 32), dtype=torch.uint8) for _ in range(2)]
        log = fuser.train_step(dict(inputs=inputs, data_samples=self.samples()), wrapper)
        assert {'loss_source', 'loss_target_fool', 'loss_detail_fool'} <= set(log)
        still = {name for name, value in fuser.named_parameters() if torch.equal(value, before[name])}
        # The Wasserstein losses are differences of scores, in which a bias can cancel.
        assert all(name.startswith('discriminators.') and name.endswith('.bias') for name in still)


def test_divergence_by_hand():
    """For a linear discriminator the gradient is its weights, whatever the images."""
    part = TarDALTargetDiscriminator(size=4, channels=(), penalty=2.0, power=6.0)
    ir, fused = torch.rand(2, 3, 1, 4, 4)
    weight = part.score.weight
    expected = ((fused - ir).flatten(1) @ weight.T).mean() + 2 * (weight + 1e-6).norm() ** 6
    torch.testing.assert_close(part.loss(fused, ir, torch.ones(3, 1, 4, 4)), expected)
    with pytest.raises(ValueError, match=r'TarDALTargetDiscriminator was built for 4×4 and got \(8, 8\): .*size=…'):
        part.fool(torch.rand(1, 1, 8, 8), torch.ones(1, 1, 8, 8))
