"""TNO: military and surveillance scenes, the field's oldest test set."""

from mmfusion.registry import DATASETS

from .layout_dataset import LayoutDataset


@DATASETS.register_module()
class TNODataset(LayoutDataset):
    """TNO: grey pairs of varying size, for testing only.

    They are ``vi/NAME.png`` and ``ir/NAME.png``. The original is a tree of scenes and film frames; papers use selections of
    20 to 42 pairs, in two folders as here.

    Source: https://figshare.com/articles/dataset/TNO_Image_Fusion_Dataset/1008029
    """

    SPLITS = ('test',)
    FOLDERS = dict(vi_path='vi', ir_path='ir')
