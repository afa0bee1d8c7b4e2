"""SegNeXt-T trained on the images of a frozen GFFusion (its Table 4); see gffusion-frozen_segformer_mfnet.py."""

_base_ = './gffusion-frozen_segformer_mfnet.py'

from mmengine.hub import get_config  # after _base_: otherwise mmengine takes this file for a lazy config

segmentor = get_config('mmseg::segnext/segnext_mscan-t_1xb16-adamw-160k_ade20k-512x512.py').model.to_dict()
segmentor['data_preprocessor']['size'] = (480, 480)
segmentor['decode_head']['num_classes'] = 9
model = dict(segmentor=dict(_delete_=True, _scope_='mmseg', **segmentor))
