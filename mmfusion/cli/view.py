"""Look at pairs in the browser: sliders, methods side by side.

    mmfusion view --vi VI --ir IR --methods lite seafusion mine=mine.py:mine.pth
    mmfusion view --data tno --methods lite other=DIR

A method is [NAME=]METHOD[:WEIGHTS], or NAME=DIR, a folder of images that were fused before, as in mmfusion compare. An
image is fused when it is looked at. Ctrl-C ends.
"""

import argparse

from mmfusion.comparison.entrants import open_data, parse_entrants

from .arguments import (
    add_entrants_arguments,
    add_reading_arguments,
    at_least,
    new_parser,
    reading_options,
    refuse_missing_weights,
    source_patterns,
)
from .errors import verb


def make_parser(prog: str | None = None) -> argparse.ArgumentParser:
    """Make the parser of the command line."""
    parser = new_parser(prog, __doc__)
    add_entrants_arguments(parser, default=['lite'])
    add_reading_arguments(parser)
    parser.add_argument('--device', help='cpu, cuda, cuda:1 or the number of a GPU; default: a GPU where there is one')
    parser.add_argument('--port', type=at_least(1), help='of the page; default: the first free one from 7860 on')
    parser.add_argument(
        '--host', default='127.0.0.1', help='address that the page listens at; 0.0.0.0 shows it to other machines'
    )
    parser.add_argument('--no-browser', action='store_true', help='open no window; the address is printed')
    return parser


def view(args: argparse.Namespace) -> None:
    """Show the page, until it is interrupted."""
    entrants = parse_entrants(args.methods)
    for entrant in entrants:
        if isinstance(entrant.weights, str):
            refuse_missing_weights(entrant.weights)
    pairs = open_data(args.data, args.vi, args.ir, **source_patterns(args))
    reading = reading_options(args, lambda: pairs.ir.values())

    from mmfusion.comparison.methods import prepare
    from mmfusion.comparison.viewer import PairViewer, build_page, require_gradio

    require_gradio()
    viewer = PairViewer(pairs, prepare(entrants), args.device, args.fused_pattern, **reading)
    page = build_page(viewer)
    page.launch(server_name=args.host, server_port=args.port, inbrowser=not args.no_browser, show_api=False)


main = verb(view, make_parser)
