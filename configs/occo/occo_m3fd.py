_base_ = './occo_fmb.py'

# Tests what was trained on FMB on the 300 pairs of M3FD's fusion part (section 4.1.1, Table 1).
m3fd = dict(
    type='mmfusion.M3FDDataset',
    data_root='{{$MMFUSION_DATA:data}}/M3FD',
    split='fusion',
    ann_file='{{ fileDirname }}/../_base_/datasets/splits/m3fd_fusion.txt',
    pipeline=_base_.test_pipeline,
)
val_dataloader = dict(dataset=dict(_delete_=True, **m3fd))
test_dataloader = val_dataloader
