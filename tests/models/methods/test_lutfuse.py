import pytest
import torch
from mmengine.structures import PixelData

from mmfusion.models.methods.lutfuse import LUTFuse, LUTFuseLoss
from mmfusion.structures import FusionDataSample
from mmfusion.utils.checkpoint import read_checkpoint

from .zoo import PublishedMethod, build


class TestLUTFuse(PublishedMethod):
    name = 'lutfuse'
    config = 'lutfuse/lutfuse_msrs.py'
    train = 'lutfuse/lutfuse_msrs_distill.py'
    narrow = {'network.channels': 4, 'losses.distillation.window': 11}

    @pytest.mark.data
    def test_public_code_by_authors_weights(self, numbers, data_dir):
        """The repository's folder has two versions of each of the two files."""
        folder = data_dir / 'zoo/LUT-Fuse'
        state = read_checkpoint(folder / 'fine_tuned_lut.npy')[0]
        context = read_checkpoint(folder / 'generator_context.pth')[0]
        state.update({f'generator_context.{name}': value for name, value in context.items()})
        self.compare(self.fuser(state), numbers, 'fused')

    @pytest.mark.parametrize('channels', [1, 3])
    def test_device(self, channels):
        self.channels = channels  # of the reference: grey or colour
        super().test_device()

    def samples(self):
        samples = [FusionDataSample(), FusionDataSample()]
        for sample in samples:
            sample.set_field(PixelData(data=torch.rand(self.channels, self.size, self.size)), 'reference')
        return samples

    def test_least_size(self):
        fuser, _ = build(self.config)
        fuser.eval()
        assert fuser.fuse(torch.rand(1, 3, 2, 3), torch.rand(1, 1, 2, 3)).shape == (1, 3, 2, 3)
        with pytest.raises(ValueError, match='LUTFuse needs images of at least 2×2 pixels, got 1×9'):
            fuser.fuse(torch.rand(1, 3, 1, 9), torch.rand(1, 1, 1, 9))


def test_look_up_is_linear_between_bins_and_constant_beyond_the_last():
    network, zero = LUTFuse(channels=2), torch.zeros(4)
    places = torch.tensor([0.0, 3.25, 15.0, 15.9])
    expected = torch.tensor([0.0, 3.25, 15.0, 15.0]) * 16 / 255
    torch.testing.assert_close(network.look_up([places, zero, zero, zero]), expected)  # context 0: luminance alone
    with torch.no_grad():
        network.lut.zero_()[1, 2, 3, 4] = 1
    corner = [torch.tensor([float(k + 1), k + 1.25]) for k in range(4)]
    torch.testing.assert_close(network.look_up(corner), torch.tensor([1.0, 0.75**4]))


def test_table_alone_is_refused():
    with pytest.raises(ValueError, match=r'LUTFuse: expected one table of 16×16×16×16×1, found 0. Give both files.'):
        LUTFuse.from_authors({'input_layer.0.weight': torch.zeros(2, 4, 3, 3)})


def test_loss_of_a_table_that_falls():
    image, ramp = torch.rand(1, 3, 16, 16), torch.arange(16) / 32
    lut = (ramp[:, None, None, None] + ramp).expand(16, 16, 16, 16)
    given = dict(fused_rgb=image, fused=image[:, :1], vi_rgb=image, ir=image[:, :1], reference=image)
    loss = LUTFuseLoss(window=11)
    rising, log = loss(**given, lut=lut)
    assert log['falling'] == log['distance'] == 0
    falling, log = loss(**given, lut=1 - lut)
    torch.testing.assert_close(log['falling'], torch.tensor(2 / 32))  # of two dimensions, 1/32 from bin to bin
    torch.testing.assert_close(falling - rising, torch.tensor(20 / 32), rtol=0, atol=1e-5)
