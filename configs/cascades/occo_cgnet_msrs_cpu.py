"""A narrow OCCO in front of cgnet_msrs_cpu.py's CGNet, without its contrastive loss: `frozen:FILE` against `joint:FILE`.

The weights of occo_public-pairs.py fit. Masks: `mmfusion masks`, as docs/models.md has them.
"""

_base_ = './cgnet_msrs_cpu.py'

from mmengine.hub import get_config

fuser = get_config('mmfusion::occo/occo_public-pairs.py').model.to_dict()
fuser['network']['stretch'] = 'image'
fuser['losses']['contrastive'] = None  # VGG at this size: minutes a step on a processor
model = dict(fuser=dict(_delete_=True, **fuser))
pipeline = _base_.train_dataloader.dataset.pipeline
train_dataloader = dict(
    dataset=dict(with_masks=True, pipeline=[pipeline[0], dict(type='mmfusion.LoadSaliencyMasks'), *pipeline[1:]])
)
del fuser, pipeline
