"""A narrow GFFusion without segmenter on a tiny CLIP with RANDOM weights: it shows that everything runs, and no more."""

_base_ = [
    '../_base_/models/gffusion_funet.py',
    '../_base_/datasets/synthetic.py',
    '../_base_/schedules/gffusion_funet_100e.py',
    '../_base_/default_runtime.py',
]

clip = dict(
    embed_dim=32,
    quick_gelu=True,
    vision_cfg=dict(image_size=64, patch_size=16, width=32, layers=4, head_width=16),
)
model = dict(
    priors=dict(
        prior=dict(_delete_=True, type='mmfusion.CLIPPrior', model=clip, pretrained='random', size=64, layers=(1, 2, 3))
    ),
    network=dict(channels=(8, 12), decoder_channels=(16, 12, 8), injection=dict(prior_channels=32, num_layers=3)),
)

train_pipeline = [
    dict(type='mmfusion.RenderSyntheticPair', with_masks=False, with_seg=False, with_bbox=False),
    dict(type='mmseg.RandomFlip', prob=0.5),
    dict(type='mmseg.RandomCrop', crop_size=(96, 96)),
    dict(type='mmfusion.PackFusionInputs'),
]
size = (240, 320)
train_dataloader = dict(batch_size=4, num_workers=1, dataset=dict(num=64, size=size, pipeline=train_pipeline))
val_dataloader = dict(num_workers=1, dataset=dict(num=8, size=size))
test_dataloader = dict(num_workers=1, dataset=dict(num=8, size=size))
train_cfg = dict(max_epochs=10, val_interval=10)
default_hooks = dict(logger=dict(interval=8), checkpoint=dict(max_keep_ckpts=2))
