"""CoCoNet's main stage on RoadScene; numbers from the public code's commands: Adam 1e-4, batch 30, 30 epochs.

Its patches are in a file behind a link (training.h5); the size and number of patches are not said. Here a random patch of
128×128 of each pair, 100 times an epoch. VGG19: ``MMFUSION_VGG19=FILE``, or torchvision's download.
"""

_base_ = ['./coconet_tno.py', '../_base_/datasets/roadscene_crops.py']

model = dict(
    network=dict(variant='paper', pretrained='{{$MMFUSION_VGG19:imagenet}}'),
    input_range=(-1, 1),
    losses=dict(sources=dict(type='mmfusion.CoCoNetLoss')),
)
train_dataloader = dict(batch_size=30)
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='Adam', lr=1e-4))
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=30 * 100, val_interval=100)
default_hooks = dict(checkpoint=dict(interval=100))
