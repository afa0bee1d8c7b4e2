"""LLVIP: pedestrians in streets at night (ICCV workshops 2021)."""

from mmfusion.registry import DATASETS

from .layout_dataset import LayoutDataset


@DATASETS.register_module()
class LLVIPDataset(LayoutDataset):
    """LLVIP: 12025 training and 3463 test pairs of 1280×1024, with persons' boxes.

    Most are at night. Layout: ``{visible,infrared}/{train,test}/NAME.jpg`` and ``Annotations/NAME.xml`` (Pascal VOC) for
    both splits.

    Source: https://bupt-ai-cz.github.io/LLVIP/
    """

    METAINFO = dict(classes=('person',), palette=[[220, 20, 60]])
    FOLDERS = dict(vi_path='visible/{split}', ir_path='infrared/{split}', ann_path='Annotations')
    MASKS = 'mask_{modality}/{split}'
