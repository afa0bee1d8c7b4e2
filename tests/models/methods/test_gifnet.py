import pytest
import torch
from mmengine.structures import PixelData

from mmfusion.models.methods.gifnet import DenseNetInformation, TaskBlock
from mmfusion.structures import FusionDataSample

from .zoo import PublishedMethod, build

TINY = dict(weights='random', width=1 / 16, block_config=(1, 1, 1, 1))


class TestGIFNet(PublishedMethod):
    name = 'gifnet'
    config = 'gifnet/gifnet_llvip.py'
    train = 'gifnet/gifnet_llvip_focus.py'
    weights = 'GIFNet/Final.model'
    narrow = {
        'network.growth': 4,
        'network.channels': 16,
        **{f'losses.tasks.prior.{key}': value for key, value in TINY.items()},
    }

    def samples(self):
        samples = [FusionDataSample(), FusionDataSample()]
        for sample in samples:
            for name in ('near', 'far'):
                sample.set_field(PixelData(data=torch.rand(1, self.size, self.size)), name)
        return samples

    def test_least_size(self):
        fuser, _ = build(self.config, **{'network.growth': 2, 'network.channels': 4})
        fuser.eval()
        assert fuser.fuse(torch.rand(1, 3, 5, 9), torch.rand(1, 1, 5, 9)).shape == (1, 3, 5, 9)
        with pytest.raises(ValueError, match='GIFNet needs images of at least 5×5 pixels, got 4×9'):
            fuser.fuse(torch.rand(1, 3, 4, 9), torch.rand(1, 1, 4, 9))


def test_a_task_moves_only_its_own_attention():
    """The other branch's attention has no gradient; its norm and MLP have."""
    block = TaskBlock(6, crossed=True, shift=0)
    out = block({task: torch.rand(1, 6, 8, 8) for task in ('modal', 'focus')}, 'modal')
    sum(x.sum() for x in out.values()).backward()
    modal, focus = block.branches['modal'], block.branches['focus']
    assert all(p.grad is not None for p in modal.parameters())
    assert focus.query_key.weight.grad is None
    assert focus.mlp[0].weight.grad is not None


def test_crossed_block_answers_the_tasks_queries():
    torch.manual_seed(1)
    block = TaskBlock(6, crossed=True, shift=0)
    x = {task: torch.rand(1, 6, 8, 8) for task in ('modal', 'focus')}
    before = block(x, 'modal')['focus']
    with torch.no_grad():
        block.branches['focus'].query_key.weight[:6] += 1  # the queries of the other branch
    torch.testing.assert_close(block(x, 'modal')['focus'], before)
    block.crossed = False
    assert not torch.allclose(block(x, 'modal')['focus'], before)


def test_information_of_densenet():
    prior, x = DenseNetInformation(**TINY), torch.rand(2, 1, 32, 32)
    assert prior(x) > prior(torch.full_like(x, 0.5))
    kernel = torch.full((1, 4, 3, 3), 1 / 8)
    kernel[:, :, 1, 1] = -1
    features = torch.nn.functional.pad(prior.stages[0](x.expand(-1, 3, -1, -1)), (1, 1, 1, 1), mode='reflect')
    first = torch.nn.functional.conv2d(features, kernel).square().mean()
    prior.stages = prior.stages[:1]
    torch.testing.assert_close(prior(x), first)
    with pytest.raises(FileNotFoundError, match=r"densenet121: 'nowhere.pth' is no file"):
        DenseNetInformation('nowhere.pth')
