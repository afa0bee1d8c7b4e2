_base_ = './occo_fmb.py'

# The text where it differs from the public code: FIFN with BN and projected channel attention, eq. 12-14 of the loss.
losses = _base_.model.losses
losses[3].variant = 'paper'
model = dict(network=dict(variant='paper'), losses=losses)
