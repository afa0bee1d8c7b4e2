"""Draw features of images, or masks on them, as papers do.

    mmfusion draw features --images OCCO=DIR Model-1=DIR Model-3=DIR --names 00327D --out fig18
    mmfusion draw features --images GFFusion=DIR --prior clip dinov2 --how pca --names 00093D --out fig6
    mmfusion draw masks --vi VI --ir IR --masks DIR --names 00327D --out fig5

OUT gets a folder of pictures for each column, and panel.png: a row for each name.
"""

import argparse
import re
from itertools import product
from pathlib import Path

from mmfusion.masks.defaults import DRAWING_WAYS
from mmfusion.utils import (
    check_writable,
    list_images,
    read_infrared,
    read_label_map,
    read_mask,
    read_visible,
    refuse_overwriting,
    shorten,
    write_image,
)

from .arguments import new_parser
from .errors import verb

# Kind of prior → its title, its config, the option of its weights, and its layer unless another is named.
_PRIORS = {
    'vgg19': ('VGG19', dict(type='mmfusion.VGGPrior', arch='vgg19', weights='imagenet'), 'weights', 'relu5_4'),
    'vgg16': ('VGG16', dict(type='mmfusion.VGGPrior', arch='vgg16', weights='imagenet'), 'weights', 'relu5_3'),
    'clip': ('CLIP', dict(type='mmfusion.CLIPPrior', pretrained='openai'), 'pretrained', '11'),
    'dinov2': ('DINOv2', dict(type='mmfusion.DINOv2Prior', weights='dinov2'), 'weights', '12'),
}


def make_parser(prog: str | None = None) -> argparse.ArgumentParser:
    """Make the parser of the command line."""
    parser = new_parser(prog, __doc__)
    kinds = parser.add_subparsers(dest='what', required=True, metavar='{features,masks}')
    features = kinds.add_parser(
        'features', help='feature maps of a frozen network', description='Draw the features of images as colours.'
    )
    features.add_argument(
        '--images', required=True, nargs='+', metavar='NAME=DIR', help='folders: visible, infrared or fused'
    )
    features.add_argument(
        '--prior',
        nargs='+',
        default=['vgg19'],
        metavar='PRIOR',
        help='KIND[:LAYER][=WEIGHTS] with KIND vgg19, vgg16, clip or dinov2, such as vgg19:relu5_4 or dinov2:12=FILE, or '
        'TITLE=FILE.py, a config file with prior=dict(type=…); default: vgg19, whose features OCCO trains with',
    )
    features.add_argument(
        '--how',
        choices=DRAWING_WAYS,
        default='heat',
        help='heat: strength of the features, blue to red; pca, tsne: three components as red, green and blue, tsne by '
        'scikit-learn (the extra draw). Each is over all images together; default: %(default)s',
    )
    features.add_argument(
        '--opacity', type=float, default=1.0, help='of the colours on the image; default: %(default)s'
    )
    features.add_argument(
        '--device', help='cpu, cuda, cuda:1 or the number of a GPU; default: a GPU where there is one'
    )
    masks = kinds.add_parser(
        'masks', help='masks and regions on their images', description='Draw masks on both images, and what they share.'
    )
    masks.add_argument('--vi', required=True, help='folder of visible images')
    masks.add_argument('--ir', required=True, help='folder of infrared images, of the same names')
    masks.add_argument(
        '--masks',
        required=True,
        nargs='+',
        metavar='[TITLE=]DIR',
        help='folders with mask_vi/mask_NAME.png and mask_ir/mask_NAME.png in them, or VI_DIR,IR_DIR where these are called '
        'otherwise; several to compare text prompts',
    )
    masks.add_argument('--labels', help='folder of label maps, to be drawn beside the masks')
    masks.add_argument('--opacity', type=float, default=0.45, help='of the colours on the image; default: %(default)s')
    for sub in (features, masks):
        sub.add_argument('--names', nargs='+', metavar='NAME', help='images, without suffix; default: all')
        sub.add_argument('--out', required=True, type=Path, help='folder of the pictures')
        sub.add_argument('--width', type=int, default=320, help='of an image in the panel; default: %(default)s')
    parser.epilog = '\n'.join(sub.format_usage() for sub in (features, masks))
    return parser


def parse_prior(text: str) -> tuple[str, dict | str]:
    """Read title and config of ``KIND[:LAYER][=WEIGHTS]`` or ``TITLE=FILE.py``.

    Raises:
        ValueError: If it is neither.
    """
    left, equals, right = text.partition('=')
    if left and right.endswith('.py'):
        return left, right
    kind, colon, layer = left.partition(':')
    if kind not in _PRIORS or (equals and not right) or (colon and not layer):
        raise ValueError(
            f'--prior {text!r}: expected KIND[:LAYER][=WEIGHTS] with KIND of {", ".join(_PRIORS)}, or TITLE=FILE.py.'
        )
    title, config, option, default = _PRIORS[kind]
    layer = layer or default
    if default.isdecimal() and not layer.isdecimal():
        raise ValueError(f'--prior {text!r}: the layer is {layer!r}; expected the number of a block, from 1.')
    layers = (int(layer) if default.isdecimal() else layer,)
    return f'{title} {layer}', dict(config, layers=layers, **({option: right} if right else {}))


def _chosen(folders, names):
    """Title → name → file, of the names asked for, or common."""
    files = {title: list_images(folder) for title, folder in folders.items()}
    if names is None:
        first, *others = files.values()
        names = [name for name in first if all(name in other for other in others)]
        if not names:
            raise ValueError(
                f'{", ".join(map(str, folders.values()))}: no image has the same name in all. Give --names.'
            )
    gaps = {title: [name for name in names if name not in found] for title, found in files.items()}
    gaps = '; '.join(f'{folders[t]} lacks {shorten(lacking)}' for t, lacking in gaps.items() if lacking)
    if gaps:
        raise ValueError(f'{gaps}. Correct --names, or add the files.')
    return {title: {name: found[name] for name in names} for title, found in files.items()}, list(names)


def _titled(texts, option):
    folders = {}
    for text in texts:
        title, equals, folder = text.partition('=')
        if not (title and equals and folder) or title in folders:
            raise ValueError(f'{option} {text!r}: expected NAME=DIR, each name once.')
        folders[title] = folder
    return folders


class _Panel:
    """Pictures by column and row, which are files of the folder ``out``."""

    def __init__(self, out, rows):
        self.out, self.rows, self.columns = out, rows, {}

    def add(self, column, row, image, *sources):
        file = self.out / re.sub(r'[^\w.-]+', '_', column).strip('_') / f'{row}.png'
        refuse_overwriting(file, *sources)
        write_image(file, image)
        self.columns.setdefault(column, {})[row] = file

    def write(self, width):
        from mmfusion.evaluation.report import make_panel

        write_image(self.out / 'panel.png', make_panel(self.columns, self.rows, width=width))
        return str(self.out / 'panel.png')


def features(args: argparse.Namespace) -> str:
    """Draw features; returns the panel's file."""
    priors = [parse_prior(text) for text in args.prior]
    files, rows = _chosen(_titled(args.images, '--images'), args.names)
    panel = _Panel(args.out, rows)

    from mmfusion.masks.box_pca import to_picture
    from mmfusion.masks.draw import build_extractor, check_way, draw_features
    from mmfusion.models.hub import find_device

    check_way(args.how)  # before weights are fetched
    device, pictures = str(find_device(args.device)), {}
    for title, found in files.items():
        for row in rows:
            image = read_visible(found[row])
            panel.add(title, row, image, found[row])
            pictures[title, row] = to_picture(image, device)
    for prior, source in priors:
        drawn = draw_features(build_extractor(source, device), list(pictures.values()), args.how, args.opacity)
        for (title, row), image in zip(pictures, drawn, strict=True):
            panel.add(f'{title}: {prior}', row, image, files[title][row])
    return panel.write(args.width)


def masks(args: argparse.Namespace) -> str:
    """Draw masks; returns the panel's file.

    Raises:
        FileNotFoundError: If a mask or label map is missing.
    """
    files, rows = _chosen({'Visible': args.vi, 'Infrared': args.ir}, args.names)
    panel = _Panel(args.out, rows)
    titled = [(text if '=' in text else f'={text}').partition('=') for text in args.masks]
    titled = [(title, dict(zip(('vi', 'ir'), _mask_folders(folder), strict=True))) for title, _, folder in titled]
    for places in (places for _, places in titled):
        for m, row in product(places, rows):
            _existing(places[m] / f'mask_{row}.png')

    from mmfusion.masks.draw import MASK_COLOURS, draw_labels, draw_mask, draw_regions

    for title, places in titled:
        more = f' ({title})' if title else ''
        for row in rows:
            sources = {'vi': read_visible(files['Visible'][row]), 'ir': read_infrared(files['Infrared'][row])}
            found = {m: read_mask(places[m] / f'mask_{row}.png') for m in sources}
            found = {m: mask > 0 for m, mask in found.items()}
            for name, m in (('Visible', 'vi'), ('Infrared', 'ir')):
                drawn = draw_mask(sources[m], found[m], MASK_COLOURS[m], args.opacity)
                panel.add(name + more, row, drawn, files[name][row])
            panel.add('Regions' + more, row, draw_regions(sources['vi'], found['vi'], found['ir'], args.opacity))
    for row in rows if args.labels else ():
        labels = read_label_map(_existing(Path(args.labels) / f'{row}.png'))
        panel.add('Labels', row, draw_labels(read_visible(files['Visible'][row]), labels, args.opacity))
    return panel.write(args.width)


def _mask_folders(text):
    """Folders of visible and infrared masks, in DIR or by comma."""
    parts = text.split(',')
    if len(parts) > 2 or not all(parts):
        raise ValueError(f'--masks {text!r}: expected [TITLE=]DIR, or [TITLE=]VI_DIR,IR_DIR.')
    return [Path(part) for part in parts] if len(parts) == 2 else [Path(text) / f'mask_{m}' for m in ('vi', 'ir')]


def _existing(file):
    if not file.is_file():
        raise FileNotFoundError(f'{file}: no such file; expected a mask or label map of this image. See docs/masks.md.')
    return file


def draw(args: argparse.Namespace) -> str:
    """Draw what the command line asks for.

    Raises:
        ValueError: If the opacity lies outside [0, 1], the width is below 1, or the folder cannot be written.
    """
    if not 0 <= args.opacity <= 1:
        raise ValueError(f'--opacity {args.opacity}: expected a number in [0, 1].')
    if args.width < 1:
        raise ValueError(f'--width {args.width}: expected a number of pixels from 1.')
    check_writable(args.out)
    return features(args) if args.what == 'features' else masks(args)


main = verb(draw, make_parser)
