_base_ = '../mgfusion_msrs.py'

model = dict(network=dict(cff=None))  # section 4.5.2: the features are concatenated and go straight into the decoder
