import torch
from mmengine.structures import PixelData

from mmfusion.models.methods.stdfusionnet import STDFusionNetLoss
from mmfusion.structures import FusionDataSample

from .zoo import PublishedMethod


class TestSTDFusionNet(PublishedMethod):
    name = 'stdfusionnet'
    config = 'stdfusionnet/stdfusionnet_tno.py'
    train = 'stdfusionnet/stdfusionnet_roadscene.py'
    weights = 'STDFusionNet/Fusion.model-29'
    tensorflow = True
    tolerance = 1e-4
    narrow = {'network.channels': (4, 4, 5, 6), 'network.decoder_channels': (6, 5, 4)}

    def samples(self):
        masks = torch.rand(2, 2, 1, self.size, self.size) > 0.5
        return [FusionDataSample(gt_saliency=PixelData(vi=vi, ir=ir)) for vi, ir in masks]


def test_objects_from_infrared_background_from_visible():
    loss, vi, ir = STDFusionNetLoss(), *torch.rand(2, 1, 1, 8, 8)
    everywhere = torch.ones(1, 1, 8, 8, dtype=torch.bool)
    assert loss(ir, vi, ir, everywhere)[0] == loss(vi, vi, ir, ~everywhere)[0] == 0
    torch.testing.assert_close(loss(vi, vi, ir, everywhere)[0], 7 * loss(ir, vi, ir, ~everywhere)[0])
