_base_ = '../gffusion_joint_m3fd.py'

# Table 1, "parallel", our reconstruction: FINet with λ = 0; the segmenter only looks on. (The paper's row is PSFusion.)
model = dict(task_weight=0.0, frozen=('segmentor',))
param_scheduler = []
default_hooks = dict(stages=None, task_weight=None, guide=None)
