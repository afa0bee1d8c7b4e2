"""A narrow MGFusion on a tiny CLIP with RANDOM weights: it shows that and how everything runs, not what MGFusion can do."""

_base_ = [
    '../_base_/models/mgfusion.py',
    '../_base_/datasets/synthetic.py',
    '../_base_/schedules/mgfusion_100e.py',
    '../_base_/default_runtime.py',
]

# No weights are downloaded. Embeddings of a random CLIP still differ from image to image; they mean nothing.
clip = dict(
    embed_dim=32,
    quick_gelu=True,
    vision_cfg=dict(image_size=64, patch_size=16, width=32, layers=2, head_width=16),
)
model = dict(
    priors=dict(
        prior=dict(
            _delete_=True,
            type='mmfusion.CLIPPrior',
            model=clip,
            pretrained='random',
            size=64,
            layers=(),
            embedding=True,
        )
    ),
    network=dict(channels=8, num_blocks=1, cii=dict(embed_dim=32), cff=dict(embed_dim=32)),
)

train_pipeline = [
    dict(type='mmfusion.RenderSyntheticPair', with_masks=False, with_seg=False, with_bbox=False),
    dict(type='mmseg.RandomFlip', prob=0.5),
    dict(type='mmseg.RandomCrop', crop_size=(96, 96)),
    dict(type='mmseg.RandomRotFlip', rotate_prob=0.0, flip_prob=0.5),
    dict(type='mmfusion.PackFusionInputs'),
]
size = (240, 320)
train_dataloader = dict(batch_size=4, num_workers=1, dataset=dict(num=64, size=size, pipeline=train_pipeline))
val_dataloader = dict(num_workers=1, dataset=dict(num=8, size=size))
test_dataloader = dict(num_workers=1, dataset=dict(num=8, size=size))

# The paper's warm-up and decay, in ten epochs.
param_scheduler = _base_.param_scheduler
param_scheduler[0].end = 2
param_scheduler[1].begin = 2
param_scheduler[1].end = 10
train_cfg = dict(max_epochs=10, val_interval=10)
default_hooks = dict(logger=dict(interval=8), checkpoint=dict(max_keep_ckpts=2))
