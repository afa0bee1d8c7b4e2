"""GFFusion on M3FD, of which there are boxes only: boxes → label maps (Fig. 5) → joint training, through the tools."""

import json
import shlex
from pathlib import Path

import numpy as np
import pytest
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmfusion.datasets import M3FDDataset, M3FDSegDataset
from mmfusion.registry import DATASETS
from mmfusion.utils import read_label_map, write_image

pytestmark = pytest.mark.usefixtures('one_thread')
ROOT = Path(__file__).resolve().parents[2]
BOXES_TO_MASKS = 'tools/dataset_converters/boxes_to_masks.py'
TINY = """
prior = dict(
    type='mmfusion.DINOv2Prior',
    backbone=dict(arch=dict(embed_dims=16, num_layers=2, num_heads=2, feedforward_channels=32), img_size=28),
    weights='random',
)
"""


class Recorder(Hook):
    """Keeps the losses of each step and the labels that it saw."""

    def __init__(self):
        self.losses, self.labels = [], set()

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.losses.append({k: v.item() for k, v in outputs.items() if v.numel() == 1})
        for sample in data_batch['data_samples']:
            self.labels |= set(sample.gt_sem_seg.data.unique().tolist())


@pytest.fixture
def boxes(tmp_path, load_tool):
    """M3FD's layout by the generator: two pairs to train with, one to validate with, one to test with."""
    root = tmp_path / 'M3FD'
    counts = ['--num', '2', '--num-test', '1', '--size', '96', '128']
    load_tool('tools/dataset_converters/synthetic.py').main([str(root), '--layout', 'm3fd', *counts])
    return root


@pytest.fixture
def make_masks(tmp_path, load_tool):
    """Runs boxes_to_masks.py with a tiny DINOv2."""
    (tmp_path / 'tiny.py').write_text(TINY)

    def make(*command):
        code = load_tool(BOXES_TO_MASKS).main([*command, '--prior', str(tmp_path / 'tiny.py'), '--crop-size', '56'])
        assert code == 0

    return make


@pytest.fixture
def m3fd(boxes, make_masks):
    """The same with label maps."""
    make_masks('M3FDDataset', str(boxes), '--out', str(boxes / 'M3FD_Detection/Label'))
    return boxes


def labelled(root, **options):
    return M3FDSegDataset(data_root=str(root), with_labels=True, **options)


def config(tmp_path, monkeypatch):
    """gffusion_joint_m3fd.py, with the models of the demo in the place of the full ones, for one step of two images."""
    monkeypatch.setenv('MMFUSION_DATA', str(tmp_path))
    cfg, demo = (Config.fromfile(ROOT / f'configs/gffusion/gffusion_joint_{n}.py') for n in ('m3fd', 'demo-random'))
    cfg.model.fuser.update(priors=demo.model.fuser.priors, network=demo.model.fuser.network)
    cfg.model.segmentor.backbone = demo.model.segmentor.backbone
    cfg.model.segmentor.decode_head.update(in_channels=48, channels=48)
    cfg.model.task_checkpoint = None
    cfg.default_hooks.guide.allow_random_guide = True
    cfg.train_dataloader.dataset.pipeline[3].crop_size = (84, 98)
    cfg.train_dataloader.batch_size = 2
    for part in ('train', 'val', 'test'):
        cfg[f'{part}_dataloader'].update(num_workers=0, persistent_workers=False)
    cfg.train_dataloader.dataset.ann_file = 'M3FD_Detection/train.txt'
    cfg.val_dataloader.dataset.ann_file = 'M3FD_Detection/test.txt'
    cfg.train_cfg.update(max_epochs=1, val_interval=1)
    cfg.merge_from_dict(dict(work_dir=str(tmp_path / 'work'), log_level='ERROR', experiment_name=tmp_path.name))
    return cfg


def test_from_boxes_to_a_step_of_joint_training(m3fd, tmp_path, monkeypatch):
    """Classes of the label maps reach the stock head; it is validated by IoU, and fusion is tested on the other part."""
    runner, recorder = Runner.from_cfg(config(tmp_path, monkeypatch)), Recorder()
    runner.register_hook(recorder)
    runner.train()
    (losses,) = recorder.losses
    assert {'fusion.loss_ssim', 'fusion.loss_texture', 'seg.decode.loss_ce'} <= losses.keys()
    assert all(np.isfinite(v) for v in losses.values())
    assert recorder.labels - {255} > {0}
    assert recorder.labels <= {*range(7), 255}
    assert 'val/mIoU' in runner.message_hub.log_scalars
    tested = runner.test()
    assert sorted(tested) == ['fusion/EN', 'fusion/SCD', 'fusion/VIF', 'fusion/VIFF']


def test_labels_are_those_of_the_boxes(m3fd):
    """Label k is class k of both datasets, the background being 0: person and car of the generator are 1 and 2."""
    data, boxes = labelled(m3fd), M3FDDataset(data_root=str(m3fd), with_boxes=True)
    assert data.metainfo['classes'][1:] == boxes.metainfo['classes']
    assert len(data.metainfo['palette']) == len(data.metainfo['classes']) == 7
    seen = set()
    for k in range(len(data)):
        info, labels = data.get_data_info(k), read_label_map(data.get_data_info(k)['seg_map_path'])
        assert 'instances' not in info
        assert info['num_classes'] == 7
        inside = np.zeros(labels.shape, bool)
        for item in boxes.get_data_info(k)['instances']:
            x1, y1, x2, y2 = (int(v) for v in item['bbox'])
            inside[y1:y2, x1:x2] = True
            own = labels[y1:y2, x1:x2]
            seen.add(
                data.metainfo['classes'][1 + item['bbox_label']] if (own == 1 + item['bbox_label']).any() else None
            )
        assert not labels[~inside].any()
    assert {'People', 'Car'} <= seen


def test_missing_label_maps_name_the_command(boxes, make_masks):
    """The error's command, run as it is, makes them; it is told again when one is missing."""
    with pytest.raises(FileNotFoundError, match='M3FD comes with boxes only') as error:
        labelled(boxes)
    command = shlex.split(str(error.value).partition(f'python {BOXES_TO_MASKS} ')[2])
    make_masks(*command)
    assert len(labelled(boxes)) == 3
    (boxes / 'M3FD_Detection/Label/00001N.png').unlink()
    with pytest.raises(
        FileNotFoundError, match=rf'Label: 1 of 3 images .*: 00001N\. .*python {BOXES_TO_MASKS} M3FDDataset'
    ):
        labelled(boxes)
    assert len(M3FDSegDataset(data_root=str(boxes), split='fusion')) == 1


def test_label_maps_of_other_classes_are_refused(m3fd):
    record = m3fd / 'M3FD_Detection/Label/masks.json'
    content = json.loads(record.read_text())
    content['settings']['classes'] = ['background', 'person']
    record.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=r'classes background, person; expected background, People.*--overwrite'):
        labelled(m3fd)
    record.write_text('{}')
    with pytest.raises(ValueError, match=r'masks\.json does not say of which classes'):
        labelled(m3fd)
    record.unlink()  # label maps of one's own
    assert len(labelled(m3fd)) == 3


def test_labels_and_heads_beyond_the_classes_are_refused(m3fd, tmp_path, monkeypatch):
    cfg = config(tmp_path, monkeypatch)
    write_image(m3fd / 'M3FD_Detection/Label/00000D.png', np.full((96, 128), 7, np.uint8))
    with pytest.raises(ValueError, match=r'00000D\.png: label 7 is outside the classes; .* labels 0 to 6'):
        DATASETS.build(cfg.train_dataloader.dataset)[0]
    cfg.model.segmentor.decode_head.num_classes = 6
    with pytest.raises(ValueError, match=r'M3FDSegDataset has 7 classes \(background, .*num_classes=6'):
        Runner.from_cfg(cfg).train()


@pytest.mark.parametrize(
    ('options', 'asked'),
    [(dict(with_boxes=True), 'with_boxes'), (dict(split='fusion', with_labels=True), 'with_labels')],
)
def test_what_it_does_not_hold(boxes, options, asked):
    with pytest.raises(ValueError, match=f'holds nothing for {asked}=True'):
        M3FDSegDataset(data_root=str(boxes), **options)
