_base_ = './gffusion_funet_msrs.py'

# RoadScene is for testing only (section IV-A.1): this is for checkpoints trained on MSRS or M3FD.
val_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='mmfusion.RoadSceneDataset',
        data_root='{{$MMFUSION_DATA:data}}/RoadScene',
        pipeline=_base_.test_pipeline,
    )
)
test_dataloader = val_dataloader
