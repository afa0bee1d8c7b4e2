_base_ = './mgfusion_unified.py'

# For testing what was trained on the unified dataset on the 42 pairs of TNO that most papers share
# (section 4.4.2). mgfusion_tno_55.py has the paper's number.
tno = dict(type='mmfusion.TNODataset', data_root='{{$MMFUSION_DATA:data}}/TNO', pipeline=_base_.test_pipeline)
val_dataloader = dict(dataset=dict(_delete_=True, **tno))
test_dataloader = val_dataloader
