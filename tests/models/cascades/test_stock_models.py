"""Stock models of mmseg and mmdet in a cascade: one line each, by the name of their libraries' configs."""

import copy

import numpy as np
import pytest
import torch
from mmengine.evaluator import Evaluator
from mmengine.optim import build_optim_wrapper
from mmengine.registry import DefaultScope

from mmfusion.engine.optim import without_amp
from mmfusion.registry import MODELS

from .conftest import batch, cascade_config, whole_loader

SEGMENTORS = {
    'deeplabv3plus': 'mmseg::deeplabv3plus/deeplabv3plus_r18-d8_4xb2-80k_cityscapes-512x1024.py',
    'segformer': 'mmseg::segformer/segformer_mit-b0_8xb2-160k_ade20k-512x512.py',
    'segnext': 'mmseg::segnext/segnext_mscan-t_1xb16-adamw-160k_ade20k-512x512.py',
    'fcn': 'mmseg::fcn/fcn_r18-d8_4xb2-80k_cityscapes-512x1024.py',
    'pspnet': 'mmseg::pspnet/pspnet_r18-d8_4xb2-80k_cityscapes-512x1024.py',
    'bisenetv2': 'mmseg::bisenetv2/bisenetv2_fcn_4xb4-160k_cityscapes-1024x1024.py',
    'fast_scnn': 'mmseg::fastscnn/fast_scnn_8xb4-160k_cityscapes-512x1024.py',
    'erfnet': 'mmseg::erfnet/erfnet_fcn_4xb4-160k_cityscapes-512x1024.py',
    'ddrnet': 'mmseg::ddrnet/ddrnet_23-slim_in1k-pre_2xb6-120k_cityscapes-1024x1024.py',
    'cgnet': 'mmseg::cgnet/cgnet_fcn_4xb4-60k_cityscapes-680x680.py',
}
DETECTORS = {
    'yolox': 'mmdet::yolox/yolox_nano_8xb8-300e_coco.py',
    'yolov3': 'mmdet::yolo/yolov3_mobilenetv2_8xb24-320-300e_coco.py',
    'rtmdet': 'mmdet::rtmdet/rtmdet_tiny_8xb32-300e_coco.py',
    'retinanet': 'mmdet::retinanet/retinanet_r18_fpn_1x_coco.py',
    'atss': 'mmdet::atss/atss_r18_fpn_8xb8-amp-lsj-200e_coco.py',
    'faster_rcnn': 'mmdet::faster_rcnn/faster-rcnn_r18_fpn_8xb8-amp-lsj-200e_coco.py',
}
MODELS_BY_NAME = SEGMENTORS | DETECTORS
# What a model needs beside the common preparation.
EDITS = {
    'segformer': "segmentor.test_cfg = dict(mode='slide', crop_size=(48, 48), stride=(32, 32))",
}


@pytest.fixture(scope='module', params=MODELS_BY_NAME)
def case(request, tmp_path_factory, one_thread):
    """Name, prefix of its losses, config and the model of one cascade."""
    name = request.param
    cfg = cascade_config(tmp_path_factory.mktemp(name), MODELS_BY_NAME[name], EDITS.get(name, ''))
    torch.manual_seed(0)
    model = MODELS.build(cfg.model)
    return name, 'seg' if name in SEGMENTORS else 'det', cfg, model


def stock_batch(model, data, fused):
    """What the stock model would read from a file that holds the fused image."""
    images = [255 * image.flip(0) for image in fused]
    return model.task.data_preprocessor(dict(inputs=images, data_samples=data['data_samples']), False)


def test_trains_with_the_fuser(case, hub):
    """A step by the stock config's own dataloader and optimizer: losses of both sides, and both first layers change."""
    name, prefix, cfg, model = case
    library = MODELS_BY_NAME[name].partition(':')[0]
    model.train()
    torch.manual_seed(0)
    np.random.seed(0)
    raw = next(iter(whole_loader(cfg, library)))
    assert [len(pair) for pair in raw['inputs']] == [4, 4]
    data = model.data_preprocessor(raw, True)
    first = next(p for p in model.fuser.parameters())
    task_first = next(p for p in model.task.parameters() if p.requires_grad)
    before = first.detach().clone(), task_first.detach().clone()
    without_amp(cfg.optim_wrapper)
    with DefaultScope.overwrite_default_scope(library):
        optim = build_optim_wrapper(model, cfg.optim_wrapper)
    losses = model(**data, mode='loss')
    total, log = model.parse_losses(losses)
    assert torch.isfinite(total)
    task_only = sum(v for k, v in log.items() if k.startswith(prefix) and 'loss' in k)
    assert task_only > 0
    fusion_only = sum(v for k, v in log.items() if k.startswith('fusion.') and 'loss' in k)
    assert total.item() == pytest.approx((task_only + fusion_only).item(), rel=1e-5)
    # The task's gradient alone must reach the fuser's first layer.
    grad = torch.autograd.grad(
        sum(v for k, value in losses.items() if k.startswith(prefix) and 'loss' in k for v in flat(value)),
        first,
        retain_graph=True,
    )[0]
    assert torch.isfinite(grad).all()
    assert grad.abs().sum() > 0
    state = copy.deepcopy(model.state_dict())
    optim.update_params(total)
    assert not torch.equal(first, before[0])
    assert not torch.equal(task_first, before[1])
    model.load_state_dict(state)  # from random weights a stock step may go far


def flat(value):
    """The scalars of a loss, which may be a list."""
    return [v.mean() for v in value] if isinstance(value, list | tuple) else [value.mean()]


def test_predicts_as_the_stock_model(case):
    """Predictions equal the stock model's on the same fused image; its metric takes them."""
    _, prefix, _, model = case
    model.eval()
    raw = batch(prefix)
    data = model.data_preprocessor(copy.deepcopy(raw), False)
    torch.manual_seed(0)  # SegNeXt's decomposition starts from random bases
    samples = model(**data, mode='predict')
    with torch.no_grad():
        fused = model.fuser.fuse(**data['inputs'])
        torch.manual_seed(0)
        for sample in raw['data_samples']:
            sample.set_metainfo(dict(scale_factor=(1.0, 1.0)))
        expected = model.task(**stock_batch(model, copy.deepcopy(raw), fused), mode='predict')
    for ours, stock, image in zip(samples, expected, fused, strict=True):
        torch.testing.assert_close(ours.fused.data, image, rtol=0, atol=1e-6)
        if prefix == 'seg':
            torch.testing.assert_close(ours.seg_logits.data, stock.seg_logits.data, rtol=1e-5, atol=1e-6)
            assert torch.equal(ours.pred_sem_seg.data, stock.pred_sem_seg.data)
            assert ours.pred_sem_seg.shape == (64, 64)
        else:
            torch.testing.assert_close(ours.pred_instances.bboxes, stock.pred_instances.bboxes, rtol=1e-5, atol=1e-4)
            assert torch.equal(ours.pred_instances.labels, stock.pred_instances.labels)
    metric = dict(type='mmseg.IoUMetric') if prefix == 'seg' else dict(type='mmdet.VOCMetric')
    evaluator = Evaluator(metric)
    classes = tuple('abcdef') if prefix == 'seg' else ('person', 'car')
    evaluator.dataset_meta = dict(classes=classes)
    evaluator.process(samples, raw)
    result = evaluator.evaluate(len(samples))
    assert set(result) >= ({'mIoU', 'aAcc'} if prefix == 'seg' else {'pascal_voc/mAP'})


def test_weights_are_the_stock_models_own(case, tmp_path):
    """State dict keys are the library's; a stock checkpoint goes in, and comes out for the stock library to load."""
    _, _, cfg, model = case
    stock = MODELS.build(cfg.model[model.task_name])
    assert list(stock.state_dict()) == list(model.task_state_dict())
    changed = {k: v + 1 if v.is_floating_point() else v for k, v in stock.state_dict().items()}
    other = MODELS.build(cfg.model)
    torch.save(dict(state_dict=changed), tmp_path / 'stock.pth')
    from mmengine.runner import load_checkpoint

    load_checkpoint(other, str(tmp_path / 'stock.pth'), strict=False)
    for key, value in other.task_state_dict().items():
        assert torch.equal(value, changed[key]), key
    stock.load_state_dict(other.task_state_dict(), strict=True)
