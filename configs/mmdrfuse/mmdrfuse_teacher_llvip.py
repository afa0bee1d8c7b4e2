"""MMDRFuse's teacher on LLVIP; the public code tests the student only, and this one is tested the same way."""

_base_ = './mmdrfuse_llvip.py'

model = dict(network=dict(type='mmfusion.MMDRFuseTeacher'), size_divisor=2)
