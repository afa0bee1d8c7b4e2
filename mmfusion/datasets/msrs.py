"""MSRS: aligned and enhanced pairs of MFNet with segmentation labels (PIAFusion, 2022)."""

from pathlib import Path

import cv2
import numpy as np

from mmfusion.registry import DATASETS
from mmfusion.utils import read_label_map

from .layout_dataset import LayoutDataset
from .mfnet import MFNET_METAINFO


@DATASETS.register_module()
class MSRSDataset(LayoutDataset):
    """MSRS: 1083 training and 361 test pairs of 640×480, 9 classes.

    Layout: ``{train,test}/{vi,ir,Segmentation_labels}/NAME.png``, where NAME ends in D (day) or N (night). Label 0,
    unlabelled, counts as a class in the field's tables: ``reduce_zero_label`` is False.

    Source: https://github.com/Linfeng-Tang/MSRS
    """

    METAINFO = MFNET_METAINFO
    FOLDERS = dict(vi_path='{split}/vi', ir_path='{split}/ir', seg_map_path='{split}/Segmentation_labels')
    MASKS = '{split}/mask_{modality}'


@DATASETS.register_module()
class MSRSComponentsDataset(MSRSDataset):
    """MSRS for detection, on boxes around its label maps' connected components.

    Classes are car, person and bike. The boxes are not annotations: people who touch are one component, an object that
    another one divides is two, and the label maps are coarse at borders. Numbers from them rank inputs of one detector, and
    nothing more.

    Components of fewer than ``least_area`` pixels are ignored (``ignore_flag``), neither found nor missed.
    """

    METAINFO = dict(classes=('car', 'person', 'bike'), palette=[[0, 0, 142], [220, 20, 60], [119, 11, 32]])

    def __init__(self, least_area: int = 100, **kwargs) -> None:
        self.least_area = least_area
        super().__init__(**{**kwargs, 'with_labels': True})

    def parse_pair(self, stem: str, vi: Path, ir: Path) -> dict:
        """Make the sample of one pair, with ``instances``."""
        info = super().parse_pair(stem, vi, ir)
        info['instances'] = self._components(read_label_map(info['seg_map_path']))
        return info

    def _components(self, labels: np.ndarray) -> list[dict]:
        """Boxes of components that touch by a side or a corner."""
        instances = []
        for index, name in enumerate(self.metainfo['classes']):
            mask = (labels == MFNET_METAINFO['classes'].index(name)).astype(np.uint8)
            _, _, components, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
            for x, y, width, height, area in components[1:].tolist():  # the first one is what is not the class
                box = dict(bbox=[x, y, x + width, y + height], bbox_label=index)
                instances.append(dict(box, ignore_flag=int(area < self.least_area)))
        return instances


@DATASETS.register_module()
class MSRSDetectionDataset(LayoutDataset):
    """The 80 pairs of MSRS with boxes, which its authors keep apart.

    Layout: ``detection/{vi,ir}/NAME.png`` and ``detection/labels/NAME.txt``.

    The labels are in YOLO's form. The release does not name the three indices; person, bicycle, car is what another
    annotation of MSRS lists in this order, and what the shapes of the boxes agree with.
    """

    METAINFO = dict(classes=('person', 'bicycle', 'car'), palette=[[220, 20, 60], [119, 11, 32], [0, 0, 142]])
    SPLITS = ('detection',)
    FOLDERS = dict(vi_path='{split}/vi', ir_path='{split}/ir', ann_path='{split}/labels')
    MASKS = '{split}/mask_{modality}'
    BOX_SUFFIX = '.txt'

    def __init__(self, with_boxes: bool = True, **kwargs) -> None:
        super().__init__(with_boxes=with_boxes, **kwargs)
