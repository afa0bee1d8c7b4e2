"""MURF's fine registration and fusion on RoadScene, deformed while it trains; numbers from the public code."""

_base_ = ['./murf_tno.py', '../_base_/datasets/roadscene_crops.py']

model = dict(
    test_cfg=dict(resize=None),
    network=dict(deformation=0.3),
    losses=dict(
        fusion=dict(type='mmfusion.MURFFusionLoss', gradient=10.0, power=0.7),
        registration=dict(type='mmfusion.MURFRegistrationLoss', sparsity=0.001),
    ),
)

train_dataloader = dict(batch_size=8)
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='Adam', lr=1e-4, betas=(0.5, 0.99)))
# 5 epochs of fusion, then 15 of registration, of the authors' patches of 128×128. How many these were is not given: 100 of
# an image is ours.
patches = 100
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=20 * patches, val_interval=patches)
default_hooks = dict(
    checkpoint=dict(interval=patches),
    stages=dict(
        type='mmfusion.StagedTrainingHook',
        stages=[
            dict(train=['network.fuse'], losses=['fusion'], end=5 * patches),
            dict(train=['network.field'], losses=['registration']),
        ],
    ),
)
find_unused_parameters = True  # in several processes: each stage trains one of the two parts
