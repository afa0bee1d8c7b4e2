"""RFN-Nest on MSRS with OCCO's contextual contrastive loss: section 4.5, eq. 24, Fig. 20 (c).

L = L_RFN + β L_CCL. The section says that β balances the magnitudes, and gives no number: L_CCL is about 1 when anchors are
as far from positives as from negatives, and α (1 − SSIM) about 100, so that β is 100 here.
"""

_base_ = ['./rfnnest_msrs.py', '../_base_/fusers/occo.py']

contrastive = dict(_base_.fuser.losses.contrastive, loss_weight=100.0)
model = dict(losses=dict(contrastive=contrastive))
second = dict(train=['network.fusion'], losses=['rfn', 'contrastive'])
default_hooks = dict(stages=dict(stages=[_base_.first, second]))
