"""M3FD: pairs for fusion and for detection (TarDAL, CVPR 2022)."""

import shlex
from pathlib import Path

from mmfusion.registry import DATASETS
from mmfusion.utils.run_record import read_record

from .layout_dataset import LayoutDataset


@DATASETS.register_module()
class M3FDDataset(LayoutDataset):
    """M3FD: 4200 pairs with boxes of 6 classes, and 300 for fusion.

    Their ``split`` is ``'detection'`` or ``'fusion'``; most are of 1024×768. Layout: ``M3FD_Detection/{Vis,Ir}/NAME.png``,
    ``M3FD_Detection/Annotation/NAME.xml`` (Pascal VOC) and ``M3FD_Fusion/{Vis,Ir}/NAME.png``. Copies with the folders in
    lower case are read with ``data_prefix=dict(vi_path='M3FD_Detection/vi', …)``.

    The fusion part has numbers of the detection part, and where both could be compared the same images: what is tested on
    the one must not be trained on these pairs of the other. The authors published no split of the detection part:
    ``ann_file`` names a list, such as ``configs/_base_/datasets/splits/m3fd_train.txt``, or ``m3fd_unseen_train.txt``,
    which leaves the fusion part out.

    Source: https://github.com/JinyuanLiu-CV/TarDAL
    """

    METAINFO = dict(
        classes=('People', 'Car', 'Bus', 'Lamp', 'Motorcycle', 'Truck'),
        palette=[[255, 0, 0], [193, 195, 55], [47, 167, 180], [245, 65, 196], [248, 79, 44], [125, 44, 200]],
    )
    SPLITS = ('detection', 'fusion')

    def folders(self) -> dict[str, str]:
        """Give the folders of a part; only ``detection`` has annotations."""
        root = f'M3FD_{self.split.capitalize()}'
        folders = dict(vi_path='Vis', ir_path='Ir', mask_vi_path='mask_vi', mask_ir_path='mask_ir')
        folders |= dict(ann_path='Annotation') if self.split == 'detection' else {}
        return {key: f'{root}/{folder}' for key, folder in folders.items()}


@DATASETS.register_module()
class M3FDSegDataset(M3FDDataset):
    """M3FD's label maps made from its boxes (GFFusion, section IV-A.1): 7 classes.

    M3FD comes with boxes only. ``tools/dataset_converters/boxes_to_masks.py`` makes ``M3FD_Detection/Label/NAME.png``
    from them: 0 background, 1 … 6 M3FD's classes in their order, 255 ignored; and beside them ``masks.json``, whose
    classes must be these ones. Boxes are not read.

    Raises:
        FileNotFoundError: If a label map is missing; the command that makes it is named.
        ValueError: If the label maps there are of other classes.
    """

    METAINFO = dict(
        classes=('background', *M3FDDataset.METAINFO['classes']),
        palette=[[0, 0, 0], *M3FDDataset.METAINFO['palette']],
    )

    def folders(self) -> dict[str, str]:
        """Give M3FD's folders, with label maps in the place of boxes."""
        folders = super().folders()
        if folders.pop('ann_path', None):
            folders['seg_map_path'] = 'M3FD_Detection/Label'
        return folders

    def load_data_list(self) -> list[dict]:
        """Find the pairs, after checking how label maps were made."""
        folder = self.data_prefix.get('seg_map_path')
        record = Path(folder or '', 'masks.json')
        if folder and record.is_file():
            self._check_record(record)
        return super().load_data_list()

    def _check_record(self, record: Path) -> None:
        cure = self._cure(' --overwrite')
        classes = read_record(record, cure)['settings'].get('classes')
        if not isinstance(classes, list):
            raise ValueError(f'{record} does not say of which classes the label maps are. {cure}')
        if tuple(classes) != self.METAINFO['classes']:
            raise ValueError(
                f'{record}: the label maps there are of the classes {", ".join(map(str, classes))}; expected '
                f'{", ".join(self.METAINFO["classes"])}. {cure}'
            )

    def _advice(self, key: str) -> str:
        return f'M3FD comes with boxes only. {self._cure()}' if key == 'seg_map_path' else super()._advice(key)

    def _cure(self, option: str = '') -> str:
        root, out = (shlex.quote(str(path)) for path in (self.data_root, self.data_prefix['seg_map_path']))
        command = f'python tools/dataset_converters/boxes_to_masks.py M3FDDataset {root} --out {out}{option}'
        return f'Make the label maps: {command}'
