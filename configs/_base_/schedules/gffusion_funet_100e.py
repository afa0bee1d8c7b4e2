"""FuNet and FINet alone: Adam, 1e-3, 100 epochs (section IV-A.2); λ's rise and the decays come with the segmenter."""

optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='Adam', lr=1e-3))
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=100, val_interval=10)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
