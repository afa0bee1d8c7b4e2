"""Make label maps from a dataset's boxes by PCA on DINOv2's features (GFFusion, Fig. 5).

OUT/NAME.png: 0 where there is no object, 1 + class on an object, 255 where a box gave none or is marked difficult.
OUT/masks.json says how they were made, and of which classes. See docs/methods/gffusion.md.

Example:
    python tools/dataset_converters/boxes_to_masks.py M3FDDataset data/M3FD --out data/M3FD/M3FD_Detection/Label
"""

import argparse
import logging
import sys

from mmengine.logging import print_log

from mmfusion.cli.arguments import add_reading_arguments, reading_options
from mmfusion.cli.errors import report
from mmfusion.datasets.layout_dataset import LayoutDataset
from mmfusion.masks.box_pca import BoxLabeller, label_files, to_picture
from mmfusion.masks.feature_pca import build_prior
from mmfusion.models.hub import find_device
from mmfusion.registry import DATASETS
from mmfusion.utils import check_writable, read_infrared, read_visible, track, write_image
from mmfusion.utils.run_record import check_record, write_record

SIDECAR = 'masks.json'


def parse_args(argv=None):
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('dataset', help='class of the dataset: M3FDDataset, LLVIPDataset or MSRSDetectionDataset')
    parser.add_argument('root', help='its folder')
    parser.add_argument('--out', required=True, help='folder of the label maps')
    parser.add_argument('--split', help="split; default: the dataset's first")
    parser.add_argument('--ann-file', default='', help='list of names; default: all pairs of the split')
    parser.add_argument(
        '--modality',
        choices=('vi', 'ir', 'both'),
        default='both',
        help="whose features: of the visible or the infrared image, or both's together (default)",
    )
    source = parser.add_mutually_exclusive_group()
    source.add_argument(
        '--weights',
        default='dinov2',
        help="of DINOv2 ViT-B/14: a file, 'dinov2' to download them (default), or 'random', for trials",
    )
    source.add_argument('--prior', help='config file with prior=dict(type=…), in place of DINOv2 ViT-B/14')
    parser.add_argument('--crop-size', type=int, default=224, help='square that a box is brought to (default: 224)')
    parser.add_argument('--threshold', type=float, default=0.5, help='of the first PCA, 0 to 1 (default: 0.5)')
    parser.add_argument('--object-threshold', type=float, default=0.25, help='of the second PCA (default: 0.25)')
    add_reading_arguments(parser, sequence=False)
    parser.add_argument('--overwrite', action='store_true', help='make label maps anew that are there')
    parser.add_argument('--device', help='cpu, cuda, cuda:1 or the number of a GPU; default: a GPU where there is one')
    args = parser.parse_args(argv)
    for option in ('threshold', 'object_threshold'):
        if not 0 <= getattr(args, option) < 1:
            parser.error(f'--{option.replace("_", "-")} must be in [0, 1), got {getattr(args, option)}')
    return args


def convert(args):
    """Make the label maps that are not there yet.

    Returns:
        dict: Numbers of images (``made``, ``kept``), ``boxes``, and ``unclear`` boxes without an object.
    """
    cls = DATASETS.get(f'mmfusion.{args.dataset}')
    if not (isinstance(cls, type) and issubclass(cls, LayoutDataset)):
        raise ValueError(f'{args.dataset}: no dataset of mmfusion with box annotations, such as M3FDDataset')
    check_writable(args.out)
    dataset = cls(data_root=args.root, split=args.split, ann_file=args.ann_file, with_boxes=True)
    default = dict(type='mmfusion.DINOv2Prior', weights=args.weights)
    labeller = BoxLabeller(
        build_prior(args.prior or default, args.device), args.crop_size, args.threshold, args.object_threshold
    )
    infos = [dataset.get_data_info(k) for k in range(len(dataset))]
    targets = label_files(args.out, [info['img_id'] for info in infos])
    classes = ['background', *dataset.metainfo['classes']]
    reading = reading_options(args)
    settings = dict(labeller.settings, dataset=args.dataset, modality=args.modality, classes=classes, **reading)
    record = next(iter(targets.values())).parent / SIDECAR
    there = [file for file in targets.values() if file.exists()]
    if there and not args.overwrite:
        check_record(record, settings, there, 'Choose another folder, or say --overwrite.')
    write_record(record, settings)
    count = dict(made=0, kept=0, boxes=0, unclear=0)
    for info in track(infos, 'label maps', 'image'):
        target, boxes = targets[info['img_id']], info['instances']
        if target.exists() and not args.overwrite:
            count['kept'] += 1
            continue
        pictures = []
        if args.modality != 'ir':
            pictures.append(to_picture(read_visible(info['img_path'], reading.get('depth16', 'full')), args.device))
        if args.modality != 'vi':
            pictures.append(to_picture(read_infrared(info['ir_path'], **reading), args.device))
        columns = ([b[key] for b in boxes] for key in ('bbox', 'bbox_label', 'ignore_flag'))
        label_map, unclear = labeller(pictures, *columns, name=info['img_path'])
        write_image(target, label_map)
        count['made'] += 1
        count['boxes'] += len(boxes)
        count['unclear'] += unclear
    return count


def run(args):
    """Make the label maps; returns a sentence about them."""
    args.device = str(find_device(args.device))
    count = convert(args)
    if count['unclear']:
        print_log(f'{count["unclear"]} boxes gave no object; they are 255 (ignored).', 'current', logging.WARNING)
    return '{made} label maps made, {kept} were there; {boxes} boxes'.format(**count)


def main(argv=None):
    """Run; returns the exit code."""
    return report(run, parse_args(argv))


if __name__ == '__main__':
    sys.exit(main())
