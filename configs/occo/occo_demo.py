"""A narrow OCCO with a RANDOM VGG19 for `make demo`: it shows that and how everything runs, not what OCCO can do."""

_base_ = './occo_fmb.py'

# No weights are downloaded: the contrastive features are those of a random VGG19, an eighth as wide. Random features are
# a poor judge of images, so that they get a tenth of the paper's weight.
contrastive = dict(prior=dict(weights='random', width=0.125), loss_weight=1.0)
# Contours come slowly at the paper's weight of 1; the demo has no time for that.
texture = dict(loss_weight=5.0)
model = dict(network=dict(channels=(8, 16, 24, 32)), losses=dict(texture=texture, contrastive=contrastive))

train_pipeline = _base_.train_pipeline
train_pipeline[2].crop_size = (128, 128)
train_dataloader = dict(batch_size=4, num_workers=1, dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(num_workers=1)
test_dataloader = dict(num_workers=1)

# Minutes instead of hours: a larger learning rate than the paper's 1e-4, falling to zero.
optim_wrapper = dict(optimizer=dict(lr=2e-3))
param_scheduler = [dict(type='CosineAnnealingLR', T_max=9, by_epoch=True, convert_to_iter_based=True)]
train_cfg = dict(max_epochs=9, val_interval=9)
default_hooks = dict(
    # Held from the start: behind the statistics of four small patches, which are noise, images come out blurred.
    norm_eval=dict(type='mmfusion.NormEvalHook'),
    logger=dict(interval=8),
    checkpoint=dict(max_keep_ckpts=2),
    panels=dict(num=-1),  # of all test images
)
