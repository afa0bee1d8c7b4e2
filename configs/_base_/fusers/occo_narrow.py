"""A narrow OCCO for cascades on synthetic scenes, without its contrastive loss, whose VGG would have to be downloaded."""

_base_ = './occo.py'

# Stretched image by image in training, too: the task model learns on what it is tested on.
fuser = dict(network=dict(channels=(8, 16, 24, 32), stretch='image'), losses=dict(contrastive=None))
