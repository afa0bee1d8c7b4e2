_base_ = './mgfusion_unified.py'

# MSRS's part of the unified dataset alone, on which the ablation is made (section 4.5): 217 and 20 pairs.
train_dataloader = dict(dataset=dict(_delete_=True, **_base_.train_msrs))
val_dataloader = dict(dataset=dict(_delete_=True, **_base_.val_msrs))
test_dataloader = val_dataloader
