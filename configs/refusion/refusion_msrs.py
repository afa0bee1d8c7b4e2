"""ReFusion trained on MSRS by a learned loss; its authors published no training of it.

What is here comes from their later TDFusion, whose network and proposal module are the same, with a task in the place of
reconstruction: Adam 1e-4, × 0.1 every 10 of 40 epochs, batch 2, patches of 256×256, 200 steps of the proposal in an epoch,
that is in every third step here. There each pair is also seen with its images exchanged.
"""

_base_ = ['./refusion_tno.py', '../_base_/datasets/train_loader.py']

model = dict(
    type='mmfusion.ReFusionFuser',
    proposal=dict(type='mmfusion.ReFusionProposal'),
    reconstructor=dict(type='mmfusion.ReFusionReconstructor'),
    meta_interval=3,
    meta_lr=1e-4,
)

train_pipeline = [
    dict(type='mmfusion.LoadImagePair'),
    dict(type='mmseg.RandomCrop', crop_size=(256, 256)),
    dict(type='mmfusion.PackFusionInputs'),
]
train_dataloader = dict(
    batch_size=2,
    drop_last=True,
    dataset=dict(
        type='mmfusion.MSRSDataset',
        data_root='{{$MMFUSION_DATA:data}}/MSRS',
        split='train',
        pipeline=train_pipeline,
    ),
)
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='Adam', lr=1e-4))
param_scheduler = [dict(type='StepLR', by_epoch=True, step_size=10, gamma=0.1)]
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=40, val_interval=5)
# The learning rate of the proposal follows.
steps = [dict(value=1e-4 * 0.1**k, end=10 * (k + 1)) for k in range(4)]
default_hooks = dict(meta_lr=dict(type='mmfusion.LossWeightHook', weights=dict(meta_lr=steps)))
