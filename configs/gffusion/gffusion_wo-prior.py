"""FuNet without CLIP's features (FINet) on small patches of public pairs; for a processor."""

_base_ = [
    '../_base_/models/gffusion_funet.py',
    '../_base_/datasets/public_pairs.py',
    '../_base_/schedules/cosine_3k.py',
]

model = dict(priors=None, network=dict(injection=None))

train_dataloader = dict(batch_size=4)
