"""RFN-Nest from the start on MSRS in its two phases: the baseline of OCCO's section 4.5, Fig. 20 (b).

The section gives no numbers. Losses and rate are those of RFN-Nest's public code, patches and batch are OCCO's, so that
the run with the contrastive loss sees the same images; the epochs are ours.
"""

_base_ = ['./rfnnest_tno.py', '../_base_/datasets/train_loader.py']

reconstruction = dict(type='mmfusion.Res2FusionLoss', ssim=100.0)
model = dict(
    losses=dict(
        reconstruction_vi=dict(inputs=dict(reconstructed='vi_hat'), **reconstruction),
        reconstruction_ir=dict(inputs=dict(reconstructed='ir_hat', vi='ir'), **reconstruction),
        rfn=dict(type='mmfusion.RFNLoss', detail=700.0, vi=3.0, ir=6.0),
    )
)
first = dict(
    train=['network.encoder', 'network.decoder'],
    phase='reconstruct',
    losses=['reconstruction_vi', 'reconstruction_ir'],
    end=60,
)
second = dict(train=['network.fusion'], losses=['rfn'])
default_hooks = dict(stages=dict(type='mmfusion.StagedTrainingHook', stages=[first, second]))

train_pipeline = [
    dict(type='mmfusion.LoadImagePair'),
    dict(type='mmfusion.LoadSaliencyMasks'),
    dict(type='mmfusion.ForegroundCrop', crop_size=(256, 256)),
    dict(type='mmseg.RandomFlip', prob=0.5),
    dict(type='mmfusion.PackFusionInputs'),
]
train_dataloader = dict(
    batch_size=12,
    drop_last=True,
    dataset=dict(
        type='mmfusion.MSRSDataset',
        data_root='{{$MMFUSION_DATA:data}}/MSRS',
        split='train',
        with_masks=True,
        pipeline=train_pipeline,
    ),
)
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='Adam', lr=1e-4))
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=120, val_interval=10)
find_unused_parameters = True  # in several processes: a stage trains one part
