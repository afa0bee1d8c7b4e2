"""DroneVehicle: vehicles seen from drones, by day and night (TCSVT 2022)."""

from mmfusion.registry import DATASETS

from .layout_dataset import LayoutDataset


@DATASETS.register_module()
class DroneVehicleDataset(LayoutDataset):
    """DroneVehicle: pairs of vehicles with oriented boxes in each modality.

    17990 training, 1469 validation and 8980 test pairs, of 5 classes.

    Layout: ``{split}/{split}img/NAME.jpg`` (visible), ``{split}/{split}imgr/NAME.jpg`` (infrared),
    ``{split}/{split}label/NAME.xml`` and ``{split}/{split}labelr/NAME.xml``. Boxes are those around the polygons;
    ``boxes_of`` says of which modality: by default of the infrared one, in which more vehicles are seen by night.

    Images are of 840×712, 640×512 within a white border of 100 pixels, which fusion should not see:
    ``tools/dataset_converters/dronevehicle.py`` writes a copy without it, in the same layout.

    Misspelt classes are mapped; a name that tells no class (``*``) is left out.

    Source: https://github.com/VisDrone/DroneVehicle
    """

    METAINFO = dict(
        classes=('car', 'truck', 'bus', 'van', 'freight car'),
        palette=[[0, 0, 142], [0, 0, 70], [0, 60, 100], [0, 80, 100], [0, 0, 230]],
    )
    SPLITS = ('train', 'val', 'test')
    FOLDERS = dict(
        vi_path='{split}/{split}img',
        ir_path='{split}/{split}imgr',
        ann_path='{split}/{split}label',
        ann_ir_path='{split}/{split}labelr',
    )
    MASKS = '{split}/mask_{modality}'
    ALIASES = {
        'feright car': 'freight car', 'feright_car': 'freight car', 'feright': 'freight car', 'freight_car': 'freight car',
        'truvk': 'truck', '*': None,
    }  # fmt: skip
    BOXES_OF = 'ir'
