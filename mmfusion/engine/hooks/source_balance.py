"""How much of each source arrives in the fused image."""

import torch
from mmengine.dist import all_reduce
from mmengine.hooks import Hook

from mmfusion.models.fusers import luminance
from mmfusion.registry import HOOKS

from .progress import progress

_ADVICE = {
    'vi': 'Look at the intensity and texture losses: does a term hold the fused image to the visible one?',
    'ir': 'Look at the intensity loss (does it take the infrared image where that is brighter?), at the masks, and at the '
    'weight of the contrastive loss.',
}
_NAMES = {'vi': 'visible', 'ir': 'infrared'}


def source_shares(fused, vi, ir, where=None):
    """Compute correlations of a fused image with its sources, and their shares.

    The share comes from the least-squares fit z(f) ≈ β_vi z(vi) + β_ir z(ir) of standardised images, so that what both
    sources have in common is not counted for both: share_m = max(β_m, 0) / Σ max(β, 0).

    Args:
        fused, vi, ir (Tensor): H×W.
        where (Tensor, optional): H×W bool, the pixels to look at.

    Returns:
        Tensor: (corr_vi, corr_ir, share_vi, share_ir); NaN where a source is constant or fewer than 16 pixels count.
    """
    return _fit(fused, vi, ir, where)[:4]


def _fit(fused, vi, ir, where=None):
    """Compute correlations, shares, and β_vi and β_ir of the least-squares fit."""
    images = [x.double().flatten() if where is None else x[where].double() for x in (fused, vi, ir)]
    stack = torch.stack(images)
    if stack.shape[1] < 16 or (stack.std(1) < 1e-6)[1:].any():
        return stack.new_full((6,), float('nan'))
    if stack[0].std() < 1e-6:
        return stack.new_zeros(6)  # a constant fused image holds nothing of either source
    corr = torch.corrcoef(stack)
    r_vi, r_ir, r = corr[0, 1], corr[0, 2], corr[1, 2].clamp(-0.999, 0.999)
    beta = torch.stack([r_vi - r * r_ir, r_ir - r * r_vi]) / (1 - r * r)
    share = beta.clamp_min(0) / beta.clamp_min(0).sum().clamp_min(1e-12)
    return torch.cat([torch.stack([r_vi, r_ir]), share, beta])


@HOOKS.register_module()
class SourceBalanceHook(Hook):
    """Watch how much of either source the fused image holds.

    Correlation with each source and its share (:func:`source_shares`) over the whole image and, where the samples have
    masks, inside and outside the salient objects; logged as ``balance/<region>_<number>``. A source whose share falls
    below ``min_share`` is warned about, in other words where it comes out inverted: its β of the fit is below −0.1, too. (A
    negative correlation alone says little: the sources themselves are often negatively correlated.)

    Args:
        min_share (float): Between 0 and 0.5.

    Raises:
        ValueError: If ``min_share`` is out of range.
    """

    regions = ('all', 'inside', 'outside')

    def __init__(self, min_share=0.1):
        if not 0 <= min_share <= 0.5:
            raise ValueError(f'min_share must be between 0 and 0.5, got {min_share}')
        self.min_share = min_share

    def before_val_epoch(self, runner):
        """Start counting again."""
        self._sums = torch.zeros(len(self.regions), 6, dtype=torch.float64)
        self._counts = torch.zeros(len(self.regions), 1, dtype=torch.float64)

    def after_val_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        """Add one batch."""
        for pair, sample in zip(data_batch['inputs'], outputs, strict=True):
            if 'fused' not in sample or sample.fused.data.shape[1:] != pair.shape[1:]:
                continue  # a cascade's predict may keep no fused image; there is then nothing to measure
            pair = pair.float() / 255
            vi = luminance(pair[None, [2, 1, 0]])[0, 0]
            ir = sample.ir.data[0].float().cpu() if 'ir' in sample else pair[3]  # as the network registered it
            fused = luminance(sample.fused.data[None].float().cpu())[0, 0]
            where = [None]
            if 'gt_saliency' in sample:
                inside = (sample.gt_saliency.vi | sample.gt_saliency.ir)[0].cpu()
                where += [inside, ~inside]
            for k, region in enumerate(where):
                values = _fit(fused, vi, ir, region)
                if not values.isnan().any():
                    self._sums[k] += values
                    self._counts[k] += 1

    def after_val_epoch(self, runner, metrics=None):
        """Log the means and warn."""
        all_reduce(self._sums)
        all_reduce(self._counts)
        for region, total, count in zip(self.regions, self._sums, self._counts, strict=True):
            if count == 0:
                continue
            corr_vi, corr_ir, share_vi, share_ir, beta_vi, beta_ir = (total / count).tolist()
            runner.visualizer.add_scalars(
                {
                    f'balance/{region}_corr_vi': corr_vi,
                    f'balance/{region}_corr_ir': corr_ir,
                    f'balance/{region}_share_ir': share_ir,
                },
                step=progress(runner)[1],
            )
            place = {'all': 'the whole image', 'inside': 'the salient objects', 'outside': 'the background'}[region]
            runner.logger.info(
                f'Source balance in {place}: correlation with visible {corr_vi:.2f}, infrared {corr_ir:.2f}; '
                f'share of visible {share_vi:.0%}, infrared {share_ir:.0%}'
            )
            self._warn(runner, place, dict(vi=(corr_vi, share_vi, beta_vi), ir=(corr_ir, share_ir, beta_ir)))

    def _warn(self, runner, place, numbers):
        for m, (corr, share, beta) in numbers.items():
            if beta < -0.1 and corr < -0.1:
                runner.logger.warning(
                    f'The fused image is the NEGATIVE of the {_NAMES[m]} one in {place} (correlation {corr:.2f}): what is '
                    f'bright there comes out dark. {_ADVICE[m]}'
                )
            elif share < self.min_share:
                runner.logger.warning(
                    f'The fused image hardly holds anything of the {_NAMES[m]} one in {place} (share {share:.0%}, below '
                    f'{self.min_share:.0%}; correlation {corr:.2f}): this modality is being ignored. {_ADVICE[m]}'
                )
