_base_ = './mgfusion_unified.py'

# RoadScene's part of the unified dataset alone: 200 and 20 pairs, the lists of which are here.
train_dataloader = dict(dataset=dict(_delete_=True, **_base_.train_roadscene))
val_dataloader = dict(dataset=dict(_delete_=True, **_base_.val_roadscene))
test_dataloader = val_dataloader
