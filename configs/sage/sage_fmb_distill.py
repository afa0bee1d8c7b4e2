"""SAGE's sub-network trained as in its public code, on FMB and the images of its large network.

From the public code: patches of 192×256, flips, batch 4, Adam 2e-3 on a cosine to 1e-5 over 100 epochs. There every other
batch trains the large network, so that the sub-network sees half of them: 50 epochs here, on the first half of the cosine.

What it needs beside FMB, below ``data/FMB/train``: ``sage_teacher/NAME.png``, the large network's luminance;
``sam_vi/NAME.npy`` and ``sam_ir/NAME.npy``, H×W×4 of 0 and 1, the four largest masks of each image by SAM's automatic mask
generator (ViT-B, points_per_side 128, pred_iou_thresh 0.86, stability_score_thresh 0.92, crop_n_layers 1, crop_n_points_
downscale_factor 2, min_mask_region_area 100); and SAM's checkpoint, which is
downloaded, or ``MMFUSION_SAM_VIT_B=FILE``. The large network's weights are not published.
"""

_base_ = './sage_fmb.py'

sam = dict(weights='{{$MMFUSION_SAM_VIT_B:vit_b}}')
model = dict(
    losses=dict(
        reference=dict(type='mmfusion.SAGEReferenceLoss'),
        semantic=dict(type='mmfusion.SAGESemanticLoss', prior=sam),
    )
)

train_pipeline = [
    dict(type='mmfusion.LoadImagePair'),
    dict(type='mmfusion.LoadCompanions'),
    dict(type='mmseg.RandomCrop', crop_size=(192, 256)),
    dict(type='mmseg.RandomFlip', prob=0.5),
    dict(type='mmfusion.PackFusionInputs'),
]
companions = dict(
    reference_path='train/sage_teacher',
    masks_vi_path='train/sam_vi',
    masks_ir_path='train/sam_ir',
)
train_dataloader = dict(
    batch_size=4,
    dataset=dict(
        type='mmfusion.FMBDataset',
        data_root=_base_.data_root,
        split='train',
        data_prefix=companions,
        pipeline=train_pipeline,
    ),
)
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='Adam', lr=2e-3))
# 305 batches an epoch.
param_scheduler = [dict(type='CosineAnnealingLR', by_epoch=False, T_max=100 * 305, eta_min=1e-5)]
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=50, val_interval=5)
