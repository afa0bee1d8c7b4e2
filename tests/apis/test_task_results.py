"""A cascade in the inferencer: predictions, and what is drawn of them."""

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.structures import InstanceData, PixelData

from mmfusion.apis import FusionInferencer
from mmfusion.apis.task_results import TaskResults, fused_at_ori_shape
from mmfusion.datasets import render_scene
from mmfusion.registry import MODELS
from mmfusion.structures import FusionDataSample

pytestmark = pytest.mark.usefixtures('one_thread')
CONFIGS = {'seg': 'occo_deeplabv3plus_synthetic', 'det': 'occo_yolox_synthetic'}


@pytest.fixture(scope='module')
def scene():
    return render_scene(0, 50003, (48, 64))


@pytest.fixture(scope='module', params=CONFIGS)
def case(request, tmp_path_factory):
    """Task, config's name, a checkpoint of it, and the cascade."""
    from mmfusion.apis import find_config

    cfg = Config.fromfile(find_config(CONFIGS[request.param]))
    torch.manual_seed(3)
    model = MODELS.build(cfg.model).eval()
    file = tmp_path_factory.mktemp(request.param) / 'cascade.pth'
    classes = ('road', 'grass', 'sky', 'car', 'person', 'lamp') if request.param == 'seg' else ('person', 'car')
    palette = [(40 * k, 255 - 40 * k, 128) for k in range(len(classes))]
    torch.save(
        dict(state_dict=model.state_dict(), meta=dict(dataset_meta=dict(classes=classes, palette=palette))), file
    )
    return request.param, CONFIGS[request.param], file, model


def test_predictions_are_the_cascades(case, scene):
    task, name, file, model = case
    sample = FusionInferencer(name, file, 'cpu', task=task, show_progress=False).predict(scene.vi, scene.ir)
    rgb = torch.from_numpy(scene.vi[..., ::-1].copy()).permute(2, 0, 1)[None] / 255
    expected = model(dict(vi=rgb, ir=torch.from_numpy(scene.ir)[None, None] / 255), mode='predict')[0]
    torch.testing.assert_close(sample.fused.data, expected.fused.data)
    if task == 'seg':
        assert torch.equal(sample.pred_sem_seg.data, expected.pred_sem_seg.data)
    else:
        torch.testing.assert_close(sample.pred_instances.bboxes, expected.pred_instances.bboxes)


def test_only_fusing_leaves_the_task_out(case, scene):
    _, name, file, model = case
    inferencer = FusionInferencer(name, file, 'cpu', show_progress=False)
    assert type(inferencer.model).__name__ == 'ImageFuser'
    rgb = torch.from_numpy(scene.vi[..., ::-1].copy()).permute(2, 0, 1)[None] / 255
    with torch.no_grad():
        expected = model.fuser.fuse(rgb, torch.from_numpy(scene.ir)[None, None] / 255)[0]
    expected = (expected * 255).round().byte().permute(1, 2, 0).numpy()[..., ::-1]
    assert np.abs(inferencer(scene.vi, scene.ir).astype(int) - expected).max() <= 1


def overlay(task):
    from mmfusion.apis import find_config

    return TaskResults(Config.fromfile(find_config(CONFIGS[task])), task)


def test_labels_are_drawn_in_their_colours():
    """A class region is half its colour, half the picture; the background, black in the palette, stays as it is."""
    sample = FusionDataSample(metainfo=dict(ori_shape=(40, 60)))
    sample.fused = PixelData(data=torch.full((3, 40, 60), 0.5))
    labels = torch.zeros(1, 40, 60, dtype=torch.long)
    labels[:, :, 30:] = 4
    sample.pred_sem_seg = PixelData(data=labels)
    results = overlay('seg')
    drawn = results.draw(sample)
    assert drawn.shape == (40, 60, 3)
    palette = np.array(results.visualizer.dataset_meta['palette'])
    np.testing.assert_array_equal(drawn[20, 10], 128)
    np.testing.assert_allclose(drawn[20, 50, ::-1], 64 + palette[4] / 2, atol=3)


def test_boxes_above_the_threshold_are_drawn():
    sample = FusionDataSample(metainfo=dict(ori_shape=(80, 120)))
    sample.fused = PixelData(data=torch.full((3, 80, 120), 0.5))
    boxes = torch.tensor([[10.0, 30, 40, 70], [70, 30, 110, 70]])
    sample.pred_instances = InstanceData(bboxes=boxes, labels=torch.tensor([0, 1]), scores=torch.tensor([0.9, 0.1]))
    drawn = overlay('det').draw(sample).astype(int)
    changed = np.abs(drawn - 128).max(2) > 20
    assert changed[40:60, 8:13].any(1).all()  # its left edge
    assert not changed[45:, 60:].any()  # above, the first one's name reaches over


def test_padding_and_resizing_are_undone():
    """What a test pipeline scaled by one half and padded comes out at the size of the source."""
    sample = FusionDataSample(metainfo=dict(ori_shape=(80, 120), scale_factor=(0.5, 0.5)))
    data = torch.zeros(3, 64, 64)
    data[:, :40, :60] = 0.7
    sample.fused = PixelData(data=data)
    torch.testing.assert_close(fused_at_ori_shape(sample), torch.full((3, 80, 120), 0.7))


def test_errors(tmp_path):
    with pytest.raises(ValueError, match=r"task='det': the model of .* has no detector"):
        FusionInferencer(CONFIGS['seg'], 'random', 'cpu', task='det')
    with pytest.raises(ValueError, match="task must be 'seg' or 'det', got 'depth'"):
        FusionInferencer(CONFIGS['seg'], 'random', 'cpu', task='depth')
