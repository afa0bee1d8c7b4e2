"""DeepLabV3+ trained on the images of a frozen OCCO (OCCO, Table 3: DeepLabV3+ on MSRS, 9 classes, 150 epochs).

The fuser's weights come from MMFUSION_FUSER, by default those of occo_fmb.py: the paper trains OCCO on FMB alone
(section 4.1.1).
"""

_base_ = './occo_deeplabv3plus_msrs.py'

model = dict(
    fuser=dict(losses=None),
    frozen=('fuser',),
    fuser_checkpoint='{{$MMFUSION_FUSER:work_dirs/occo_fmb/epoch_60.pth}}',
)

pipeline = [t for t in _base_.train_dataloader.dataset.pipeline if t.type != 'mmfusion.LoadSaliencyMasks']
train_dataloader = dict(dataset=dict(with_masks=False, pipeline=pipeline))
optim_wrapper = dict(paramwise_cfg=dict(_delete_=True))
