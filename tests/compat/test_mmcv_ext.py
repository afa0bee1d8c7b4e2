"""The stand-in for mmcv._ext: when it is served, and that each operator equals an independent computation."""

import pkgutil
import subprocess
import sys
import textwrap
from importlib.util import find_spec

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import torchvision

from mmfusion.compat import mmcv_ext

pytestmark = pytest.mark.skipif(not mmcv_ext.is_stand_in(), reason='full mmcv is installed: the stand-in is not used')


@pytest.fixture
def boxes():
    corners = torch.rand(60, 2) * 40
    return torch.cat((corners, corners + 5 + torch.rand(60, 2) * 20), 1)


@pytest.fixture
def scores():
    return torch.rand(60)


# ------------------------------------------------------------------------------------------------ when it is served


def test_found_as_mmengine_looks_for_it():
    assert pkgutil.find_loader('mmcv._ext') is not None
    assert find_spec('mmcv._ext').name == 'mmcv._ext'


def test_install_twice_adds_one_finder():
    mmcv_ext.install()
    assert sum(isinstance(finder, mmcv_ext.MMCVExtFinder) for finder in sys.meta_path) == 1


def test_finder_answers_for_nothing_else():
    finder = mmcv_ext.MMCVExtFinder()
    assert finder.find_spec('mmcv._ext2') is None
    assert finder.find_spec('mmcv') is None


def test_real_ext_is_left_alone(tmp_path):
    """A folder with a real mmcv._ext takes precedence, although the finder is installed before mmcv is imported."""
    (tmp_path / 'mmcv').mkdir()
    (tmp_path / 'mmcv' / '__init__.py').write_text('')
    (tmp_path / 'mmcv' / '_ext.py').write_text('nms = "the compiled one"')
    code = textwrap.dedent(f"""
        import sys
        sys.path.insert(0, {str(tmp_path)!r})
        import mmfusion
        from mmfusion.compat import mmcv_ext
        assert any(isinstance(finder, mmcv_ext.MMCVExtFinder) for finder in sys.meta_path)
        import mmcv._ext
        assert mmcv._ext.nms == 'the compiled one', mmcv._ext
        assert not mmcv_ext.is_stand_in()
    """)
    subprocess.run([sys.executable, '-c', code], check=True)


def test_import_is_light():
    """Importing mmfusion loads neither torchvision nor the libraries that it only prepares."""
    code = """
        import sys, mmfusion
        heavy = {'torchvision', 'transformers', 'mmdet', 'mmseg', 'mmpretrain', 'mmcv._ext'} & set(sys.modules)
        assert not heavy, heavy
    """
    subprocess.run([sys.executable, '-c', textwrap.dedent(code)], check=True)


def test_unknown_operator_names_itself_and_the_cure():
    from mmcv.ops import RoIPool

    with pytest.raises(NotImplementedError, match=r"'roi_pool_forward'.*mim install 'mmcv"):
        RoIPool(2)(torch.zeros(1, 1, 8, 8), torch.tensor([[0.0, 0, 0, 4, 4]]))


def test_private_names_are_no_operators():
    import mmcv._ext

    assert not hasattr(mmcv._ext, '__path__')


def test_environment_report_says_so():
    from mmcv.ops import get_compiler_version, get_compiling_cuda_version

    assert 'stand-in' in get_compiler_version()
    assert 'stand-in' in get_compiling_cuda_version()


# --------------------------------------------------------------------------------------------------------------- NMS


def test_nms_equals_torchvision(boxes, scores):
    from mmcv.ops import nms

    dets, keep = nms(boxes, scores, 0.4)
    assert torch.equal(keep, torchvision.ops.nms(boxes, scores, 0.4))
    assert torch.equal(dets, torch.cat((boxes[keep], scores[keep, None]), 1))
    assert 1 < len(keep) < len(boxes)


def test_nms_offset():
    from mmcv.ops import nms

    # 3 × 3 pixels each, shifted by one: overlap 6 / 12 when the width is x2 - x1 + 1, but 2 / 6 when it is x2 - x1.
    boxes, scores = torch.tensor([[0.0, 0, 2, 2], [1.0, 0, 3, 2]]), torch.tensor([0.9, 0.8])
    assert len(nms(boxes, scores, 0.4)[1]) == 2
    assert len(nms(boxes, scores, 0.4, offset=1)[1]) == 1


def test_nms_score_threshold_maximum_and_empty(boxes, scores):
    from mmcv.ops import nms

    dets, _ = nms(boxes.numpy(), scores.numpy(), 0.9, score_threshold=0.5, max_num=3)
    assert isinstance(dets, np.ndarray)
    assert dets[:, 4].tolist() == sorted(scores.tolist(), reverse=True)[:3]
    assert len(nms(boxes[:0], scores[:0], 0.5)[1]) == 0


def test_batched_nms_keeps_classes_apart(boxes, scores):
    from mmcv.ops import batched_nms

    labels = torch.arange(60) % 3
    _, keep = batched_nms(boxes, scores, labels, {'type': 'nms', 'iou_threshold': 0.3})
    expected = torchvision.ops.batched_nms(boxes, scores, labels, 0.3)
    assert torch.equal(keep, expected)


def _soft_nms_by_hand(boxes, scores, threshold, sigma, min_score, method):
    """Soft-NMS as its paper's listing has it, on Python lists."""
    left = [(score, index) for index, score in enumerate(scores.tolist())]
    result = []
    while left:
        score, index = max(left)
        left.remove((score, index))
        result.append((index, score))
        lowered = []
        for other_score, other in left:
            overlap = torchvision.ops.box_iou(boxes[index][None], boxes[other][None]).item()
            if method == 'gaussian':
                other_score *= np.exp(-(overlap**2) / sigma)
            elif overlap >= threshold:
                other_score *= 1 - overlap if method == 'linear' else 0
            if other_score >= min_score:
                lowered.append((other_score, other))
        left = lowered
    return result


@pytest.mark.parametrize('method', ['naive', 'linear', 'gaussian'])
def test_soft_nms(boxes, scores, method):
    from mmcv.ops import soft_nms

    dets, keep = soft_nms(boxes, scores, 0.3, sigma=0.4, min_score=0.05, method=method)
    expected = _soft_nms_by_hand(boxes, scores, 0.3, 0.4, 0.05, method)
    assert keep.tolist() == [index for index, _ in expected]
    torch.testing.assert_close(dets[:, 4], torch.tensor([score for _, score in expected], dtype=torch.float32))
    assert torch.equal(dets[:, :4], boxes[keep])


def test_soft_nms_naive_is_nms_and_empty_is_empty(boxes, scores):
    from mmcv.ops import nms, soft_nms

    assert torch.equal(soft_nms(boxes, scores, 0.3, method='naive')[1], nms(boxes, scores, 0.3)[1])
    dets, keep = soft_nms(boxes[:0], scores[:0])
    assert dets.shape == (0, 5)
    assert len(keep) == 0


def test_nms_match_groups(boxes, scores):
    from mmcv.ops import nms, nms_match

    groups = nms_match(torch.cat((boxes, scores[:, None]), 1), 0.4)
    assert [int(group[0]) for group in groups] == nms(boxes, scores, 0.4)[1].tolist()
    assert sorted(int(index) for group in groups for index in group) == list(range(60))
    for group in groups:
        assert (torchvision.ops.box_iou(boxes[group[:1]], boxes[group[1:]]) >= 0.4).all()


def test_bbox_overlaps(boxes):
    from mmcv.ops import bbox_overlaps

    torch.testing.assert_close(bbox_overlaps(boxes, boxes[:7]), torchvision.ops.box_iou(boxes, boxes[:7]))
    inside = bbox_overlaps(torch.tensor([[1.0, 1, 2, 2]]), torch.tensor([[0.0, 0, 9, 9]]), mode='iof', aligned=True)
    assert inside.tolist() == [1.0]


# ---------------------------------------------------------------------------------------------------------- RoI Align

ROIS = [[0, 1.0, 1.5, 8.2, 9.0], [1, 0.0, 0.0, 11.0, 11.0], [1, 3.3, 2.0, 5.1, 10.4]]


@pytest.mark.parametrize('aligned', [True, False])
@pytest.mark.parametrize('sampling_ratio', [0, 2])
def test_roi_align(aligned, sampling_ratio):
    from mmcv.ops import roi_align

    features = torch.rand(2, 3, 6, 6, dtype=torch.double, requires_grad=True)
    rois = torch.tensor(ROIS, dtype=torch.double)
    pooled = roi_align(features, rois, (3, 2), 0.5, sampling_ratio, 'avg', aligned)
    expected = torchvision.ops.roi_align(features, rois, (3, 2), 0.5, sampling_ratio, aligned)
    torch.testing.assert_close(pooled, expected)
    assert torch.autograd.gradcheck(
        lambda x: roi_align(x, rois, (3, 2), 0.5, sampling_ratio, 'avg', aligned), features, nondet_tol=1e-12
    )


def test_roi_align_of_a_plane_is_its_value_at_the_bin_centres():
    from mmcv.ops import RoIAlign

    plane = torch.arange(16.0).expand(1, 1, 16, 16)  # the value is the column
    pooled = RoIAlign((1, 2), sampling_ratio=2, aligned=True)(plane, torch.tensor([[0, 2.5, 4.5, 6.5, 8.5]]))
    torch.testing.assert_close(pooled.flatten(), torch.tensor([3.0, 5.0]))


def test_roi_align_max_is_refused():
    from mmcv.ops import roi_align

    with pytest.raises(NotImplementedError, match="pool_mode='max'"):
        roi_align(torch.zeros(2, 1, 8, 8), torch.tensor(ROIS), 2, 1.0, 0, 'max', True)


# ------------------------------------------------------------------------------------------- deformable convolutions


def test_deform_conv_without_offsets_is_a_convolution():
    from mmcv.ops import DeformConv2d

    layer = DeformConv2d(4, 6, 3, stride=2, padding=1, dilation=1, groups=2, deform_groups=2).double()
    x = torch.rand(2, 4, 9, 7, dtype=torch.double, requires_grad=True)
    offset = torch.zeros(2, 2 * 2 * 9, 5, 4, dtype=torch.double)
    ours, plain = layer(x, offset), F.conv2d(x, layer.weight, None, 2, 1, 1, 2)
    torch.testing.assert_close(ours, plain)
    weigh = torch.rand_like(ours)
    for mine, other in zip(
        torch.autograd.grad((ours * weigh).sum(), [x, layer.weight]),
        torch.autograd.grad((plain * weigh).sum(), [x, layer.weight]),
        strict=True,
    ):
        torch.testing.assert_close(mine, other)


def test_deform_conv_offsets_are_y_then_x():
    from mmcv.ops import deform_conv2d

    x = torch.arange(30.0).reshape(1, 1, 5, 6)
    offset = torch.zeros(1, 2, 5, 6)
    offset[:, 0] = 1  # one row down
    moved = deform_conv2d(x, offset, torch.ones(1, 1, 1, 1))
    assert torch.equal(moved[:, :, :-1], x[:, :, 1:])


def test_deform_conv_gradcheck():
    from mmcv.ops import deform_conv2d

    x = torch.rand(2, 2, 5, 5, dtype=torch.double, requires_grad=True)
    offset = (torch.rand(2, 18, 5, 5, dtype=torch.double) * 0.8 + 0.1).requires_grad_()
    weight = torch.rand(3, 2, 3, 3, dtype=torch.double, requires_grad=True)
    assert torch.autograd.gradcheck(lambda *args: deform_conv2d(*args, 1, 1), (x, offset, weight), fast_mode=True)


@pytest.mark.parametrize('with_bias', [True, False])
def test_modulated_deform_conv(with_bias):
    from mmcv.ops import modulated_deform_conv2d

    x = torch.rand(2, 2, 5, 5, dtype=torch.double, requires_grad=True)
    weight = torch.rand(3, 2, 3, 3, dtype=torch.double, requires_grad=True)
    bias = torch.rand(3, dtype=torch.double, requires_grad=True) if with_bias else None
    ones, zeros = torch.ones(2, 9, 5, 5, dtype=torch.double), torch.zeros(2, 18, 5, 5, dtype=torch.double)
    ours = modulated_deform_conv2d(x, zeros, ones / 2, weight, bias, 1, 1)
    torch.testing.assert_close(ours, F.conv2d(x, weight / 2, bias, 1, 1))

    offset = (torch.rand(2, 18, 5, 5, dtype=torch.double) * 0.8 + 0.1).requires_grad_()
    mask = torch.rand(2, 9, 5, 5, dtype=torch.double, requires_grad=True)
    inputs = (x, offset, mask, weight, bias) if with_bias else (x, offset, mask, weight)
    assert torch.autograd.gradcheck(
        lambda *args: modulated_deform_conv2d(*args[:4], args[4] if with_bias else None, 1, 1), inputs, fast_mode=True
    )


# ----------------------------------------------------------------------------------- multi-scale deformable attention


def test_ms_deform_attn_equals_the_pure_path():
    from mmcv.ops.multi_scale_deform_attn import MultiScaleDeformableAttnFunction, multi_scale_deformable_attn_pytorch

    shapes = torch.tensor([[6, 4], [3, 2]])
    starts = torch.tensor([0, 24])
    value = torch.rand(2, 30, 2, 4, dtype=torch.double, requires_grad=True)
    locations = torch.rand(2, 5, 2, 2, 3, 2, dtype=torch.double, requires_grad=True)
    weights = torch.rand(2, 5, 2, 2, 3, dtype=torch.double).flatten(3).softmax(-1).view(2, 5, 2, 2, 3).requires_grad_()
    ours = MultiScaleDeformableAttnFunction.apply(value, shapes, starts, locations, weights, 64)
    pure = multi_scale_deformable_attn_pytorch(value, shapes, locations, weights)
    assert ours.shape == (2, 5, 8)
    torch.testing.assert_close(ours, pure)
    weigh, inputs = torch.rand_like(ours), [value, locations, weights]
    for mine, other in zip(
        torch.autograd.grad((ours * weigh).sum(), inputs),
        torch.autograd.grad((pure * weigh).sum(), inputs),
        strict=True,
    ):
        torch.testing.assert_close(mine, other)


# --------------------------------------------------------------------------------------------------------- focal loss


@pytest.mark.parametrize('reduction', ['mean', 'sum'])
def test_sigmoid_focal_loss_by_its_formula(reduction):
    from mmcv.ops import sigmoid_focal_loss

    logits = torch.randn(6, 3, dtype=torch.double, requires_grad=True)
    target = torch.tensor([0, 1, 2, 3, 1, 3])  # 3 is background
    p = logits.sigmoid()
    positive = F.one_hot(target, 4)[:, :3]
    p_t, alpha_t = torch.where(positive == 1, p, 1 - p), torch.where(positive == 1, 0.3, 0.7)
    expected = (-alpha_t * (1 - p_t) ** 1.5 * p_t.log()).sum() / (6 if reduction == 'mean' else 1)
    loss = sigmoid_focal_loss(logits, target, 1.5, 0.3, None, reduction)
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(*(torch.autograd.grad(value, logits)[0] for value in (loss, expected)))


def test_sigmoid_focal_loss_class_weights():
    from mmcv.ops import sigmoid_focal_loss

    logits, target = torch.randn(4, 2), torch.tensor([0, 1, 0, 1])
    plain = sigmoid_focal_loss(logits, target, 2.0, 0.25, None, 'none')
    weighted = sigmoid_focal_loss(logits, target, 2.0, 0.25, torch.tensor([1.0, 3.0]), 'none')
    torch.testing.assert_close(weighted, plain * torch.tensor([1.0, 3.0, 1.0, 3.0])[:, None])
