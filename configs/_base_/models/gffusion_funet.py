_base_ = '../fusers/gffusion.py'

model = _base_.fuser
