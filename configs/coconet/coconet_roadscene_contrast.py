"""CoCoNet's fine-tuning by contrast: two more epochs with masks of salient objects (docs/masks.md).

Give the main stage's checkpoint by ``--cfg-options load_from=FILE``; the public code takes on Adam's moments, too. It loads
30 patches a step, trains on 10 and takes the other 20 as negatives; here the 10 are each other's negatives. Its masks are in
a file behind a link (training_mask.h5).
"""

_base_ = './coconet_roadscene.py'

prior = dict(type='mmfusion.VGGPrior', arch='vgg19', weights='{{$MMFUSION_VGG19:imagenet}}')
model = dict(
    network=dict(pretrained=None),
    losses=dict(contrast=dict(type='mmfusion.CoCoNetContrast', prior=prior)),
)

train_pipeline = [
    dict(type='mmfusion.LoadImagePair'),
    dict(type='mmfusion.LoadSaliencyMasks'),
    dict(type='mmseg.RandomCrop', crop_size=(128, 128)),
    dict(type='mmfusion.PackFusionInputs'),
]
train_dataloader = dict(batch_size=10, dataset=dict(with_masks=True, pipeline=train_pipeline))
train_cfg = dict(max_epochs=2 * 100)
