"""MMDRFuse's student on LLVIP as its authors test it: stretched to the full range, rounded."""

_base_ = ['../_base_/default_runtime.py']

model = dict(
    type='mmfusion.ImageFuser',
    network=dict(type='mmfusion.MMDRFuse'),
    # scipy.misc.imsave stretches grey images; in training the losses compare Tanh's output as it is.
    test_cfg=dict(luminance='round', output=('min_max',)),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='mmfusion.LLVIPDataset',
        data_root='{{$MMFUSION_DATA:data}}/LLVIP',
        split='test',
        pipeline=[dict(type='mmfusion.LoadImagePair'), dict(type='mmfusion.PackFusionInputs')],
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(type='mmfusion.FusionMetric', metric=['EN', 'SF', 'AG', 'CC', 'SCD', 'VIF'])
test_evaluator = val_evaluator
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
