"""Operators of ``mmcv._ext`` that torchvision or plain PyTorch can provide.

Names, argument order and output conventions are those with which mmcv 2.1's Python code (``mmcv/ops/*.py``) calls its
compiled module: most operators write into tensors that the caller allocated and return None. Backward operators get
their gradients from autograd through the forward's counterpart, and *add* them to the given tensors, which the caller
has filled with zeros, as the compiled ones do. Everything runs on the device of its inputs.

Any other operator can be looked up (mmcv asks for all of its operators on import) and raises ``NotImplementedError``
when called. ``roi_pool`` is among those on purpose: torchvision's rounds the boxes to whole pixels, mmcv's does not.
"""

import torch
import torchvision

_CURE = (
    "It needs full mmcv: `pip install -U openmim && mim install 'mmcv>=2.1,<2.2'`, or a prebuilt wheel for your torch "
    'and CUDA from https://download.openmmlab.com/mmcv/dist. (Uninstall mmcv-lite first.)'
)


def __getattr__(name: str):
    """Give an operator that is missing as a callable saying so."""
    if name.startswith('_'):
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')

    def unavailable(*args, **kwargs):
        raise NotImplementedError(f"mmcv's operator {name!r} is not available with mmcv-lite. {_CURE}")

    unavailable.__name__ = name
    return unavailable


def get_compiler_version() -> str:
    """Stand for the version of the compiler in mmcv's environment report."""
    return 'none (mmcv-lite with the stand-in of mmfusion)'


def get_compiling_cuda_version() -> str:
    """Stand for the version of CUDA in mmcv's environment report."""
    return 'none (mmcv-lite with the stand-in of mmfusion)'


def _vjp(function, inputs, grad_output):
    """Return the gradients of ``(function(*inputs) * grad_output).sum()`` with respect to all ``inputs``."""
    inputs = [tensor.detach().requires_grad_() for tensor in inputs]
    with torch.enable_grad():
        output = function(*inputs)
    return torch.autograd.grad(output, inputs, grad_output.to(output.dtype))


# ---------------------------------------------------------------------------------------------------------------- NMS


def nms(boxes, scores, iou_threshold, offset):
    """Return the indices kept by NMS, by falling score.

    Args:
        boxes: (N, 4), x1, y1, x2, y2.
        scores: (N, ).
        iou_threshold: Boxes that overlap a better one by more than this are dropped.
        offset: 0 or 1; the width of a box is x2 - x1 + offset.

    Returns:
        int64 indices.
    """
    boxes, scores = boxes.float(), scores.float()
    if offset:
        boxes = boxes + boxes.new_tensor([0, 0, offset, offset])
    return torchvision.ops.nms(boxes, scores, iou_threshold)


def softnms(boxes, scores, dets, iou_threshold, sigma, min_score, method, offset):
    """Lower the scores of overlapping boxes instead of dropping them (Soft-NMS).

    Bodla et al., Soft-NMS, ICCV 2017. At each step the best remaining box is taken, the scores of all others are
    multiplied by a weight of their overlap with it, and those that fall under ``min_score`` are dropped.

    Args:
        boxes: (N, 4) on the CPU.
        scores: (N, ).
        dets: (N, 5), filled with the taken boxes and their lowered scores, in the order taken.
        iou_threshold: For methods 0 and 1.
        sigma: For method 2.
        min_score: Lowest score kept.
        method: Weight of a box of overlap o: 0, hard: [o < threshold]; 1, linear: 1 - o where
            o >= threshold, else 1; 2, Gaussian: exp(-o² / sigma).
        offset: 0 or 1; the width of a box is x2 - x1 + offset.

    Returns:
        int64 indices of the taken boxes; their number is the number of rows of ``dets`` that count.
    """
    remaining = torch.arange(len(boxes))
    boxes, scores = boxes.detach(), scores.detach().clone()
    shifted = boxes + boxes.new_tensor([0, 0, offset, offset])
    taken = []
    while len(remaining):
        best = scores[remaining].argmax()
        index = remaining[best]
        dets[len(taken), :4] = boxes[index]
        dets[len(taken), 4] = scores[index]
        taken.append(index)
        remaining = torch.cat((remaining[:best], remaining[best + 1 :]))
        overlap = torchvision.ops.box_iou(shifted[index][None], shifted[remaining])[0]
        if method == 2:
            weight = torch.exp(-(overlap**2) / sigma)
        else:
            lowered = 1 - overlap if method == 1 else torch.zeros_like(overlap)
            weight = torch.where(overlap >= iou_threshold, lowered, torch.ones_like(overlap))
        scores[remaining] = scores[remaining] * weight
        remaining = remaining[scores[remaining] >= min_score]
    return torch.stack(taken) if taken else torch.zeros(0, dtype=torch.long)


def nms_match(dets, iou_threshold):
    """Run NMS, and list the boxes that each kept one suppressed.

    Args:
        dets: (N, 5), x1, y1, x2, y2, score.
        iou_threshold: Boxes that overlap a better one by this or more belong to it.

    Returns:
        A group for every kept box, by falling score; its first index is that of the kept box.
    """
    overlap = torchvision.ops.box_iou(dets[:, :4], dets[:, :4])
    remaining = dets[:, 4].argsort(descending=True)
    groups = []
    while len(remaining):
        index, others = remaining[0], remaining[1:]
        suppressed = overlap[index, others] >= iou_threshold
        groups.append([int(index), *others[suppressed].tolist()])
        remaining = others[~suppressed]
    return groups


def bbox_overlaps(bboxes1, bboxes2, ious, mode, aligned, offset):
    """Write the overlaps of boxes into ``ious``, by mmcv's own pure-PyTorch path.

    Args:
        bboxes1: (M, 4).
        bboxes2: (N, 4).
        ious: (M, N), or (M, ) where ``aligned``.
        mode: 0 for intersection over union, 1 for intersection over the first box.
        aligned: Whether box i is compared with box i only.
        offset: 0 or 1; the width of a box is x2 - x1 + offset.
    """
    from mmcv.ops.bbox import _bbox_overlaps_cpu

    ious.copy_(_bbox_overlaps_cpu(bboxes1, bboxes2, 'iof' if mode else 'iou', aligned, offset))


# ---------------------------------------------------------------------------------------------------------- RoI Align


def _roi_align(aligned_height, aligned_width, spatial_scale, sampling_ratio, pool_mode, aligned):
    """Return torchvision's operator as a function of features and boxes.

    Args:
        aligned_height, aligned_width: Size of the output.
        spatial_scale: Scale of the boxes to the features' pixels.
        sampling_ratio: Samples per bin and direction; 0: as many as the bin has pixels.
        pool_mode: 1 (average).
        aligned: Whether pixel centres are shifted by half a pixel.
    """
    if pool_mode != 1:
        raise NotImplementedError(
            f"mmcv's operator 'roi_align' with pool_mode='max' is not available with mmcv-lite; 'avg' is. {_CURE}"
        )
    size = (aligned_height, aligned_width)

    def pool(features, rois):
        dtype = torch.promote_types(features.dtype, rois.dtype)
        return torchvision.ops.roi_align(
            features.to(dtype), rois.to(dtype), size, spatial_scale, sampling_ratio, aligned
        )

    return pool


def roi_align_forward(input, rois, output, argmax_y, argmax_x, **options):
    """Write RoI Align (He et al., ICCV 2017), average pooling only, into ``output``.

    Args:
        input: (B, C, H, W).
        rois: (N, 5): index in the batch, x1, y1, x2, y2.
        output: (N, C, aligned_height, aligned_width), filled.
        argmax_y, argmax_x: Not used by average pooling.
        **options: See :func:`_roi_align`.
    """
    output.copy_(_roi_align(**options)(input, rois))


def roi_align_backward(grad_output, rois, argmax_y, argmax_x, grad_input, **options):
    """Add the gradient of :func:`roi_align_forward` with respect to its input to ``grad_input``.

    The operator is linear in its input, so that its gradient may be taken at zero.
    """
    dtype = torch.promote_types(grad_output.dtype, rois.dtype)
    zeros = torch.zeros_like(grad_input, dtype=dtype)
    (gradient,) = _vjp(lambda features: _roi_align(**options)(features, rois), [zeros], grad_output)
    grad_input.add_(gradient)


# ------------------------------------------------------------------------------------------- deformable convolutions


def _deform_conv(dW, dH, padW, padH, dilationW, dilationH, **others):
    """Return torchvision's operator in the argument order of mmcv.

    That is input, offset, weight, then mask and bias. Both libraries order the offsets alike (y, x of every kernel
    position, group by group), and torchvision reads the kernel's size and the numbers of groups from the shapes.

    Args:
        dW, dH: Stride, by direction; padding and dilation likewise.
        **others: Not needed.
    """
    stride, padding, dilation = (dH, dW), (padH, padW), (dilationH, dilationW)

    def function(input, offset, weight, mask=None, bias=None):
        return torchvision.ops.deform_conv2d(input, offset, weight, bias, stride, padding, dilation, mask)

    return function


def deform_conv_forward(input, weight, offset, output, columns, ones, **options):
    """Write deformable convolution (Dai et al., ICCV 2017) into ``output``.

    Args:
        input: (B, C, H, W).
        weight: (C_out, C / group, kH, kW).
        offset: (B, 2 · deformable_group · kH · kW, H_out, W_out), in pixels.
        output: (B, C_out, H_out, W_out), filled.
        columns, ones: mmcv's work space, not used.
        **options: See :func:`_deform_conv`.
    """
    output.copy_(_deform_conv(**options)(input, offset, weight).view_as(output))


def deform_conv_backward_input(input, offset, grad_output, grad_input, grad_offset, weight, columns, **options):
    """Add the gradients of :func:`deform_conv_forward` to ``grad_input`` and ``grad_offset``."""
    convolve = _deform_conv(**options)
    by_input, by_offset = _vjp(lambda x, shift: convolve(x, shift, weight.detach()), [input, offset], grad_output)
    grad_input.add_(by_input)
    grad_offset.add_(by_offset)


def deform_conv_backward_parameters(input, offset, grad_output, grad_weight, columns, ones, *, scale, **options):
    """Add the gradient of :func:`deform_conv_forward`, times ``scale``, to ``grad_weight``."""
    convolve = _deform_conv(**options)
    # The operator is linear in its weight, so that the values do not matter.
    (by_weight,) = _vjp(
        lambda kernel: convolve(input.detach(), offset.detach(), kernel), [torch.zeros_like(grad_weight)], grad_output
    )
    grad_weight.add_(by_weight, alpha=scale)


def _modulated(stride_h, stride_w, pad_h, pad_w, dilation_h, dilation_w, **others):
    """As :func:`_deform_conv`, from the names that mmcv has here."""
    return _deform_conv(stride_w, stride_h, pad_w, pad_h, dilation_w, dilation_h)


def modulated_deform_conv_forward(input, weight, bias, ones, offset, mask, output, columns, *, with_bias, **options):
    """Write modulated deformable convolution (Zhu et al., CVPR 2019) into ``output``.

    As :func:`deform_conv_forward`, with a ``mask`` (B, deformable_group · kh · kw, H_out, W_out) that weighs every
    sampled value, and a ``bias`` (C_out, ) that counts where ``with_bias``.
    """
    bias = bias if with_bias else None
    output.copy_(_modulated(**options)(input, offset, weight, mask, bias).view_as(output))


def modulated_deform_conv_backward(input, weight, bias, ones, offset, mask, columns, *gradients, with_bias, **options):
    """Add the gradients of :func:`modulated_deform_conv_forward` to those given, but the output's.

    They are those of input, weight, bias, offset and mask.
    """
    of_input, of_weight, of_bias, of_offset, of_mask, of_output = gradients
    inputs = [input, offset, weight, mask] + ([bias] if with_bias else [])
    targets = [of_input, of_offset, of_weight, of_mask] + ([of_bias] if with_bias else [])
    for target, gradient in zip(targets, _vjp(_modulated(**options), inputs, of_output), strict=True):
        target.add_(gradient)


# ----------------------------------------------------------------------------------- multi-scale deformable attention


def _attend(value_spatial_shapes):
    """Return mmcv's own pure-PyTorch attention as a function."""
    from mmcv.ops.multi_scale_deform_attn import multi_scale_deformable_attn_pytorch

    # It splits and reshapes by these sizes, which must therefore be Python's integers on the host.
    shapes = value_spatial_shapes.tolist()

    def attend(value, sampling_locations, attention_weights):
        return multi_scale_deformable_attn_pytorch(value, shapes, sampling_locations, attention_weights)

    return attend


def ms_deform_attn_forward(
    value, value_spatial_shapes, value_level_start_index, sampling_locations, attention_weights, im2col_step
):
    """Compute multi-scale deformable attention (Zhu et al., Deformable DETR, ICLR 2021).

    Args:
        value: (B, keys, heads, C / heads), all levels one after the other.
        value_spatial_shapes: (levels, 2), h and w of each level.
        value_level_start_index: Not used: it follows from the shapes; nor is ``im2col_step``.
        sampling_locations: (B, queries, heads, levels, points, 2), x and y in [0, 1].
        attention_weights: (B, queries, heads, levels, points).

    Returns:
        (B, queries, C).
    """
    return _attend(value_spatial_shapes)(value, sampling_locations, attention_weights)


def ms_deform_attn_backward(
    value,
    value_spatial_shapes,
    value_level_start_index,
    sampling_locations,
    attention_weights,
    grad_output,
    grad_value,
    grad_sampling_loc,
    grad_attn_weight,
    im2col_step,
):
    """Add the gradients of :func:`ms_deform_attn_forward` to the three ``grad_*`` tensors."""
    inputs = [value, sampling_locations, attention_weights]
    by_value, by_location, by_weight = _vjp(_attend(value_spatial_shapes), inputs, grad_output)
    grad_value.add_(by_value)
    grad_sampling_loc.add_(by_location)
    grad_attn_weight.add_(by_weight)


# --------------------------------------------------------------------------------------------------------- focal loss


def _focal_loss(target, weight, gamma, alpha):
    """Return the sigmoid focal loss as a function of logits (N, C)."""

    def loss(logits):
        # A target outside of 0…C-1 is background: it is no class's positive.
        one_hot = (target[:, None] == torch.arange(logits.size(1), device=logits.device)).to(logits.dtype)
        values = torchvision.ops.sigmoid_focal_loss(logits, one_hot, alpha, gamma, reduction='none')
        return values * weight[target][:, None] if weight.numel() else values

    return loss


def sigmoid_focal_loss_forward(input, target, weight, output, gamma, alpha):
    """Write every element's sigmoid focal loss (Lin et al., 2017) into ``output``.

    Args:
        input: (N, C) logits.
        target: (N, ) int64 class indices; C stands for background.
        weight: (C, ) weight of a sample by its class, or empty.
        output: (N, C), filled.
        gamma: Focusing exponent.
        alpha: Weight of the positives; that of the negatives is 1 - alpha.
    """
    output.copy_(_focal_loss(target, weight, gamma, alpha)(input))


def sigmoid_focal_loss_backward(input, target, weight, grad_input, gamma, alpha):
    """Add :func:`sigmoid_focal_loss_forward`'s derivative by each logit to ``grad_input``."""
    (gradient,) = _vjp(_focal_loss(target, weight, gamma, alpha), [input], torch.ones_like(input))
    grad_input.add_(gradient)
