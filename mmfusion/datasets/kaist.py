"""KAIST: pedestrians seen from a car, by day and night (CVPR 2015)."""

from mmfusion.registry import DATASETS

from .layout_dataset import LayoutDataset


@DATASETS.register_module()
class KAISTDataset(LayoutDataset):
    """KAIST: video frames of pedestrians, 640×512.

    Sets 00 to 05 are for training, 06 to 11 for tests. Layout: ``images/setXX/VYYY/{visible,lwir}/IZZZZZ.jpg`` and
    ``annotations-xml-new-sanitized/setXX/VYYY/IZZZZZ.xml``; a name is ``setXX/VYYY/IZZZZZ``. Papers take a part of the
    frames: a list of the release is given as ``ann_file``, such as ``imageSets/test-all-20.txt``. Improved annotations in a
    folder of their own are given as ``data_prefix=dict(ann_path=...)``. What the annotators doubted (``person?``) is marked
    to be ignored.

    Source: https://soonminhwang.github.io/rgbt-ped-detection/
    """

    METAINFO = dict(classes=('person', 'people', 'cyclist'), palette=[[220, 20, 60], [255, 140, 160], [119, 11, 32]])
    FOLDERS = dict(vi_path='images', ir_path='images', ann_path='annotations-xml-new-sanitized')
    PATTERNS = dict(vi_path='{name}/visible/{frame}', ir_path='{name}/lwir/{frame}')
    ALIASES = {'person?': 'person', 'person?a': 'person', 'persons': 'people'}
    DIFFICULT = ('person?', 'person?a')

    def _pairs(self):
        """Those of the split's sets."""
        sets = range(6) if self.split == 'train' else range(6, 12)
        return [pair for pair in super()._pairs() if pair[0].startswith(tuple(f'set{number:02d}/' for number in sets))]
