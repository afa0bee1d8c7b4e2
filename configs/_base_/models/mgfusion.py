_base_ = '../fusers/mgfusion.py'

model = _base_.fuser
