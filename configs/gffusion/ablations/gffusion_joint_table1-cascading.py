_base_ = '../gffusion_joint_m3fd.py'

# Table 1, "cascading", our reconstruction: the segmenter's loss without FINet. (The paper's row is SeAFusion.)
model = dict(fuser=dict(priors=None, network=dict(injection=None)))
