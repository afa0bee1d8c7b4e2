"""A cascade's predictions for single pairs, and how they are drawn."""

import numpy as np
import torch.nn.functional as F
from mmcv.transforms import Compose, LoadAnnotations
from mmengine.config import Config
from mmengine.registry import DefaultScope
from torch import Tensor

from mmfusion.datasets import RenderSyntheticPair
from mmfusion.datasets.transforms import LoadImagePair, LoadMFNetPair, LoadSegLabels
from mmfusion.registry import DATASETS, TRANSFORMS, VISUALIZERS, is_a
from mmfusion.structures import FusionDataSample
from mmfusion.utils import to_bgr
from mmfusion.utils.configs import innermost

TASKS = {'seg': 'mmseg.SegLocalVisualizer', 'det': 'mmdet.DetLocalVisualizer'}
# What a test pipeline loads is given here; what it does with the image stays.
_LOADING = (LoadImagePair, LoadMFNetPair, LoadAnnotations, LoadSegLabels, RenderSyntheticPair)


class TaskResults:
    """Prepare pairs by a config's test pipeline, and draw a cascade's findings.

    Args:
        cfg: The cascade's.
        task: ``'seg'`` or ``'det'``.
        dataset_meta: ``classes`` and ``palette``, as a checkpoint has them; by default those of the config's test
            dataset.
        score_thr: Boxes of a lower score are not drawn.

    Raises:
        ValueError: If the task is unknown, the config's model is no cascade of it, or its classes are not known.
    """

    def __init__(self, cfg: Config, task: str, dataset_meta: dict | None = None, score_thr: float = 0.3) -> None:
        if task not in TASKS:
            raise ValueError(f"task must be 'seg' or 'det', got {task!r}")
        kind = {'seg': 'segmentor', 'det': 'detector'}[task]
        if kind not in cfg.model:
            raise ValueError(
                f'task={task!r}: the model of {cfg.filename} has no {kind}. Give the config of a cascade, such as those of '
                'configs/cascades, or leave task out to fuse only.'
            )
        self.task, self.score_thr = task, score_thr
        dataset = innermost(cfg.get('test_dataloader', {}).get('dataset', {}))
        meta = dict(dataset_meta or _config_meta(dataset))
        if not meta.get('classes'):
            raise ValueError(f'{cfg.filename}: neither the checkpoint nor the test dataset tells the classes.')
        with DefaultScope.overwrite_default_scope(cfg.get('default_scope') or 'mmfusion'):
            pipeline = dataset.get('pipeline') or [dict(type='mmfusion.PackFusionInputs')]
            self.pipeline = Compose([TRANSFORMS.build(t) for t in pipeline if not is_a(t, TRANSFORMS, *_LOADING)])
            # Half opaque: the fused image under the labels is what one wants to see.
            self.visualizer = VISUALIZERS.build(dict(type=TASKS[task], name=f'mmfusion_{task}', alpha=0.5))
        palette = [tuple(colour) for colour in meta.get('palette') or ()]  # mmdet draws with tuples only
        self.visualizer.dataset_meta = dict(meta, palette=palette or None)

    def prepare(self, pair: np.ndarray, name: str) -> dict:
        """Pack a pair (H×W×4 uint8) as the test pipeline does."""
        size = pair.shape[:2]
        return self.pipeline(dict(img=pair, img_path=name, img_id=name, img_shape=size, ori_shape=size))

    def draw(self, sample: FusionDataSample) -> np.ndarray:
        """Draw a prediction on its fused image: H×W×3 uint8, B, G, R."""
        image = np.ascontiguousarray(to_bgr(fused_at_ori_shape(sample))[..., ::-1])
        options = dict(pred_score_thr=self.score_thr) if self.task == 'det' else dict(with_labels=False)
        self.visualizer.add_datasample('overlay', image, sample.cpu(), draw_gt=False, **options)
        drawn = self.visualizer.get_image()
        if self.task == 'seg':
            # A class that the palette paints black, as data sets do with their background, is left as it is.
            colours = np.array(self.visualizer.dataset_meta['palette'] or [[1, 1, 1]])
            black = np.isin(sample.pred_sem_seg.data[0].cpu().numpy(), np.flatnonzero(~colours.any(1)))
            drawn = np.where(black[..., None], image, drawn)
        return np.ascontiguousarray(drawn[..., ::-1])


def fused_at_ori_shape(sample: FusionDataSample) -> Tensor:
    """Crop padding off a fused image, resized to its source; 3×H×W."""
    height, width = sample.ori_shape
    scale = sample.get('scale_factor') or (1.0, 1.0)
    fused = sample.fused.data
    fused = fused[:, : round(height * scale[1]), : round(width * scale[0])]
    if fused.shape[1:] == (height, width):
        return fused
    return F.interpolate(fused[None], (height, width), mode='bilinear', antialias=True, align_corners=False)[0].clamp(
        0, 1
    )


def _config_meta(dataset: dict) -> dict:
    """Classes and palette of a dataset's class, under the config's own."""
    if 'type' not in dataset:
        return {}
    meta = getattr(DATASETS.get(dataset['type']), 'METAINFO', {})
    return {**meta, **(dataset.get('metainfo') or {})}
