"""Turn authors' weights into a checkpoint of mmfusion, or back.

    mmfusion convert u2fusion model.ckpt u2fusion.pth
    mmfusion convert didfuse Encoder_weight_IJCAI.pkl Decoder_weight_IJCAI.pkl didfuse.pth
    mmfusion convert occo --to-authors occo.pth OCCO.pth

Every tensor must fit the method's network as it is configured. The result holds weights alone: it can be tested, fused
with, or trained on from (load_from), but not resumed. Commands that fuse or test take the authors' files as they are, too.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from mmfusion.utils import check_writable
from mmfusion.utils.configs import find_config, published

from .arguments import Overrides, new_parser, refuse_missing_weights
from .errors import verb


def make_parser(prog: str | None = None) -> argparse.ArgumentParser:
    """Make the parser of the command line."""
    parser = new_parser(prog, __doc__)
    parser.add_argument('config', metavar='METHOD', help='a method (u2fusion), the name of a config, or a file')
    parser.add_argument('src', nargs='+', metavar='SRC', help="the authors' file, files or folder")
    parser.add_argument('dst', metavar='DST', help='checkpoint to write')
    parser.add_argument('--to-authors', action='store_true', help="from mmfusion's form to the authors'")
    parser.add_argument('--overwrite', action='store_true', help='replace DST if it exists')
    parser.add_argument('--cfg-options', nargs='+', action=Overrides, help='overrides of the config')
    return parser


def convert(
    config: str | Path,
    sources: Sequence[str | Path],
    dst: str | Path,
    back: bool = False,
    overwrite: bool = False,
    cfg_options: dict | None = None,
) -> int:
    """Convert weights, arguments as on the command line; count the tensors written.

    Raises:
        FileExistsError: If ``dst`` exists.
        CheckpointError: If the files cannot be read, or are not those of the method.
        ValueError: If the method has no such conversion, or the weights are in mmfusion's form already.
    """
    check_writable(dst, 'DST', folder=False)
    if Path(dst).exists() and not overwrite:
        raise FileExistsError(f'{dst} exists; say --overwrite to replace it')
    find_config(config)
    refuse_missing_weights([str(source) for source in sources])

    from mmfusion.models.checkpoint import authors_state, check_weights, compare, save_checkpoint
    from mmfusion.models.hub import build_model, load_model_config, name_files
    from mmfusion.models.likeness import resembling
    from mmfusion.utils.checkpoint import CheckpointError, read_checkpoint

    cfg = load_model_config(config, cfg_options)
    model = build_model(cfg)
    network = type(model.network)
    if not hasattr(network, 'to_authors' if back else 'from_authors'):
        way = "to its authors' form" if back else "from its authors' form"
        raise ValueError(f'{config}: {network.__name__} says no way {way}')
    source = sources[0] if len(sources) == 1 else list(sources)
    shown = ', '.join(map(str, sources))
    if back:
        state, _ = check_weights(model, source)
        kept = model.network.state_dict()
        given = {name.removeprefix('network.'): value for name, value in state.items()}
        try:
            content = network.to_authors({name: given[name] for name in kept if name in given})
        except KeyError as e:
            raise ValueError(f'{shown}: {e.args[0]}') from e
        save_checkpoint(dst, content)
        return len(content)
    state, _ = read_checkpoint(name_files(cfg, source))
    converted = authors_state(model, state)
    if converted is None and compare(model, state).exact:
        raise ValueError(f'{shown}: mmfusion has these weights in this form already. Use the file as it is.')
    if converted is None:
        found = resembling(state, sources)
        raise CheckpointError(
            f"{shown}: not the authors' weights of {find_config(config).stem} ({network.__name__}) as it is configured. "
            + (f'It looks like {found}.' if found else 'Give all files that its authors publish.')
        )
    save_checkpoint(dst, converted, _meta(Path(cfg.filename).stem, sources))
    return len(converted)


def _meta(name: str, sources: Sequence[str | Path]) -> dict:
    """What a converted checkpoint says: files, hashes and licence."""
    from mmfusion.utils.checkpoint import sha256_of
    from mmfusion.utils.tf_checkpoint import tf_prefix

    files = []
    for source in map(Path, sources):
        prefix = tf_prefix(source)
        if prefix:
            files += sorted(prefix.parent.glob(f'{prefix.name}.index')) + sorted(
                prefix.parent.glob(f'{prefix.name}.data-*')
            )
        else:
            files += sorted(f for f in source.iterdir() if f.is_file()) if source.is_dir() else [source]
    authors = published().get(name, {}).get('Authors Weights', {})
    return dict(
        config=name,
        converted_from={file.name: sha256_of(file) for file in files},
        license=authors.get('License', 'unknown'),
        page=authors.get('Page'),
    )


def run(args: argparse.Namespace) -> str:
    """Convert, and say what was written."""
    count = convert(args.config, args.src, args.dst, args.to_authors, args.overwrite, args.cfg_options)
    return f'{args.dst}: written; {count} tensors'


main = verb(run, make_parser)
