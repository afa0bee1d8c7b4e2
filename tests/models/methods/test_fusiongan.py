import pytest
import torch
from mmengine.optim import build_optim_wrapper

from mmfusion.models.methods.fusiongan import FusionGAN, FusionGANDiscriminator

from .zoo import PublishedMethod, build


class TestFusionGAN(PublishedMethod):
    name = 'fusiongan'
    config = 'fusiongan/fusiongan_tno.py'
    train = 'fusiongan/fusiongan_roadscene.py'
    tensorflow = True
    tolerance = 1e-4
    narrow = {
        'network.channels': (4, 4, 4, 4),
        'discriminators.visible.channels': (4, 4, 4, 4),
        'discriminators.visible.size': 32,
    }

    def test_adversarial_step(self):
        """Both sides learn, each by its own optimizer."""
        fuser, cfg = build(self.train, **self.narrow)
        wrapper = build_optim_wrapper(fuser, cfg.optim_wrapper)
        before = {name: value.clone() for name, value in fuser.named_parameters()}
        inputs = [torch.randint(0, 256, (4, 32, 32), dtype=torch.uint8) for _ in range(2)]
        log = fuser.train_step(dict(inputs=inputs, data_samples=None), wrapper)
        assert {'loss_content', 'loss_visible_fool', 'visible/discriminator_loss'} <= set(log)
        still = {name for name, value in fuser.named_parameters() if torch.equal(value, before[name])}
        assert still == set()


def test_patches_of_another_size_are_refused():
    with pytest.raises(ValueError, match=r'was built for 32×32 and got \(40, 40\): .*size=…'):
        FusionGANDiscriminator(32, (4, 4, 4, 4))(torch.rand(1, 1, 40, 40))
    assert FusionGANDiscriminator().score.in_features == 6 * 6 * 256  # as in the public code
    with pytest.raises(ValueError, match="variant must be 'official' or 'paper', got 'gan'"):
        FusionGAN(variant='gan')


def test_paper_variant_divides_by_the_spectral_norm():
    """The last convolution's weights have norm 1 then; the public test script takes them as they are."""
    network = FusionGAN((4, 4, 4, 4), 'paper').eval()
    last = network.conv[-1]
    with torch.no_grad():
        last.parametrizations.weight.original *= 3
    assert last.weight.norm().item() == pytest.approx(1)
    vi, ir = torch.rand(2, 1, 1, 9, 9)
    paper = network(vi, ir)
    network.variant = 'official'
    assert not torch.allclose(network(vi, ir), paper)
