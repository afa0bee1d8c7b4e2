"""Lite in front of yolox-nano_msrs_cpu.py's YOLOX-nano: `frozen:FILE` against `joint:FILE`."""

_base_ = './yolox-nano_msrs_cpu.py'

from mmengine.hub import get_config

model = dict(fuser=dict(_delete_=True, **get_config('mmfusion::_base_/fusers/lite.py').fuser.to_dict()))
