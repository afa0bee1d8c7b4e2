"""Side-by-side panels of sources and fused images."""

from pathlib import Path

from mmengine.hooks import Hook

from mmfusion.registry import HOOKS

from .progress import progress


@HOOKS.register_module()
class FusionPanelHook(Hook):
    """Write panels (visible, infrared, fused) of a validation's or test's first images.

    Files go to ``<work_dir>/<timestamp>/<out_dir>/epoch_<k>/<name>.png``, and to the visualizer's backends (TensorBoard…).

    Args:
        num (int): Images per validation; −1 for all.
        interval (int): Every how many validations.
        out_dir (str): Folder below the run's log folder.
        test (bool): Also draw during tests.
    """

    def __init__(self, num=4, interval=1, out_dir='panels', test=True):
        self.num, self.interval, self.out_dir, self.test = num, interval, out_dir, test
        self._validations = -1

    def before_val_epoch(self, runner):
        """Count validations."""
        self._validations += 1
        self._drawn = 0

    def before_test_epoch(self, runner):
        """Start counting again."""
        self._drawn = 0

    def after_val_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        """Draw one batch."""
        if self._validations % self.interval == 0:
            unit, count = progress(runner)
            self._draw(runner, data_batch, outputs, f'{unit}_{count}')

    def after_test_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        """Draw one batch."""
        if self.test:
            self._draw(runner, data_batch, outputs, 'test')

    def _draw(self, runner, data_batch, outputs, folder):
        for pair, sample in zip(data_batch['inputs'], outputs, strict=True):
            if 0 <= self.num <= self._drawn:
                return
            self._drawn += 1
            if 'fused' not in sample:
                continue
            name = Path(str(sample.get('img_path', f'{self._drawn:05d}'))).stem
            out = Path(runner.log_dir) / self.out_dir / folder / f'{name}.png'
            runner.visualizer.add_datasample(
                f'fusion/{name}', pair.permute(1, 2, 0).numpy(), sample, out_file=str(out), step=progress(runner)[1]
            )
