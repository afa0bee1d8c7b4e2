"""Write the boxes of a dataset as COCO JSON: one file for each part, OUT/PART.json.

Of any of mmfusion's datasets with boxes, whatever form they have (Pascal VOC, YOLO, or made on the fly). Names of images
are relative to the dataset's folder, so that mmdet's CocoDataset reads them with data_prefix=dict(img='').

Example:
    python tools/dataset_converters/to_coco.py --dataset LLVIPDataset --data-root data/LLVIP --out data/LLVIP/coco \
        --modality ir
"""

import argparse
import json
import sys
from pathlib import Path

from mmfusion.cli.errors import report
from mmfusion.datasets import to_coco
from mmfusion.datasets.export.parts import add_dataset_arguments, open_parts
from mmfusion.utils import check_writable, write_bytes


def make_parser():
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_dataset_arguments(parser)
    parser.add_argument('--out', type=Path, required=True, help='folder of the files')
    parser.add_argument('--modality', choices=('vi', 'ir'), default='vi', help='whose images are named; default: vi')
    return parser


def convert(args):
    """Write the files; yields a sentence about each."""
    if args.task == 'seg':
        raise ValueError('--task seg: COCO JSON is for boxes')
    check_writable(args.out)
    key = dict(vi='img_path', ir='ir_path')[args.modality]
    for name, part in open_parts(args, task='det')[1].items():
        root = Path(part.dataset.data_root or '.')
        coco = to_coco(part.dataset, lambda info, root=root: _relative(info[key], root))
        target = args.out / f'{name}.json'
        write_bytes(target, json.dumps(coco).encode())
        yield f'{target}: {len(coco["images"])} images, {len(coco["annotations"])} boxes'


def _relative(file, root):
    """Path below ``root``, with slashes; as it is where it lies elsewhere."""
    file = Path(file)
    return (file.relative_to(root) if file.is_relative_to(root) else file).as_posix()


def run(args):
    """Write the files, and print a sentence about each."""
    for line in convert(args):
        print(line)


def main(argv=None):
    """Run; returns the exit code."""
    return report(run, make_parser().parse_args(argv))


if __name__ == '__main__':
    sys.exit(main())
