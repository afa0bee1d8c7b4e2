"""MMDRFuse's teacher trained on the same patches, without distillation."""

_base_ = './mmdrfuse_patches.py'

model = dict(
    network=dict(_delete_=True, type='mmfusion.MMDRFuseTeacher'),
    size_divisor=2,
    losses=dict(distillation=None, content=dict(intensity=2.0, perception=1.0)),
)
