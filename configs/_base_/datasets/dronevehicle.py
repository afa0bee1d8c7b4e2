"""DroneVehicle without its border, for fusion training as OCCO does it; official split (17990, 8980 pairs)."""

_base_ = './occo_patches.py'

data_root = '{{$MMFUSION_DATA:data}}/DroneVehicle_cropped'

train_dataloader = dict(
    dataset=dict(type='mmfusion.DroneVehicleDataset', data_root=data_root, split='train', with_masks=True)
)
val_dataloader = dict(dataset=dict(type='mmfusion.DroneVehicleDataset', data_root=data_root, split='test'))
test_dataloader = val_dataloader
