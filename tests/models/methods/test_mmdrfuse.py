import pytest
import torch

from mmfusion.models.methods.mmdrfuse import DynamicRefreshLoss, MMDRFuse, load_teacher

from .zoo import PublishedMethod

VGG = dict(type='VGGPrior', arch='vgg19', weights='random', width=1 / 16)
LOSSES = {
    f'losses.{name}.prior.{key}': value
    for name in ('content', 'refresh')
    for key, value in dict(weights='random', width=1 / 16).items()
}


class TestMMDRFuse(PublishedMethod):
    name = 'mmdrfuse'
    config = 'mmdrfuse/mmdrfuse_llvip.py'
    train = 'mmdrfuse/mmdrfuse_patches.py'
    weights = 'MMDRFuse/student.model'
    narrow = {'network.teacher': 'random', 'losses.distillation.teacher': 'random', **LOSSES}


class TestMMDRFuseTeacher(PublishedMethod):
    name = 'mmdrfuse_teacher'
    config = 'mmdrfuse/mmdrfuse_teacher_llvip.py'
    train = 'mmdrfuse/mmdrfuse_teacher_patches.py'
    weights = 'MMDRFuse/teacher.model'
    narrow = {'network.channels': (4, 8), **LOSSES}


def test_student_begins_with_the_teachers_last_convolution(tmp_path):
    teacher = load_teacher('random')
    torch.save({f'network.{k}': v for k, v in teacher.state_dict().items()}, tmp_path / 'teacher.pth')
    for weights in ('random', str(tmp_path / 'teacher.pth')):
        assert torch.equal(MMDRFuse(weights).decoder.weight, teacher.head.weight)
    torch.save(MMDRFuse().state_dict(), tmp_path / 'student.pth')
    with pytest.raises(RuntimeError, match=r"student.pth: not the weights of MMDRFuse's teacher"):
        MMDRFuse(str(tmp_path / 'student.pth'))


def test_dynamic_refresh():
    """The first and each better result is remembered; a worse one is drawn back to it."""
    loss = DynamicRefreshLoss(VGG)
    torch.manual_seed(0)
    vi, ir, noise = torch.rand(3, 2, 1, 32, 32)
    good, better = (0.5 * (vi + ir) + share * noise for share in (0.3, 0.1))
    names = ['a', 'b']
    assert loss(good, vi, ir, names)[0] == 0
    assert loss(better, vi, ir, names)[0] == 0
    remembered = torch.stack([loss.memory['ssim'][name] for name in names])
    torch.testing.assert_close(remembered.float(), better, rtol=1e-3, atol=1e-3)
    worse = good.clone().requires_grad_()
    total, terms = loss(worse, vi, ir, names)
    assert terms['ssim'] > 0
    assert terms['gmsd'] > 0
    total.backward()
    assert (worse.grad * (worse.detach() - better)).sum() > 0
    assert loss(worse, vi, ir, ['c', 'd'])[0] == 0
    assert loss(worse, vi, ir)[0] == 0
