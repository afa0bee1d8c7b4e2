"""Lite in front of cgnet_msrs_cpu.py's CGNet: `frozen:FILE` against `joint:FILE`."""

_base_ = './cgnet_msrs_cpu.py'

from mmengine.hub import get_config

model = dict(fuser=dict(_delete_=True, **get_config('mmfusion::_base_/fusers/lite.py').fuser.to_dict()))
