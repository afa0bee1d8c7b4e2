import copy

import pytest
import torch
from mmengine.optim import build_optim_wrapper

from mmfusion.models.methods.refusion import fusion_loss, reconstruction_loss

from .zoo import PublishedMethod, build

SMALL = dict(channels=4, num_blocks=1, num_heads=2)


class TestReFusion(PublishedMethod):
    name = 'refusion'
    config = 'refusion/refusion_tno.py'
    train = 'refusion/refusion_msrs.py'
    weights = 'ReFusion/ReFusion_IVIF.pth'
    narrow = {
        f'{part}.{key}': value for part in ('network', 'proposal', 'reconstructor') for key, value in SMALL.items()
    }

    def test_all_three_modules_learn_in_a_step(self):
        fuser, cfg = build(self.train, **self.narrow)
        optim = build_optim_wrapper(fuser.train(), cfg.optim_wrapper)
        before = copy.deepcopy(fuser.state_dict())
        data = dict(inputs=[torch.randint(0, 256, (4, 16, 16), dtype=torch.uint8) for _ in range(2)])
        log = fuser.train_step(data, optim)
        after = fuser.state_dict()
        assert not [name for name, value in after.items() if torch.equal(value, before[name])]
        assert log.keys() == {'loss', 'loss_fusion', 'loss_reconstruction', 'proposal/reconstruction'}
        moved = [(after[name] - before[name]).abs().max() for name in after if name.startswith('proposal.')]
        assert float(max(moved)) == pytest.approx(fuser.meta_lr, rel=1e-3)
        assert 'proposal/reconstruction' not in fuser.train_step(data, optim)  # every third step
        with pytest.raises(ValueError, match='learns by two halves of a batch; got a batch of 1'):
            fuser.learn_proposal(torch.rand(1, 1, 8, 8), torch.rand(1, 1, 8, 8))

    def test_gradient_of_the_proposal_is_that_of_finite_differences(self):
        fuser = build(self.train, **self.narrow, meta_lr=10.0)[0].double()
        vi, ir = torch.rand(2, 2, 1, 8, 8, dtype=torch.float64)
        weight, eps = fuser.proposal.head[-2].weight, 1e-3
        (gradient,) = torch.autograd.grad(fuser.error_after_step(vi, ir), weight)
        errors = []
        for shift in (eps, -2 * eps):
            with torch.no_grad():
                weight[0, 1, 1, 1] += shift
            errors.append(fuser.error_after_step(vi, ir).item())
        assert float(gradient[0, 1, 1, 1]) == pytest.approx((errors[0] - errors[1]) / (2 * eps), rel=1e-4)


def test_fusion_loss_by_hand():
    vi, ir, fused = torch.rand(3, 2, 1, 5, 6)
    weight = torch.rand(2, 1, 5, 6)
    weight = torch.cat([weight, 1 - weight], 1)
    intensity = ((weight[:, :1] * (ir - fused)) ** 2).mean() + ((weight[:, 1:] * (vi - fused)) ** 2).mean()
    kernel = torch.tensor([[-1.0, 0, 1], [-2, 0, 2], [-1, 0, 1]])
    gradient = 0
    for k in (kernel, kernel.T):
        f, v, i = (torch.nn.functional.conv2d(x, k[None, None], padding=1) for x in (fused, vi, ir))
        gradient += (f - torch.where(i.abs() >= v.abs(), i, v)).abs().mean()
    torch.testing.assert_close(fusion_loss(fused, vi, ir, weight), intensity + gradient)
    rebuilt = torch.cat([ir, vi], 1)
    assert reconstruction_loss(rebuilt, vi, ir) == 0
