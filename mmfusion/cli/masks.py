"""Make the masks of salient objects that OCCO trains with.

One per modality and image. See docs/masks.md.
"""

import argparse
from pathlib import Path

from mmfusion.masks.defaults import DEFAULT_DETECTOR, DEFAULT_PROMPT
from mmfusion.utils import check_writable, list_images, near_files, pair_images, refuse_overwriting

from .arguments import add_reading_arguments, add_source_arguments, reading_options, source_folders, source_patterns
from .errors import verb


def parse_span(text):
    """Read a range of characters: ``'30:41'`` → (30, 41)."""
    start, colon, end = text.partition(':')
    if not (colon and start.isdigit() and end.isdigit()):
        raise argparse.ArgumentTypeError(f'{text!r} is not START:END, two character positions in the prompt')
    return int(start), int(end)


def make_parser(prog=None):
    """Make the parser of the command line."""
    parser = argparse.ArgumentParser(prog=prog, description=__doc__)
    add_source_arguments(parser)
    add_reading_arguments(parser)
    parser.add_argument('--out', help='folder for mask_vi/, mask_ir/ and masks.json')
    parser.add_argument('--mask-vi-dir', help='folder of the visible masks and their masks.json, instead of --out')
    parser.add_argument('--mask-ir-dir', help='folder of the infrared masks and their masks.json, instead of --out')
    parser.add_argument(
        '--backend',
        required=True,
        choices=('grounding_dino', 'boxes', 'contrast'),
        help='grounding_dino: boxes by text prompt, then SAM (the paper). boxes: boxes from annotation files, then '
        'SAM. contrast: a crude stand-in without weights that masks whatever stands out; not for published results',
    )
    parser.add_argument('--overwrite', action='store_true', help='delete the masks of these images and begin again')
    parser.add_argument('--device', help='cpu, cuda, cuda:1 or the number of a GPU; default: a GPU where there is one')
    _add_grounding_dino(parser.add_argument_group('backend grounding_dino'))
    boxes = parser.add_argument_group('backend boxes')
    boxes.add_argument('--boxes', help='folder of VOC (NAME.xml) or YOLO (NAME.txt) files, or a COCO json file')
    boxes.add_argument('--boxes-ir', help='the same for the infrared images, if their boxes are other ones')
    boxes.add_argument('--classes', nargs='+', help='take only boxes of these classes (YOLO: their numbers)')
    boxes.add_argument(
        '--missing-boxes',
        choices=('error', 'empty'),
        default='error',
        help='what an image without an annotation file is; default: %(default)s',
    )
    sam = parser.add_argument_group('segment-anything (backends grounding_dino and boxes)')
    sam.add_argument('--sam-type', choices=('vit_h', 'vit_l', 'vit_b'), default='vit_h', help='default: %(default)s')
    sam.add_argument('--sam-checkpoint', help='file or URL of its weights')
    contrast = parser.add_argument_group('backend contrast')
    contrast.add_argument('--threshold', type=float, default=1.0, help='higher covers less; default: %(default)s')
    contrast.add_argument('--min-area', type=float, default=6e-4, help='of an object, as a fraction of the image')
    contrast.add_argument('--max-area', type=float, default=0.2, help='of an object, as a fraction of the image')
    contrast.add_argument(
        '--ground',
        type=float,
        default=0.5,
        help='objects reach below this fraction of the height (default: %(default)s; 0 for a camera that looks down)',
    )
    contrast.add_argument('--top', type=float, default=0.2, help='no object begins above this fraction of the height')
    return parser


def _add_grounding_dino(group):
    group.add_argument('--prompt', default=DEFAULT_PROMPT, help='default (the paper): "%(default)s"')
    group.add_argument('--phrases', nargs='+', help="words of the prompt that name objects; known for OCCO's prompts")
    group.add_argument('--spans', nargs='+', type=parse_span, help='the same as character positions START:END')
    group.add_argument(
        '--whole-sentence', action='store_true', help='score a box by its best token of the prompt, whichever it is'
    )
    group.add_argument('--box-threshold', type=float, default=0.3, help='least score of a box; default: %(default)s')
    group.add_argument('--nms-iou', type=float, default=0.8, help='drop boxes that overlap more; default: %(default)s')
    group.add_argument(
        '--detector', default=DEFAULT_DETECTOR, help='name, mmdet::FOLDER/FILE.py or config file; default: %(default)s'
    )
    group.add_argument('--detector-weights', help='name, URL or file; default: those published for the detector')
    group.add_argument('--language-model', help='local folder of BERT, or its name; default: bert-base-uncased')


def make_backend(args):
    """Make the backend that the command line asks for."""
    from mmfusion.datasets.boxes import AnnotatedBoxes
    from mmfusion.masks.contrast import ContrastMasks
    from mmfusion.masks.grounded_sam import GroundingDinoBoxes, SamBoxMasks
    from mmfusion.models.hub import find_device

    if args.backend == 'contrast':
        return ContrastMasks(args.threshold, args.min_area, args.max_area, args.ground, args.top)
    device = str(find_device(args.device))
    if args.backend == 'boxes':
        if not args.boxes:
            raise ValueError('--backend boxes needs --boxes: a folder of VOC or YOLO files, or a COCO json.')
        for option, path in (('--boxes', args.boxes), ('--boxes-ir', args.boxes_ir)):
            if path is not None and not Path(path).exists():
                raise FileNotFoundError(f'{option} {path}: no such folder or file.{near_files(path)}')
        boxes = AnnotatedBoxes(args.boxes, args.boxes_ir, args.classes, args.missing_boxes)
    else:
        boxes = GroundingDinoBoxes(
            prompt=args.prompt,
            phrases=args.phrases,
            spans=args.spans,
            whole=args.whole_sentence,
            box_threshold=args.box_threshold,
            nms_iou=args.nms_iou,
            detector=args.detector,
            weights=args.detector_weights,
            language_model=args.language_model,
            device=device,
        )
    return SamBoxMasks(boxes, args.sam_type, args.sam_checkpoint, device)


def run(args):
    """Make the masks; returns the summary."""
    if bool(args.mask_vi_dir) != bool(args.mask_ir_dir):
        raise ValueError('Give --mask-vi-dir and --mask-ir-dir together, or neither.')
    mask_dirs = (args.mask_vi_dir, args.mask_ir_dir) if args.mask_vi_dir else None
    folders = source_folders(args)
    pair_images(*folders, **source_patterns(args))  # refuses folders that do not pair before anything is loaded
    for option, folder in (
        ('--out', args.out),
        ('--mask-vi-dir', args.mask_vi_dir),
        ('--mask-ir-dir', args.mask_ir_dir),
    ):
        if folder is not None:
            check_writable(folder, option)
    for folder in mask_dirs or ():
        refuse_overwriting(folder, *folders)  # masks beside the images would be images without a counterpart

    from mmfusion.masks.generate import generate_masks

    return generate_masks(
        *folders,
        make_backend(args),
        args.out,
        mask_dirs,
        overwrite=args.overwrite,
        **source_patterns(args),
        **reading_options(args, lambda: list_images(folders[1] or folders[0], args.ir_pattern).values()),
    )


main = verb(run, make_parser)
