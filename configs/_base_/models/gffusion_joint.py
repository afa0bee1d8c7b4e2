"""GFFusion whole: FuNet with FINet in front of SSNet, a frozen DINOv2 with a linear head (section III)."""

_base_ = ['../fusers/gffusion.py', './dinov2_linear_seg.py']

# Eq. 12: L_st + λ L_ss. λ is the weight of the task; the schedule moves it.
model = dict(
    type='mmfusion.FusionSegmentor',
    fuser=_base_.fuser,
    segmentor=_base_.segmentor,
    fusion_weight=1.0,
    task_weight=0.2,
    # Algorithm 1 starts from a trained segmenter: a head, as tools/model_converters/map_seg_head.py makes it.
    task_checkpoint='{{$MMFUSION_SEG_HEAD:work_dirs/seg_head.pth}}',
)
