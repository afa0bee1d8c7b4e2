"""A narrow OCCO for cascades on synthetic scenes, without its contrastive loss, whose VGG would have to be downloaded."""

_base_ = '../../occo/occo_synthetic.py'

model = dict(network=dict(channels=(8, 16, 24, 32), stretch='image'), losses=_base_.model.losses[:3])
