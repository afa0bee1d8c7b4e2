_base_ = [
    '../_base_/models/occo_fifn.py',
    '../_base_/datasets/synthetic.py',
    '../_base_/schedules/occo_60e.py',
    '../_base_/default_runtime.py',
]
