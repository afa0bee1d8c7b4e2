import pytest
import torch
from mmengine.structures import PixelData

from mmfusion.models.methods.psfusion import PSFusion, PSFusionLoss, boundaries
from mmfusion.structures import FusionDataSample

from .zoo import PublishedMethod, stand_in, to_tensor


class TestPSFusion(PublishedMethod):
    """The public code with 16 channels in the place of 64, its weights being too large to be here."""

    name = 'psfusion'
    config = 'psfusion/psfusion_msrs.py'
    train = 'psfusion/psfusion_msrs_train.py'
    build_options = {'network.channels': 16}
    narrow = {'network.channels': 8, 'network.layers': (1, 1, 1, 1), 'network.pretrained': None}
    size = 64  # at 1/32, batch norm of four numbers
    # A convolution's bias before batch norm moves nothing.
    may_rest = (r'.*(total|recalibrate|local|aggregate|stem|reduce|down|boundary)\.\d*\.?bias',)

    def samples(self):
        labels = torch.randint(0, 9, (2, 1, self.size, self.size))
        return [FusionDataSample(gt_sem_seg=PixelData(data=label)) for label in labels]

    def test_checkpoint_of_the_public_code(self, numbers):
        """With its optimizer beside it, and of the full size."""
        state = stand_in(numbers['names'], numbers['shapes'])
        file = {f'MTAN.{name}': value for name, value in state.items()}
        file['optimizer.state.0.momentum_buffer'] = torch.zeros(3)
        plain, taken = PSFusion.from_authors(state), PSFusion.from_authors(file)
        assert plain.keys() == taken.keys()
        shapes = zip(numbers['names'], numbers['full_shapes'], strict=True)
        with torch.device('meta'):
            full = {str(n): torch.zeros([int(k) for k in str(s).split(',') if k]) for n, s in shapes}
            PSFusion().load_state_dict(PSFusion.from_authors(full), strict=True, assign=True)
        with pytest.raises(KeyError, match='encoder_thermal_conv1: a PSFusion checkpoint has layers of this name'):
            PSFusion.from_authors({'conv1.weight': torch.zeros(1)})

    def test_labels(self, numbers):
        state = stand_in(numbers['names'], numbers['shapes'], gain=float(numbers['gain']))
        fuser = self.fuser(state)
        vi, ir = to_tensor(numbers['vi_0']), to_tensor(numbers['ir_0'])
        expected = torch.from_numpy(numbers['seg_logits'])
        with torch.no_grad():
            found = fuser.run(vi, ir)['seg_logits'][0, :, ::4, ::4]
            torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
            (sample,) = fuser.predict(dict(vi=vi[..., :33], ir=ir[..., :33]))  # padded, and cut back
        assert sample.pred_sem_seg.shape == (32, 33)

    def test_sizes(self):
        network = PSFusion(channels=8, layers=(1, 1, 1, 1))
        with pytest.raises(ValueError, match=r'images of \(32, 48\) are no multiples of 32; set size_divisor=32'):
            network(torch.rand(1, 3, 32, 48), torch.rand(1, 1, 32, 48))
        with pytest.raises(FileNotFoundError, match=r"resnet34: 'nowhere.pth' is no file"):
            PSFusion(channels=8, layers=(1, 1, 1, 1), pretrained='nowhere.pth')


def test_boundaries():
    labels = torch.zeros(1, 5, 5, dtype=torch.long)
    labels[0, 3:] = 7
    assert torch.equal(boundaries(labels)[0].any(1), torch.tensor([False, False, True, True, False]))


def test_hard_pixels():
    """All below a probability of 0.75 where these are enough, else the hardest."""
    loss, labels = PSFusionLoss(hard_share=0.25, ignore_index=255), torch.zeros(1, 1, 8, dtype=torch.long)
    logits = torch.zeros(1, 2, 1, 8)
    logits[:, 0] = torch.tensor([[-1.0, 0.0, 0.5, 3.0, 4.0, 5.0, 6.0, 7.0]])
    for shift, count in ((0.0, 3), (3.0, 2)):
        logits[:, 1] = -shift
        each = torch.nn.functional.cross_entropy(logits, labels, reduction='none').flatten()
        torch.testing.assert_close(loss.semantic(logits, labels), each[:count].mean())


def test_fusion_loss_prefers_the_source_with_contrast():
    torch.manual_seed(0)
    detail, flat = torch.rand(1, 1, 24, 24), torch.full((1, 1, 24, 24), 0.5)
    flat[..., 0] = 0.4
    near = PSFusionLoss.fusion(detail, detail, flat, None)
    assert near < PSFusionLoss.fusion((detail + flat) / 2, detail, flat, None)
    masked = PSFusionLoss.fusion(flat + 0.01 * detail, flat, detail, torch.ones(1, 1, 24, 24))
    assert masked < PSFusionLoss.fusion(flat + 0.01 * detail, flat, detail, None)
