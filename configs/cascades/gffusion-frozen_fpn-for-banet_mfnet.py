"""Semantic FPN, a STAND-IN for BANet, trained on the images of a frozen GFFusion (its Table 4).

BANet (the paper's reference 32) is a panoptic network on ResNet and FPN that mmsegmentation does not have; this is the
semantic half of that design. Its numbers cannot be compared with the BANet rows. See gffusion-frozen_segformer_mfnet.py.
"""

_base_ = './gffusion-frozen_segformer_mfnet.py'

from mmengine.hub import get_config  # after _base_: otherwise mmengine takes this file for a lazy config

segmentor = get_config('mmseg::sem_fpn/fpn_r50_4xb4-160k_ade20k-512x512.py').model.to_dict()
segmentor['data_preprocessor']['size'] = (480, 480)
segmentor['decode_head']['num_classes'] = 9
model = dict(segmentor=dict(_delete_=True, _scope_='mmseg', **segmentor))

# mmsegmentation's optimizer for it
optimizer = dict(_delete_=True, type='SGD', lr=0.01, momentum=0.9, weight_decay=5e-4)
optim_wrapper = dict(optimizer=optimizer, paramwise_cfg=dict(_delete_=True))
