_base_ = './occo_fmb.py'

# Tests what was trained on FMB on 21 pairs of TNO (section 4.1.1, Table 2). The paper does not say which;
# splits/README.md says how these were chosen.
tno = dict(
    type='mmfusion.TNODataset',
    data_root='{{$MMFUSION_DATA:data}}/TNO',
    ann_file='{{ fileDirname }}/../_base_/datasets/splits/tno_21.txt',
    pipeline=_base_.test_pipeline,
)
val_dataloader = dict(dataset=dict(_delete_=True, **tno))
test_dataloader = val_dataloader
