_base_ = '../fusers/seafusion.py'

model = _base_.fuser
