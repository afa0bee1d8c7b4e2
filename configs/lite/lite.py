"""Lite, trained on small patches of 381 pairs of RoadScene, MSRS and LLVIP in about 25 minutes on a CPU; tested on TNO.

What it cuts, for a CPU: patches of 96×96, batches of 8, 6000 steps. Which pairs: docs/methods/lite.md.
"""

_base_ = ['../_base_/datasets/public_pairs.py', '../_base_/schedules/cosine_6k.py']

model = dict(
    type='mmfusion.ImageFuser',
    network=dict(type='mmfusion.Lite'),
    losses=dict(
        intensity=dict(type='mmfusion.MaxIntensityLoss'),
        # Plain L1 comes out softer than the sources; the gain makes up for it.
        texture=dict(type='mmfusion.TextureLoss', loss_weight=2.0, padding_mode='replicate', gain=1.2),
        ssim=dict(type='mmfusion.SSIMLoss', loss_weight=0.3, padding=False),
        difference=dict(type='mmfusion.DifferenceCorrelationLoss', loss_weight=0.2),
    ),
    output=('clamp',),
    test_cfg=dict(output=('min_max',)),
)
