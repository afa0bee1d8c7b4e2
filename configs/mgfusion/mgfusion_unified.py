_base_ = [
    '../_base_/models/mgfusion.py',
    '../_base_/datasets/unified.py',
    '../_base_/schedules/mgfusion_100e.py',
    '../_base_/default_runtime.py',
]
