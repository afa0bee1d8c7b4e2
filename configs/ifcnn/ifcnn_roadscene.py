"""IFCNN on RoadScene, ours: the public code has no training, and the paper trains on multi-focus pairs with known targets.

A companion ``target_rgb`` of the samples is the target; without it the larger of both sources is.
"""

_base_ = ['./ifcnn_tno.py', '../_base_/datasets/roadscene_crops.py']

model = dict(losses=dict(pixel=dict(type='mmfusion.IFCNNLoss')))
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='Adam', lr=1e-4))
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=200, val_interval=50)
