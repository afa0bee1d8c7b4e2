"""TNO, for testing only; a config that trains takes its training set from another file."""

data_root = '{{$MMFUSION_DATA:data}}/TNO'

test_pipeline = [dict(type='mmfusion.LoadImagePair'), dict(type='mmfusion.PackFusionInputs')]

val_dataloader = dict(
    batch_size=1,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type='mmfusion.TNODataset', data_root=data_root, pipeline=test_pipeline),
)
test_dataloader = val_dataloader

# OCCO's four metrics, and two that tell how much of the sources is left.
val_evaluator = dict(type='mmfusion.FusionMetric', metric=['EN', 'SF', 'AG', 'CC', 'SCD', 'VIF'])
test_evaluator = val_evaluator
