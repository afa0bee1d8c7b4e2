"""LUT-Fuse's table and context network tuned as in the public code, on MSRS and fused images of a large network.

From the public code: patches of 128×128, batch 6, Adam 5e-5, 496 epochs, from the table and context network that its
repository has as ``fine_tuned_lut_original.npy`` and ``generator_context_original.pth`` (converted, as ``load_from``);
without them the table begins as a mix of both images. Its README says where fused images lie ("Fuse_ref") and not of which
network. Here: ``data/MSRS/train/reference/NAME.npy``, H×W×3 in [0, 1], R, G, B, or a grey image.
"""

_base_ = './lutfuse_msrs.py'

model = dict(losses=dict(distillation=dict(type='mmfusion.LUTFuseLoss')))

train_pipeline = [
    dict(type='mmfusion.LoadImagePair'),
    dict(type='mmfusion.LoadCompanions'),
    dict(type='mmseg.RandomCrop', crop_size=(128, 128)),
    dict(type='mmfusion.PackFusionInputs'),
]
train_dataloader = dict(
    batch_size=6,
    dataset=dict(
        type='mmfusion.MSRSDataset',
        data_root=_base_.data_root,
        split='train',
        data_prefix=dict(reference_path='train/reference'),
        pipeline=train_pipeline,
    ),
)
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='Adam', lr=5e-5))
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=496, val_interval=10)
default_hooks = dict(checkpoint=dict(interval=10))
