"""MGFusion's network without CLIP's embeddings (CII, CFF) on small patches of public pairs; for a processor."""

_base_ = [
    '../_base_/models/mgfusion.py',
    '../_base_/datasets/public_pairs.py',
    '../_base_/schedules/cosine_3k.py',
]

model = dict(priors=None, network=dict(cii=None, cff=None))

train_dataloader = dict(batch_size=4)
