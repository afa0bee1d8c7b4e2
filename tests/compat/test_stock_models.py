"""Stock models of mmseg and mmdet, from their libraries' own configs, compute losses, gradients and predictions."""

import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.registry import DefaultScope
from mmengine.structures import InstanceData, PixelData


def _config(tmp_path, base, edits):
    """Return the config that a file with ``_base_ = [base]`` and these edits gives."""
    path = tmp_path / 'child.py'
    path.write_text(f'_base_ = [{base!r}]\n{edits}')
    return Config.fromfile(path)


def _losses_are_finite_and_reach(model, batch, parameter):
    losses, _ = model.parse_losses(model(**model.data_preprocessor(batch, True), mode='loss'))
    losses.backward()
    assert torch.isfinite(losses)
    assert losses > 0
    gradient = model.get_parameter(parameter).grad
    assert torch.isfinite(gradient).all()
    assert gradient.abs().sum() > 0


def test_deeplabv3plus_of_mmseg(tmp_path):
    import mmseg.datasets
    import mmseg.models
    from mmseg.structures import SegDataSample

    config = _config(
        tmp_path,
        'mmseg::deeplabv3plus/deeplabv3plus_r18-d8_4xb2-80k_cityscapes-512x1024.py',
        'norm = dict(type="BN", requires_grad=True)\n'
        'model = dict(pretrained=None, backbone=dict(base_channels=8, stem_channels=8, norm_cfg=norm),\n'
        '    data_preprocessor=dict(size=(64, 64)),\n'
        '    decode_head=dict(in_channels=64, c1_in_channels=8, channels=8, c1_channels=4, num_classes=3,\n'
        '        norm_cfg=norm),\n'
        '    auxiliary_head=dict(in_channels=32, channels=8, num_classes=3, norm_cfg=norm))\n',
    )
    with DefaultScope.overwrite_default_scope('mmseg'):
        model = mmseg.models.build_segmentor(config.model)
    samples = []
    for _ in range(2):
        labels = PixelData(data=torch.randint(0, 3, (1, 64, 64)))
        samples.append(SegDataSample(gt_sem_seg=labels, metainfo={'ori_shape': (64, 64), 'img_shape': (64, 64)}))
    batch = {
        'inputs': [torch.randint(0, 256, (3, 64, 64), dtype=torch.uint8) for _ in samples],
        'data_samples': samples,
    }
    _losses_are_finite_and_reach(model, batch, 'backbone.stem.0.weight')
    prediction = model.eval().test_step(batch)[0].pred_sem_seg.data
    assert prediction.shape == (1, 64, 64)
    assert prediction.max() <= 2


DETECTORS = {
    'YOLOX': (
        'mmdet::yolox/yolox_tiny_8xb8-300e_coco.py',
        'model = dict(backbone=dict(widen_factor=0.125), neck=dict(in_channels=[32, 64, 128], out_channels=16),\n'
        '    bbox_head=dict(in_channels=16, feat_channels=16, num_classes=3),\n'
        '    test_cfg=dict(score_thr=0.0), data_preprocessor=dict(batch_augments=None))\n',
        'backbone.stem.conv.conv.weight',
    ),
    'RTMDet': (
        'mmdet::rtmdet/rtmdet_tiny_8xb32-300e_coco.py',
        'norm = dict(type="BN")\n'
        'model = dict(backbone=dict(widen_factor=0.125, init_cfg=None, norm_cfg=norm),\n'
        '    neck=dict(in_channels=[32, 64, 128], out_channels=16, norm_cfg=norm),\n'
        '    bbox_head=dict(in_channels=16, feat_channels=16, num_classes=3, norm_cfg=norm),\n'
        '    test_cfg=dict(score_thr=0.0), data_preprocessor=dict(batch_augments=None))\n',
        'backbone.stem.0.conv.weight',
    ),
}


@pytest.mark.parametrize('name', DETECTORS)
def test_detectors_of_mmdet(tmp_path, name):
    import mmdet.datasets
    import mmdet.models  # noqa: F401
    from mmdet.registry import MODELS
    from mmdet.structures import DetDataSample

    base, edits, parameter = DETECTORS[name]
    config = _config(tmp_path, base, edits)
    with DefaultScope.overwrite_default_scope('mmdet'):
        model = MODELS.build(config.model)
    meta = {'ori_shape': (96, 96), 'img_shape': (96, 96), 'scale_factor': (1.0, 1.0), 'batch_input_shape': (96, 96)}
    items = []
    for _ in range(2):
        boxes = InstanceData(bboxes=torch.tensor([[8.0, 8, 60, 70], [30, 40, 90, 90]]), labels=torch.tensor([0, 2]))
        image = torch.randint(0, 256, (3, 96, 96), dtype=torch.uint8)
        items.append({'inputs': image, 'data_samples': DetDataSample(gt_instances=boxes, metainfo=dict(meta))})
    batch = pseudo_collate(items)
    _losses_are_finite_and_reach(model, batch, parameter)
    instances = model.eval().test_step(batch)[0].pred_instances
    assert instances.bboxes.shape[1] == 4
    assert len(instances) > 0
    assert (instances.scores[:-1] >= instances.scores[1:]).all()


def test_two_stage_detector_of_mmdet(tmp_path):
    """Faster R-CNN: RoI Align forward and backward, and NMS in training, through the stand-in."""
    import mmdet.models  # noqa: F401
    from mmdet.registry import MODELS
    from mmdet.structures import DetDataSample

    config = _config(
        tmp_path,
        'mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py',
        'model = dict(backbone=dict(depth=18, base_channels=8, stem_channels=8, init_cfg=None, frozen_stages=-1,\n'
        '        norm_eval=False),\n'
        '    neck=dict(in_channels=[8, 16, 32, 64], out_channels=16),\n'
        '    rpn_head=dict(in_channels=16, feat_channels=16),\n'
        '    roi_head=dict(bbox_roi_extractor=dict(out_channels=16),\n'
        '        bbox_head=dict(in_channels=16, fc_out_channels=32, num_classes=3)),\n'
        '    test_cfg=dict(rcnn=dict(score_thr=0.0)))\n',
    )
    with DefaultScope.overwrite_default_scope('mmdet'):
        model = MODELS.build(config.model)
    boxes = InstanceData(bboxes=torch.tensor([[8.0, 8, 60, 70], [30, 40, 90, 90]]), labels=torch.tensor([0, 2]))
    meta = {'ori_shape': (96, 96), 'img_shape': (96, 96), 'scale_factor': (1.0, 1.0)}
    sample = DetDataSample(gt_instances=boxes, metainfo=meta)
    batch = {'inputs': [torch.randint(0, 256, (3, 96, 96), dtype=torch.uint8)], 'data_samples': [sample]}
    _losses_are_finite_and_reach(model, batch, 'roi_head.bbox_head.shared_fcs.0.weight')
    assert model.backbone.conv1.weight.grad.abs().sum() > 0
    assert model.eval().test_step(batch)[0].pred_instances.bboxes.shape[1] == 4
