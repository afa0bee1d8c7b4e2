"""Lite, trained on small patches of 381 pairs of RoadScene, MSRS and LLVIP in about half an hour on a CPU; tested on TNO.

What it cuts, for a CPU: patches of 96×96, batches of 8, 20,000 steps. Which pairs: docs/methods/lite.md.
"""

_base_ = ['../_base_/fusers/lite.py', '../_base_/datasets/public_pairs.py', '../_base_/schedules/cosine_20k.py']

model = dict(_base_.fuser, test_cfg=dict(output=('min_max',)))
