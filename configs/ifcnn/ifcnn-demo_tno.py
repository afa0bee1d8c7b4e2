"""IFCNN-MAX on TNO as its authors' demo does it: images in [0, 1] without normalisation."""

_base_ = './ifcnn_tno.py'

model = dict(network=dict(mean=(0, 0, 0), std=(1, 1, 1)))
