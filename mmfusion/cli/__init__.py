"""Console script ``mmfusion``: one command, whose verbs are the tools."""

import argparse
import difflib
import logging
import sys
from collections.abc import Sequence
from importlib import import_module

from mmfusion.version import __version__

from .errors import interrupted, print_any_text

# Verb → what it does; its module here has the verb's name, and a function ``main(argv, prog) -> exit code``.
VERBS = {
    'models': 'list the methods: paper, size, licence of the weights, and whether these are here',
    'fuse': 'fuse a folder of visible and a folder of infrared images',
    'video': 'fuse two videos, folders of frames, cameras or streams',
    'align': 'find where the infrared camera looks in the visible image, for --align of the other verbs',
    'compare': 'fuse with several methods, measure images and costs, and write a report',
    'evaluate': 'measure folders of fused images: table, CSV, JSON and report',
    'view': 'look at pairs, fused by several methods, in the browser',
    'train': 'train a fusion network, or a cascade',
    'test': 'test a checkpoint on the dataset of a config',
    'downstream': 'train a segmenter or detector on visible, infrared and fused images, and compare',
    'masks': 'make the masks of salient objects that OCCO trains with',
    'draw': 'draw features of images, or masks on them, as the papers print them',
    'export': 'write a method as ONNX, TorchScript or OpenVINO',
    'convert': "turn the authors' weights of a method into a checkpoint",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run a verb; returns the exit code."""
    print_any_text()
    logging.raiseExceptions = False  # a log that a full disk does not take prints no tracebacks
    argv = list(sys.argv[1:] if argv is None else argv)
    verbs = '\n'.join(f'  {verb:<12}{text}' for verb, text in VERBS.items())
    parser = argparse.ArgumentParser(
        prog='mmfusion',
        usage='mmfusion VERB …',
        description='Infrared and visible image fusion.',
        epilog=f'verbs:\n{verbs}\n\nmmfusion VERB --help says more.',
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('--version', action='version', version=f'mmfusion {__version__}')
    if not argv or argv[0].startswith('-'):
        parser.parse_args(argv or ['--help'])
    verb, rest = argv[0], argv[1:]
    if verb not in VERBS:
        near = difflib.get_close_matches(verb, VERBS, n=1, cutoff=0.5)
        hint = f' Did you mean {near[0]}?' if near else ''
        parser.error(f'{verb!r} is no verb.{hint} There are {", ".join(VERBS)}.')
    try:
        return import_module(f'mmfusion.cli.{verb}').main(rest, prog=f'mmfusion {verb}') or 0
    except KeyboardInterrupt as e:  # before the verb takes care of it: libraries are imported for a second
        return interrupted(e)
