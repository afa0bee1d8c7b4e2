"""The folder layout in which OCCO's public code expects its training pairs."""

from mmfusion.registry import DATASETS

from .layout_dataset import LayoutDataset


@DATASETS.register_module()
class OCCODataset(LayoutDataset):
    """Pairs with masks of salient objects, 0 and 255, as OCCO's.

    Layout: ``vi/NAME``, ``ir/NAME``, ``mask_vi/mask_NAME``, ``mask_ir/mask_NAME``, into which ``mmfusion masks`` brings any
    pairs. ``with_masks`` is True by default.
    """

    SPLITS = ('train',)
    FOLDERS = dict(vi_path='vi', ir_path='ir')

    def __init__(self, with_masks: bool = True, **kwargs) -> None:
        super().__init__(with_masks=with_masks, **kwargs)
