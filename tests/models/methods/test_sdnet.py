import torch

from mmfusion.models.methods.sdnet import SDNetLoss

from .zoo import PublishedMethod, stand_in, to_tensor


class TestSDNet(PublishedMethod):
    name = 'sdnet'
    config = 'sdnet/sdnet_tno.py'
    train = 'sdnet/sdnet_roadscene.py'
    weights = 'SDNet/IRVIS.model-10'
    tensorflow = True
    tolerance = 1e-4
    narrow = {'network.channels': 4}

    def test_decomposition(self, numbers):
        """Both sources made from the fused image, a part of what the public code gives by the same weights."""
        fuser = self.fuser(stand_in(numbers['names'], numbers['shapes'], tensorflow=True)).train()
        with torch.no_grad():
            batch = fuser.run(to_tensor(numbers['vi_0']).expand(-1, 3, -1, -1), to_tensor(numbers['ir_0']))
        for source, expected in zip(('vi', 'ir'), numbers['decomposed'], strict=True):
            found = batch[f'decomposed_{source}'][0, 0, 8:24, 8:24]
            torch.testing.assert_close(found, torch.from_numpy(expected), rtol=0, atol=1e-4)


def test_gradient_follows_the_stronger_source():
    """With the visible image the only one that has edges, its own gradients cost little, and none cost much."""
    loss = SDNetLoss(intensity=(0.0, 0.0), decomposition=0.0)
    vi, flat = torch.rand(1, 1, 12, 12), torch.full((1, 1, 12, 12), 0.5)
    assert loss(vi, vi, flat, vi, flat)[0] < 0.2 * loss(flat, vi, flat, vi, flat)[0]
    assert loss(vi, flat, vi, flat, vi)[0] < 0.2 * loss(flat, flat, vi, flat, vi)[0]
