"""Write synthetic infrared-visible scenes in the folder layout of a real dataset.

The folder is read by that dataset's class as the real one would be, so that every config can be tried without a
download. Training scenes have the indices 0, 1, …, test scenes 50000, 50001, …, so that more of either can be added
later by running the tool again with larger numbers. A run that was interrupted continues where it stopped.

Examples:
    python tools/dataset_converters/synthetic.py data/FMB --layout fmb --num 64
    python tools/dataset_converters/synthetic.py data/M3FD --layout m3fd --num 100 --size 384 512
"""

import argparse
import sys
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from mmfusion.cli.errors import report
from mmfusion.datasets.synthetic import BOX_CLASSES, render_scene, scene_name
from mmfusion.datasets.synthetic.scene import CLASSES
from mmfusion.utils import check_writable, track, write_bytes, write_image
from mmfusion.utils.run_record import check_record, write_record

# Index of the first scene of each part.
FIRST = dict(train=0, test=50000, fusion=60000)
RECORD = 'synthetic.json'

# Class of a scene → label in the files of the real dataset; what is not named is 0, unlabelled.
LABELS = {
    'fmb': dict(road=1, vegetation=6, person=8, car=9, lamp=14),
    'msrs': dict(car=1, person=2),
}
BOX_NAMES = {'m3fd': dict(person='People', car='Car')}

# Where the files of a scene go, by layout and kind ({split} is train or test).
FOLDERS = {
    'fmb': dict(vi='{split}/Visible', ir='{split}/Infrared', seg_map='{split}/Label',
                mask_vi='{split}/mask_vi', mask_ir='{split}/mask_ir'),
    'msrs': dict(vi='{split}/vi', ir='{split}/ir', seg_map='{split}/Segmentation_labels',
                 mask_vi='{split}/mask_vi', mask_ir='{split}/mask_ir'),
    'm3fd': dict(vi='M3FD_Detection/Vis', ir='M3FD_Detection/Ir', boxes='M3FD_Detection/Annotation',
                 mask_vi='M3FD_Detection/mask_vi', mask_ir='M3FD_Detection/mask_ir'),
    'roadscene': dict(vi='crop_LR_visible', ir='cropinfrared', mask_vi='mask_vi', mask_ir='mask_ir'),
    'occo': dict(vi='vi', ir='ir', mask_vi='mask_vi', mask_ir='mask_ir'),
}  # fmt: skip
# M3FD's second part, pairs alone; as many as there are test pairs.
FUSION_FOLDERS = dict(vi='M3FD_Fusion/Vis', ir='M3FD_Fusion/Ir')
# Layouts that keep all pairs in one folder have lists of names instead.
LISTS = {'m3fd': 'M3FD_Detection/{split}.txt', 'roadscene': '{split}.txt'}


def parse_args(argv=None):
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('out', type=Path, help='folder to write; a class of the layout takes it as data_root')
    parser.add_argument('--layout', choices=sorted(FOLDERS), required=True)
    parser.add_argument('--num', type=int, required=True, help='number of training pairs')
    parser.add_argument(
        '--num-test',
        type=int,
        help='number of test pairs (default: a quarter of --num, at least 1; none for occo, which has no test part)',
    )
    parser.add_argument('--seed', type=int, default=0, help='which set of scenes (default: 0)')
    parser.add_argument('--size', type=int, nargs=2, default=(480, 640), metavar=('HEIGHT', 'WIDTH'))
    args = parser.parse_args(argv)
    if args.num_test is None:
        args.num_test = 0 if args.layout == 'occo' else max(1, args.num // 4)
    if args.num < 1 or args.num_test < 0:
        parser.error('--num must be at least 1, and --num-test not negative')
    if args.num > FIRST['test'] or args.num_test > FIRST['fusion'] - FIRST['test']:
        parser.error(f'at most {FIRST["test"]} training and {FIRST["fusion"] - FIRST["test"]} test pairs')
    if args.layout == 'occo' and args.num_test:
        parser.error('the occo layout has no test part: write one into another folder')
    return args


def scene_files(out, layout, split, name):
    """The files of one scene by kind."""
    suffix = dict(boxes='.xml')
    prefix = dict(mask_vi='mask_', mask_ir='mask_')
    folders = FUSION_FOLDERS if split == 'fusion' else FOLDERS[layout]
    return {
        kind: out / folder.format(split=split) / f'{prefix.get(kind, "")}{name}{suffix.get(kind, ".png")}'
        for kind, folder in folders.items()
    }


def write_scene(scene, files, layout):
    """Write the files of a scene; the visible image comes last, as the sign that the others are there."""
    content = dict(ir=scene.ir, mask_vi=scene.mask_vi * 255, mask_ir=scene.mask_ir * 255)
    if 'seg_map' in files:
        table = np.array([LABELS[layout].get(name, 0) for name in CLASSES], np.uint8)
        content['seg_map'] = table[scene.seg_map]
    for kind, image in content.items():
        if kind in files:
            write_image(files[kind], image)
    if 'boxes' in files:
        write_bytes(files['boxes'], voc_xml(scene, files['vi'].name, BOX_NAMES[layout]))
    write_image(files['vi'], scene.vi)


def voc_xml(scene, filename, names):
    """The boxes of a scene as a Pascal VOC annotation (bytes)."""
    root = ElementTree.Element('annotation')
    ElementTree.SubElement(root, 'filename').text = filename
    size = ElementTree.SubElement(root, 'size')
    height, width = scene.ir.shape
    for key, value in dict(width=width, height=height, depth=3).items():
        ElementTree.SubElement(size, key).text = str(value)
    for label, box in zip(scene.labels, scene.bboxes, strict=True):
        item = ElementTree.SubElement(root, 'object')
        ElementTree.SubElement(item, 'name').text = names[BOX_CLASSES[label]]
        ElementTree.SubElement(item, 'difficult').text = '0'
        corners = ElementTree.SubElement(item, 'bndbox')
        for key, value in zip(('xmin', 'ymin', 'xmax', 'ymax'), box, strict=True):
            ElementTree.SubElement(corners, key).text = str(int(value))
    ElementTree.indent(root)
    return ElementTree.tostring(root)


def open_folder(out, settings, counts):
    """Refuse to mix scenes of other settings, or files of another origin, into one folder; then note the settings.

    Raises:
        ValueError: If the folder belongs to another run or to something else.
    """
    record, cure = out / RECORD, 'Choose another folder, or remove this one: nothing real is overwritten.'
    there = sorted(out.iterdir()) if out.is_dir() else []
    if there:
        known = check_record(record, settings, there, cure)['counts']
        fewer = [split for split, count in counts.items() if count < known[split]]
        if fewer:
            raise ValueError(
                f'{record}: this folder is for {known} pairs, now asked for {counts}. It can grow but not shrink. {cure}'
            )
        for leftover in out.rglob('.*.tmp'):  # of a run that was killed while it wrote
            leftover.unlink()
    write_record(record, settings, counts=counts)


def convert(args):
    """Write what is missing; returns a sentence about it."""
    counts = dict(train=args.num, test=args.num_test)
    if args.layout == 'm3fd':
        counts['fusion'] = args.num_test
    check_writable(args.out, 'OUT')
    open_folder(args.out, dict(layout=args.layout, seed=args.seed, size=args.size), counts)
    jobs = [(split, FIRST[split] + k) for split, count in counts.items() for k in range(count)]
    written = 0
    for split, index in track(jobs, f'{args.layout} scenes', 'scene'):
        files = scene_files(args.out, args.layout, split, scene_name(args.seed, index))
        if not all(file.is_file() for file in files.values()):
            write_scene(render_scene(args.seed, index, tuple(args.size)), files, args.layout)
            written += 1
    if args.layout in LISTS:
        for split in ('train', 'test'):
            names = [scene_name(args.seed, index) for s, index in jobs if s == split]
            target = args.out / LISTS[args.layout].format(split=split)
            write_bytes(target, ''.join(f'{name}\n' for name in names).encode())
    return f'{args.out}: {args.num} training and {args.num_test} test pairs, {written} of them written now'


def main(argv=None):
    """Run; returns the exit code."""
    return report(convert, parse_args(argv))


if __name__ == '__main__':
    sys.exit(main())
