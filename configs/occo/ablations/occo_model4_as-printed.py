_base_ = './occo_model4_masked-intensity.py'

# Eq. 21 as printed; the text's logic asks for ir.
model = dict(losses=dict(region=dict(infrared_target='vi')))
