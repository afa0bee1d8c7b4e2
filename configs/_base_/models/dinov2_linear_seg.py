"""GFFusion's SSNet: a stock mmseg segmenter with a frozen DINOv2 ViT-B/14 and a linear head (section III-C)."""

# Sides that are no multiple of the patch (MFNet's 640×480 → 644×490) are padded by the stock preprocessor, and the padding
# is taken off the result.
segmentor = dict(
    type='mmseg.EncoderDecoder',
    data_preprocessor=dict(
        type='mmseg.SegDataPreProcessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        pad_val=0,
        seg_pad_val=255,
        size_divisor=14,
        test_cfg=dict(size_divisor=14),
    ),
    backbone=dict(
        type='mmfusion.FrozenBackbone',
        weights='{{$MMFUSION_DINOV2:dinov2}}',  # a file, 'dinov2' to download, or 'random'
        # The stock library takes this very config as its backbone for the exported state dict.
        backbone=dict(
            type='mmpretrain.VisionTransformer',
            arch='base',
            img_size=518,
            patch_size=14,
            layer_scale_init_value=1e-5,
            out_type='featmap',
            out_indices=[11],
        ),
    ),
    decode_head=dict(
        type='mmseg.FCNHead',
        in_channels=768,
        channels=768,
        in_index=0,
        num_convs=0,  # linear: one 1×1 convolution from the features to the classes
        kernel_size=1,
        concat_input=False,
        dropout_ratio=0.0,
        num_classes=9,  # MFNet's, background included
        align_corners=False,
        # Padded pixels are ignored, and must not count in the mean either.
        loss_decode=dict(type='mmseg.CrossEntropyLoss', avg_non_ignore=True, loss_weight=1.0),
    ),
    train_cfg=dict(),
    test_cfg=dict(mode='whole'),
)
