_base_ = '../fusers/occo.py'

model = _base_.fuser
