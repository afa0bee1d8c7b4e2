_base_ = '../gffusion_joint_msrs.py'  # Table 1, "hybrid": FINet and the segmenter's loss; the method itself
