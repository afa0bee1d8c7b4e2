"""Training by iterations: hooks go by the loop's own count, and a resumed run with dropout and augmentation repeats."""

import pytest
import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import nn

from mmfusion.registry import MODELS

pytestmark = pytest.mark.usefixtures('one_thread')


@MODELS.register_module()
class DropoutNet(nn.Module):
    """A network whose result depends on the random state of the process."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(2, 1, 3, padding=1)

    def forward(self, vi, ir):
        x = nn.functional.dropout(torch.cat([vi, ir], 1), 0.5, self.training)
        return torch.sigmoid(self.conv(x))


class Losses(Hook):
    def __init__(self):
        self.values = []

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.values.append(outputs['loss'].item())


def run(work_dir, iters, resume=False):
    scenes = dict(type='SyntheticDataset', num=4, size=(32, 48))
    render = dict(type='RenderSyntheticPair', with_masks=False, with_seg=False, with_bbox=False)
    pack = dict(type='PackFusionInputs')
    flip = [dict(type='mmseg.RandomFlip', prob=[0.4, 0.4], direction=['horizontal', 'vertical'])]
    loader = dict(num_workers=0, dataset=dict(scenes, pipeline=[render, pack]))
    runner = Runner(
        model=dict(
            type='ImageFuser', network=dict(type='DropoutNet'), losses=dict(intensity=dict(type='MaxIntensityLoss'))
        ),
        work_dir=str(work_dir),
        train_dataloader=dict(
            num_workers=0,
            batch_size=2,
            sampler=dict(type='InfiniteSampler', shuffle=True),
            dataset=dict(scenes, pipeline=[render, *flip, pack]),
        ),
        train_cfg=dict(type='IterBasedTrainLoop', max_iters=iters, val_interval=2),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)),
        val_dataloader=dict(loader, batch_size=2, sampler=dict(type='DefaultSampler', shuffle=False)),
        val_cfg=dict(),
        val_evaluator=dict(type='FusionMetric', metric=['EN']),
        default_hooks=dict(checkpoint=dict(type='CheckpointHook', interval=3, by_epoch=False)),
        custom_hooks=[
            dict(type='ReproducibleEpochHook'),
            dict(type='FusionPanelHook', num=1),
            dict(type='SourceBalanceHook'),
        ],
        visualizer=dict(type='FusionLocalVisualizer', vis_backends=[dict(type='LocalVisBackend')]),
        resume=resume,
        randomness=dict(seed=0),
        experiment_name=f'{work_dir.name}{iters}{resume}',
        default_scope='mmfusion',
        log_level='WARNING',
    )
    losses = Losses()
    runner.register_hook(losses)
    runner.train()
    return losses.values


def test_counts_and_resuming(tmp_path):
    whole = run(tmp_path / 'a', 6)
    assert len(set(whole)) == 6
    first = run(tmp_path / 'b', 3)
    rest = run(tmp_path / 'b', 6, resume=True)
    assert first + rest == whole
    folders = sorted(f.name for f in (tmp_path / 'a').glob('*/panels/*'))
    assert folders == ['iter_2', 'iter_4', 'iter_6']
    steps = next((tmp_path / 'a').glob('*/vis_data/scalars.json')).read_text().splitlines()
    balance = [eval(line)['step'] for line in steps if 'balance/all_corr_vi' in line]
    assert balance == [2, 4, 6]
