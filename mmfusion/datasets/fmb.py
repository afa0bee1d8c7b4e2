"""FMB: 1500 road scenes with segmentation labels (SegMiF, ICCV 2023)."""

from mmfusion.registry import DATASETS

from .layout_dataset import LayoutDataset


@DATASETS.register_module()
class FMBDataset(LayoutDataset):
    """FMB: 1220 training and 280 test pairs of 800×600, 14 classes.

    Layout: ``{train,test}/{Visible,Infrared,Label}/NAME.png``. Label 0 is unlabelled. By custom it is not a class:
    ``reduce_zero_label`` is True, and 1…14 become 0…13.

    Source: https://github.com/JinyuanLiu-CV/SegMiF
    """

    METAINFO = dict(
        classes=(
            'road', 'sidewalk', 'building', 'traffic lamp', 'traffic sign', 'vegetation', 'sky', 'person', 'car',
            'truck', 'bus', 'motorcycle', 'bicycle', 'pole',
        ),
        palette=[
            [228, 228, 179], [133, 57, 181], [177, 162, 67], [50, 178, 200], [199, 45, 132], [84, 172, 66],
            [79, 73, 179], [166, 99, 76], [253, 121, 66], [91, 165, 137], [152, 97, 155], [140, 153, 105],
            [158, 215, 222], [90, 113, 135],
        ],
    )  # fmt: skip
    FOLDERS = dict(vi_path='{split}/Visible', ir_path='{split}/Infrared', seg_map_path='{split}/Label')
    MASKS = '{split}/mask_{modality}'

    def __init__(self, split: str = 'train', reduce_zero_label: bool = True, **kwargs) -> None:
        super().__init__(split=split, reduce_zero_label=reduce_zero_label, **kwargs)
