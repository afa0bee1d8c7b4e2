"""MGFusion's network without CLIP's embeddings (CII, CFF) on small patches of public pairs; for a processor.

Statistics of four small patches are noise, so that batch norms keep theirs in the last third.
"""

_base_ = [
    '../_base_/models/mgfusion.py',
    '../_base_/datasets/public_pairs.py',
    '../_base_/schedules/cosine_3k.py',
]

model = dict(priors=None, network=dict(cii=None, cff=None))

train_dataloader = dict(batch_size=4)
default_hooks = dict(norm_eval=dict(type='mmfusion.NormEvalHook', begin=2000, by_epoch=False))
