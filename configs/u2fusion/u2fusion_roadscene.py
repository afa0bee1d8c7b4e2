"""U2Fusion on RoadScene: the first of its three tasks, infrared and visible; numbers from the public code."""

_base_ = ['./u2fusion_tno.py', '../_base_/datasets/roadscene_crops.py']

vgg = dict(
    type='mmfusion.VGGPrior',
    arch='vgg16',
    weights='{{$MMFUSION_VGG16_CAFFE:caffe}}',
    mean=(123.68 / 255, 116.779 / 255, 103.939 / 255),
    std=(1 / 255, 1 / 255, 1 / 255),
)
model = dict(losses=dict(similarity=dict(type='mmfusion.U2FusionLoss', prior=vgg, alpha=20.0, temperature=3200.0)))

train_pipeline = _base_.train_pipeline
train_pipeline[1].crop_size = (64, 64)
train_dataloader = dict(batch_size=18, dataset=dict(pipeline=train_pipeline))
# TensorFlow's ε of 1e-10 is below the root.
optimizer = dict(type='RMSprop', lr=1e-4, alpha=0.6, momentum=0.15, eps=1e-5)
optim_wrapper = dict(type='OptimWrapper', optimizer=optimizer)
# Three epochs of the authors' patches. How many these were is not given: 100 of an image is ours.
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=3 * 100, val_interval=100)
