"""SeAFusion's rounds on MSRS, cut to fit a processor: CGNet in the place of BANet, half-size images, crops of 160×160.

CGNet starts from its weights of Cityscapes (MMFUSION_CGNET). Four rounds of three epochs of the fuser and four of the
segmenter, of 37 steps each; the fuser goes on from round to round, as the paper's Algorithm 1 says. After each round the
validation gives the IoU of three classes and the fusion metrics. About half an hour of one core.
"""

_base_ = '../cascades/cgnet_msrs_cpu_160.py'

from mmfusion.engine.alternating import alternating_rounds

fusion_epochs, task_epochs = 3, 4
loop = alternating_rounds('segmentor', rounds=4, fusion_epochs=fusion_epochs, task_epochs=task_epochs, decay=0.75)
train_cfg = dict(max_epochs=loop['max_epochs'], val_interval=fusion_epochs + task_epochs)
optim_wrapper = dict(paramwise_cfg=dict(custom_keys={'fuser.network': dict(lr_mult=1.0)}))
param_scheduler = loop['param_scheduler']
default_hooks = loop['hooks']
find_unused_parameters = True
