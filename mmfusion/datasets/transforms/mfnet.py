"""Loading of MFNet's four-channel files."""

from mmcv.transforms import BaseTransform

from mmfusion.registry import TRANSFORMS
from mmfusion.utils import read_four_channels


@TRANSFORMS.register_module()
class LoadMFNetPair(BaseTransform):
    """Load a PNG whose four channels are R, G, B and thermal.

    Required keys: ``img_path``. Added keys: ``img`` (H×W×4 uint8: B, G, R, IR), ``img_shape``, ``ori_shape``.

    Raises:
        ImageReadError: If the file is missing, damaged, or has not four channels of 8 bits.
    """

    def transform(self, results: dict) -> dict:
        """Read one file and bring its channels into OpenCV's order."""
        results['img'] = read_four_channels(results['img_path'])
        results['img_shape'] = results['ori_shape'] = results['img'].shape[:2]
        return results

    def __repr__(self) -> str:
        return f'{type(self).__name__}()'
