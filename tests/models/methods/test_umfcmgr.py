import torch

from mmfusion.models.methods.umfcmgr import UMFCMGRLoss

from .zoo import PublishedMethod


class TestUMFCMGR(PublishedMethod):
    name = 'umfcmgr'
    config = 'umfcmgr/umfcmgr_roadscene.py'
    train = 'umfcmgr/umfcmgr_roadscene_train.py'
    narrow = {'network.channels': 4}


def test_loss_is_zero_for_one_image_thrice():
    x, y = torch.rand(2, 2, 1, 16, 16)
    loss = UMFCMGRLoss()
    assert loss(x, x, x)[0] < 1e-5
    value, log = loss((x + y) / 2, x, y)
    torch.testing.assert_close(value, log['intensity'] + log['gradient'])
    bright = torch.zeros(1, 1, 16, 16)
    bright[..., :2] = 1  # salient where it is bright, and the flat image nowhere
    assert loss(bright, bright, torch.full_like(bright, 0.5))[1]['intensity'] < 20 * 0.26
