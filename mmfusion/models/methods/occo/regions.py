"""OCCO's semantic regions, and the loss on them of its ablation Model-4."""

from torch import nn

from mmfusion.registry import MODELS


@MODELS.register_module()
class MaskedRegionLoss(nn.Module):
    """OCCO's ablation Model-4 (eq. 21), in place of two losses.

    ω1 ‖(f − vi) ū_vi‖₂ + ω2 ‖(f − x) ū_ir‖₂ + ‖(f − vi) b̄g‖₂, with the regions of :func:`split_masks`. The norms are root
    mean squares over the batch, so that the value does not depend on the size of the image.

    Args:
        loss_weight (float): Factor on the loss.
        omega (tuple[float, float]): ω1, ω2.
        infrared_target (str): x of the second term: ``'ir'`` as the text's logic asks, or ``'vi'`` as printed.
    """

    def __init__(self, loss_weight=1.0, omega=(0.5, 0.5), infrared_target='ir'):
        super().__init__()
        if infrared_target not in ('ir', 'vi'):
            raise ValueError(f"infrared_target must be 'ir' or 'vi', got {infrared_target!r}")
        self.loss_weight, self.omega, self.infrared_target = loss_weight, omega, infrared_target

    def forward(self, fused, vi, ir, mask_vi, mask_ir):
        """Loss of N×1×H×W images in [0, 1] and boolean masks of the same shape."""
        regions = split_masks(mask_vi, mask_ir)

        def rms(target, region):
            # The small constant keeps the root's gradient finite where a region is empty or matched exactly.
            return (((fused - target) * region).square().mean() + 1e-12).sqrt()

        second = ir if self.infrared_target == 'ir' else vi
        return self.loss_weight * (
            self.omega[0] * rms(vi, regions['unique_vi'])
            + self.omega[1] * rms(second, regions['unique_ir'])
            + rms(vi, regions['background'])
        )


def split_masks(mask_vi, mask_ir):
    """OCCO's semantic regions (section 3.2, Fig. 5).

    Args:
        mask_vi, mask_ir (Tensor): Objects that each modality shows, boolean, any shape.

    Returns:
        dict[str, Tensor]: ``shared`` = vi ∧ ir, ``unique_vi`` = vi − shared, ``unique_ir`` = ir − shared, and
        ``background``, the rest; boolean, disjoint, and together everything.
    """
    mask_vi, mask_ir = mask_vi.bool(), mask_ir.bool()
    return dict(
        shared=mask_vi & mask_ir,
        unique_vi=mask_vi & ~mask_ir,
        unique_ir=mask_ir & ~mask_vi,
        background=~(mask_vi | mask_ir),
    )
