custom_imports = dict(imports=['mmfusion'], allow_failed_imports=False)
default_scope = 'mmfusion'

default_hooks = dict(
    timer=dict(type='IterTimerHook'),
    logger=dict(type='LoggerHook', interval=10),
    param_scheduler=dict(type='ParamSchedulerHook'),
    checkpoint=dict(type='CheckpointHook', interval=1, max_keep_ckpts=3),
    sampler_seed=dict(type='DistSamplerSeedHook'),
    reproducible=dict(type='mmfusion.ReproducibleEpochHook'),
    panels=dict(type='mmfusion.FusionPanelHook', num=4),
    source_balance=dict(type='mmfusion.SourceBalanceHook'),
    prior_record=dict(type='mmfusion.PriorRecordHook'),
    sync_buffers=dict(type='SyncBuffersHook'),  # batch norm statistics: the mean over the processes after each epoch
)

env_cfg = dict(
    cudnn_benchmark=True, mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0), dist_cfg=dict(backend='nccl')
)
vis_backends = [dict(type='LocalVisBackend')]  # add dict(type='TensorboardVisBackend') for TensorBoard
visualizer = dict(type='mmfusion.FusionLocalVisualizer', vis_backends=vis_backends)
log_processor = dict(type='LogProcessor', window_size=10, by_epoch=True)
randomness = dict(seed=0)
log_level = 'INFO'
load_from = None
resume = False
