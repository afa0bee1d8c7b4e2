"""YOLOX-s trained for 40 epochs on the images of a frozen OCCO: OCCO's Table 5 on M3FD, with another detector.

The paper's YOLOv5 does not run on this stack, so that these numbers cannot be compared with the paper's. The fuser's weights
come from MMFUSION_FUSER, a checkpoint of an OCCO.
"""

_base_ = './occo_yolox-s_m3fd.py'

model = dict(
    fuser=dict(losses=None),
    frozen=('fuser',),
    fuser_checkpoint='{{$MMFUSION_FUSER:work_dirs/occo_fmb/epoch_60.pth}}',
)
optim_wrapper = dict(paramwise_cfg=dict(custom_keys=dict(_delete_=True)))
