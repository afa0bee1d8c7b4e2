_base_ = './ifcnn_tno.py'

model = dict(network=dict(rule='mean'))
