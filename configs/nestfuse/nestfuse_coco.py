"""The auto-encoder of NestFuse and RFN-Nest on grey images of MS-COCO; numbers from the public code."""

_base_ = ['./nestfuse_tno.py', '../_base_/datasets/coco_single.py']

# MSE on images in 0…255 + λ (1 − MS-SSIM), λ = 100, that of the weights both public codes test with.
reconstruction = dict(type='mmfusion.Res2FusionLoss', ssim=100.0, inputs=dict(reconstructed='vi_hat'))
model = dict(losses=dict(reconstruction=reconstruction))
stages = [dict(train=['network'], phase='reconstruct')]
default_hooks = dict(stages=dict(type='mmfusion.StagedTrainingHook', stages=stages))

train_dataloader = dict(batch_size=4)
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='Adam', lr=1e-4))
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=2, val_interval=1)
