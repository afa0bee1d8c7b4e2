"""M3FD: pairs for fusion and for detection (TarDAL, CVPR 2022)."""

from mmfusion.registry import DATASETS

from .layout_dataset import LayoutDataset


@DATASETS.register_module()
class M3FDDataset(LayoutDataset):
    """M3FD: 4200 pairs with boxes of 6 classes (``detection``) and 300 independent pairs (``fusion``), 1024×768 mostly.

    Layout: ``M3FD_Detection/{Vis,Ir}/NAME.png``, ``M3FD_Detection/Annotation/NAME.xml`` (Pascal VOC) and
    ``M3FD_Fusion/{Vis,Ir}/NAME.png``; masks, where made, in ``mask_vi`` and ``mask_ir`` beside the images. Copies with
    the folders in lower case are read with ``data_prefix=dict(vi_path='M3FD_Detection/vi', …)``.

    The authors published no split of the detection part: ``ann_file`` names a list, such as
    ``configs/_base_/datasets/splits/m3fd_train.txt``.

    Source: https://github.com/JinyuanLiu-CV/TarDAL

    Args:
        split (str): ``'detection'`` or ``'fusion'``.
        **kwargs: Those of :class:`LayoutDataset`.
    """

    METAINFO = dict(
        classes=('People', 'Car', 'Bus', 'Lamp', 'Motorcycle', 'Truck'),
        palette=[[255, 0, 0], [193, 195, 55], [47, 167, 180], [245, 65, 196], [248, 79, 44], [125, 44, 200]],
    )
    SPLITS = ('detection', 'fusion')

    def folders(self):
        """The folders of either part; only ``detection`` has annotations."""
        root = f'M3FD_{self.split.capitalize()}'
        folders = dict(
            vi_path=f'{root}/Vis', ir_path=f'{root}/Ir', mask_vi_path=f'{root}/mask_vi', mask_ir_path=f'{root}/mask_ir'
        )
        if self.split == 'detection':
            folders['ann_path'] = f'{root}/Annotation'
        return folders
