"""GIFNet trained as its public code does: infrared and visible pairs, and the same visible images at two foci.

From the public code: patches as they are in its training set (LLVIP, 20,000 of 128×128; the README links the archive), two
epochs, batch 8, Adam 1e-3. Below ``data/GIFNet``: ``infrared/train``, ``visible/train``, and the visible images blurred
close by and far off, ``visible_focus_far/train`` and ``visible_focus_near/train``. ImageNet weights of DenseNet121:
``MMFUSION_DENSENET121=FILE``, or torchvision's download.
"""

_base_ = './gifnet_llvip.py'

model = dict(
    losses=dict(tasks=dict(type='mmfusion.GIFNetLoss', prior=dict(weights='{{$MMFUSION_DENSENET121:imagenet}}'))),
)
custom_hooks = [
    dict(type='mmfusion.StagedTrainingHook', stages=[dict(train=['network'], phase='both_tasks')]),
]

train_pipeline = [
    dict(type='mmfusion.LoadImagePair'),
    dict(type='mmfusion.LoadCompanions'),
    dict(type='mmfusion.PackFusionInputs'),
]
train_dataloader = dict(
    batch_size=8,
    dataset=dict(
        type='mmfusion.FusionDataset',
        data_root='{{$MMFUSION_DATA:data}}/GIFNet',
        data_prefix=dict(
            vi_path='visible/train',
            ir_path='infrared/train',
            near_path='visible_focus_near/train',
            far_path='visible_focus_far/train',
        ),
        pipeline=train_pipeline,
    ),
)
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='Adam', lr=1e-3))
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=2, val_interval=1)
