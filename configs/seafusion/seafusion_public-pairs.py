"""SeAFusion's network and content loss on small patches of public pairs, without a segmenter; for a processor."""

_base_ = [
    '../_base_/models/seafusion.py',
    '../_base_/datasets/public_pairs.py',
    '../_base_/schedules/cosine_3k.py',
]

train_dataloader = dict(batch_size=4)
