_base_ = './gffusion_funet_msrs.py'

# TNO is for testing only (section IV-A.1): this is for checkpoints trained on MSRS or M3FD.
val_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='mmfusion.TNODataset',
        data_root='{{$MMFUSION_DATA:data}}/TNO',
        pipeline=_base_.test_pipeline,
    )
)
test_dataloader = val_dataloader
