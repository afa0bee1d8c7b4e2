"""YOLOX's own training pipeline on pairs, through a Runner: Mosaic, affine, MixUp, and the switch that ends them."""

from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config, ConfigDict
from mmengine.hooks import Hook
from mmengine.runner import Runner

pytestmark = pytest.mark.usefixtures('one_thread')
CONFIGS = Path(__file__).resolve().parents[3] / 'configs'
SMALL = (((640, 640), (64, 64)), ((-320, -320), (-32, -32)), ((480, 800), (64, 96)))
SWITCHED = [False, False, True, True, True, True]


def shrink(node):
    """Every size of 640 becomes 64, in place."""
    for key, value in node.items() if isinstance(node, dict) else enumerate(node):
        sizes = [new for old, new in SMALL if isinstance(value, list | tuple) and tuple(value) == old]
        if sizes:
            node[key] = sizes[0]
        elif isinstance(value, dict | list):
            shrink(value)


def small_config(work_dir):
    """occo_yolox-s_m3fd.py on synthetic scenes, narrow, for 3 epochs of 2 steps, mosaics in the first alone."""
    cfg = Config.fromfile(CONFIGS / 'cascades/occo_yolox-s_m3fd.py')
    render = [dict(type='mmfusion.RenderSyntheticPair', with_masks=False, with_seg=False)]
    scenes = dict(type='mmfusion.SyntheticDataset', num=4, size=(48, 64), task='det')
    cfg.train_dataloader.dataset.dataset = ConfigDict(pipeline=render, **scenes)
    cfg.model.fuser.network.channels = (4, 4, 8, 8)
    detector = cfg.model.detector
    detector.backbone.update(widen_factor=0.125, deepen_factor=0.1)
    detector.neck.update(in_channels=[32, 64, 128], out_channels=16, num_csp_blocks=1)
    detector.bbox_head.update(num_classes=2, in_channels=16, feat_channels=16)
    detector.data_preprocessor.batch_augments[0].interval = 1
    shrink(cfg.model)
    shrink(cfg.train_dataloader)
    cfg.train_dataloader.update(batch_size=2, num_workers=1)
    cfg.custom_hooks[0].num_last_epochs = 1  # the stock hook begins an epoch earlier than its name says
    cfg.param_scheduler = cfg.auto_scale_lr = None
    cfg.train_cfg.max_epochs = 3
    cfg.load_from = None  # COCO's weights, of another width
    cfg.randomness = dict(seed=0)
    for loop in ('val', 'test'):
        for part in ('cfg', 'dataloader', 'evaluator'):
            cfg[f'{loop}_{part}'] = None
    cfg.work_dir, cfg.log_level = str(work_dir), 'WARNING'
    return cfg


class Watch(Hook):
    """Keeps what each step was given, and what came out of it."""

    def __init__(self):
        self.steps = []

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.steps.append((runner.epoch, data_batch, outputs))


@pytest.fixture(scope='module')
def run(tmp_path_factory, one_thread):
    """The runner after training, what it saw, and the fuser's weights before."""
    runner = Runner.from_cfg(small_config(tmp_path_factory.mktemp('yolox')))
    watch = Watch()
    runner.register_hook(watch)
    before = {k: v.clone() for k, v in runner.model.fuser.state_dict().items()}
    runner.train()
    return runner, watch.steps, before


def test_joint_training_with_the_full_pipeline(run):
    """Both sides learn from mosaics of pairs; nothing becomes NaN."""
    runner, steps, before = run
    assert [epoch for epoch, _, _ in steps] == [0, 0, 1, 1, 2, 2]
    assert all(torch.isfinite(outputs['loss']) for _, _, outputs in steps)
    assert all({'fusion.loss_ssim', 'det.loss_bbox', 'det.loss_obj'} <= set(outputs) for _, _, outputs in steps)
    after = runner.model.fuser.state_dict()
    moved = [k for k, v in before.items() if v.is_floating_point() and not torch.equal(v, after[k])]
    assert len(moved) > len(before) / 2


def test_mosaics_carry_the_infrared_image(run):
    """Four channels throughout, the infrared one neither empty nor a copy, filled with 114 where the visible one is."""
    _, steps, _ = run
    for _, batch, _ in steps:
        for pair in batch['inputs']:
            assert pair.shape == (4, 64, 64)
            assert pair[3].float().std() > 1
    mosaics = torch.stack([pair for epoch, batch, _ in steps if epoch == 0 for pair in batch['inputs']])
    assert (mosaics[:, 3] == 114).any()
    # HSV augmentation shifts the visible border's grey by a few levels; the infrared border stays exactly 114.
    border = mosaics[:, 3] == 114
    visible = mosaics[:, :3].float().mean(1)[border]
    assert np.median((visible - 114).abs()) < 20


def test_the_mode_switch(run):
    """Mosaics end and the L1 loss begins: YOLOXModeSwitchHook knows the cascade and the wrapper."""
    runner, steps, _ = run
    assert ['det.loss_l1' in outputs for _, _, outputs in steps] == SWITCHED
    assert runner.model.detector.bbox_head.use_l1
    assert runner.train_dataloader.dataset._skip_type_keys == ('mmfusion.ForEachModality',)
    # A scene of 48×64 in a square of 64: the lowest quarter is padding in both images.
    padded = [all((p[:, 48:] == 114).all() for p in batch['inputs']) for _, batch, _ in steps]
    assert padded == SWITCHED
