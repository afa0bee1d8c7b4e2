_base_ = './occo_fmb.py'

# The text where it differs from the public code: FIFN with BN and projected channel attention, eq. 12-14 of the loss.
model = dict(network=dict(variant='paper'), losses=dict(contrastive=dict(variant='paper')))
