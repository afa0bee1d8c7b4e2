_base_ = '../gffusion_joint_m3fd.py'  # Table 1, "hybrid": FINet and the segmenter's loss; the method itself
