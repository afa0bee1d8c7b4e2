_base_ = './occo_model4_masked-intensity.py'

losses = _base_.model.losses
losses[2].infrared_target = 'vi'  # eq. 21 as printed; the text's logic asks for ir
model = dict(losses=losses)
