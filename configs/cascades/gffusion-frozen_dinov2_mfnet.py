"""DINOv2-Seg, GFFusion's SSNet, trained on the images of a frozen GFFusion (its Table 4).

Only its linear head is trained: DINOv2 is frozen, as in section III-B.5. See gffusion-frozen_segformer_mfnet.py.
"""

_base_ = './gffusion-frozen_segformer_mfnet.py'

from mmengine.hub import get_config  # after _base_: otherwise mmengine takes this file for a lazy config

segmentor = get_config('mmfusion::_base_/models/dinov2_linear_seg.py').segmentor.to_dict()
model = dict(segmentor=dict(_delete_=True, **segmentor))

# The rate of the head that SegFormer has there.
optim_wrapper = dict(optimizer=dict(lr=6e-4), paramwise_cfg=dict(_delete_=True))
