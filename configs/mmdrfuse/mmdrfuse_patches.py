"""MMDRFuse's student trained on patches of 128×128 cut beforehand from LLVIP, as its public code does it.

Folders ``VIS`` and ``IR`` with patches under the same names; the public code has 16,000, of 200 pairs, without overlap.
Neither flips nor crops: the memory is of whole patches. MMFUSION_MMDRFUSE_TEACHER names the teacher's weights.
"""

_base_ = ['./mmdrfuse_llvip.py', '../_base_/datasets/train_loader.py']

teacher = '{{$MMFUSION_MMDRFUSE_TEACHER:teacher.model}}'
# VGG19 sees 0…1 without ImageNet's mean and deviation.
vgg = dict(
    type='mmfusion.VGGPrior',
    arch='vgg19',
    weights='{{$MMFUSION_VGG19:imagenet}}',
    mean=(0.0, 0.0, 0.0),
    std=(1.0, 1.0, 1.0),
)
model = dict(
    network=dict(teacher=teacher),
    losses=dict(
        content=dict(type='mmfusion.MaximumContentLoss', prior=vgg, intensity=1.0, perception=2.0),
        refresh=dict(type='mmfusion.DynamicRefreshLoss', prior=vgg, loss_weight=10.0),
        distillation=dict(type='mmfusion.DistillationLoss', teacher=teacher, loss_weight=5.0),
    ),
)

train_dataloader = dict(
    batch_size=25,
    drop_last=True,
    dataset=dict(
        type='mmfusion.FusionDataset',
        data_root='{{$MMFUSION_DATA:data}}/LLVIP_patches',
        data_prefix=dict(vi_path='VIS', ir_path='IR'),
        pipeline=[dict(type='mmfusion.LoadImagePair'), dict(type='mmfusion.PackFusionInputs')],
    ),
)
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='Adam', lr=1e-4))
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=10, val_interval=5)
