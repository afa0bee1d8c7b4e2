"""Pipelines of whole stock training configs, adapted, and built in their own library's scope."""

import copy

import numpy as np
import pytest
from mmengine.dataset import Compose
from mmengine.hub import get_config
from mmengine.registry import DefaultScope

from mmfusion.datasets.transforms import adapt_pipeline

SEGMENTERS = (
    'ann/ann_r50-d8_4xb2-40k_cityscapes-512x1024.py',
    'bisenetv1/bisenetv1_r18-d32_4xb4-160k_cityscapes-1024x1024.py',
    'ccnet/ccnet_r50-d8_4xb2-40k_cityscapes-512x1024.py',
    'cgnet/cgnet_fcn_4xb4-60k_cityscapes-680x680.py',
    'danet/danet_r50-d8_4xb2-40k_cityscapes-512x1024.py',
    'deeplabv3plus/deeplabv3plus_r50-d8_4xb2-40k_cityscapes-512x1024.py',
    'dpt/dpt_vit-b16_8xb2-160k_ade20k-512x512.py',
    'encnet/encnet_r50-d8_4xb2-40k_cityscapes-512x1024.py',
    'fastfcn/fastfcn_r50-d32_jpu_psp_4xb2-80k_cityscapes-512x1024.py',
    'fcn/fcn_r50-d8_4xb2-40k_cityscapes-512x1024.py',
    'hrnet/fcn_hr18_4xb2-40k_cityscapes-512x1024.py',
    'icnet/icnet_r50-d8_4xb2-80k_cityscapes-832x832.py',
    'knet/knet-s3_r50-d8_fcn_8xb2-adamw-80k_ade20k-512x512.py',
    'mask2former/mask2former_r50_8xb2-90k_cityscapes-512x1024.py',
    'ocrnet/ocrnet_hr18_4xb2-40k_cityscapes-512x1024.py',
    'pidnet/pidnet-s_2xb6-120k_1024x1024-cityscapes.py',
    'pspnet/pspnet_r50-d8_4xb2-40k_cityscapes-512x1024.py',
    'segformer/segformer_mit-b0_8xb2-160k_ade20k-512x512.py',
    'segnext/segnext_mscan-t_1xb16-adamw-160k_ade20k-512x512.py',
    'stdc/stdc1_4xb12-80k_cityscapes-512x1024.py',
    'swin/swin-tiny-patch4-window7-in1k-pre_upernet_8xb2-160k_ade20k-512x512.py',
    'upernet/upernet_r50_4xb2-40k_cityscapes-512x1024.py',
)
DETECTORS = (
    'atss/atss_r50_fpn_1x_coco.py',
    'cascade_rcnn/cascade-rcnn_r50_fpn_1x_coco.py',
    'centernet/centernet_r18_8xb16-crop512-140e_coco.py',
    'conditional_detr/conditional-detr_r50_8xb2-50e_coco.py',
    'dab_detr/dab-detr_r50_8xb2-50e_coco.py',
    'deformable_detr/deformable-detr_r50_16xb2-50e_coco.py',
    'detr/detr_r50_8xb2-150e_coco.py',
    'dino/dino-4scale_r50_8xb2-12e_coco.py',
    'faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py',
    'fcos/fcos_r50-caffe_fpn_gn-head_1x_coco.py',
    'gfl/gfl_r50_fpn_1x_coco.py',
    'nas_fcos/nas-fcos_r50-caffe_fpn_nashead-gn-head_4xb4-1x_coco.py',
    'retinanet/retinanet_r50_fpn_1x_coco.py',
    'rtmdet/rtmdet_tiny_8xb32-300e_coco.py',
    'ssd/ssd300_coco.py',
    'tood/tood_r50_fpn_1x_coco.py',
    'vfnet/vfnet_r50_fpn_1x_coco.py',
    'yolo/yolov3_d53_8xb8-ms-608-273e_coco.py',
    'yolox/yolox_s_8xb8-300e_coco.py',
)
CONFIGS = [('mmseg', name) for name in SEGMENTERS] + [('mmdet', name) for name in DETECTORS]


def pipelines(node):
    """Every pipeline of a training dataset, from the inside out."""
    found = []
    if isinstance(node, dict):
        found += pipelines(node.get('dataset')) + pipelines(node.get('datasets'))
        found += [node['pipeline']] if node.get('pipeline') else []
    elif isinstance(node, list | tuple):
        found += [p for item in node for p in pipelines(item)]
    return found


@pytest.mark.parametrize(('library', 'name'), CONFIGS, ids=lambda value: str(value).partition('/')[0])
def test_a_whole_config_builds_its_pipelines_in_its_own_scope(library, name):
    cfg = get_config(f'{library}::{name}')
    for part in ('train', 'val'):
        found = pipelines(cfg[f'{part}_dataloader'].dataset)
        assert found
        for stock in found:
            adapted = adapt_pipeline(stock, annotations=(), scope=library)
            assert adapt_pipeline(adapted) == adapted
            with DefaultScope.overwrite_default_scope(library):
                built = Compose(copy.deepcopy(adapted))
            assert len(built.transforms) == len(adapted)
    if (
        len(found) == 1 and library == 'mmseg'
    ):  # the last is the test pipeline: an image comes through with four channels
        pair = np.random.default_rng(0).integers(0, 256, (24, 32, 4), np.uint8)
        with DefaultScope.overwrite_default_scope(library):
            out = Compose(adapted[1:])(dict(img=pair, img_shape=(24, 32), ori_shape=(24, 32), img_path='a.png'))
        assert out['inputs'].shape[0] == 4
