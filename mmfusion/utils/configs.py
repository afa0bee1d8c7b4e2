"""Configs by name, and their metafiles; without torch, to be fast."""

import difflib
import logging
import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml
from mmengine.config import Config, DictAction
from mmengine.logging import MMLogger
from mmengine.utils import import_modules_from_strings

from .text import near_files, read_text

# What Python and the registry say of options that a class does not have, or lacks.
OPTION_ERRORS = re.compile(
    r'unexpected keyword argument|required (positional|keyword-only) argument|cfg should be a dict'
)
_NAMES = '`mmfusion models --all` lists the names of configs'
# What `mmfusion export` writes.
EXPORTED = {'onnx': '.onnx', 'torchscript': '.torchscript', 'openvino': '.xml'}
CONFIG_SUFFIXES = ('.py', '.yml', '.yaml', '.json')
# What a run, or a stock model of one, reads of a config: the arguments of mmengine's Runner, and keys that it looks up.
RUN_KEYS = {
    'model', 'data_preprocessor', 'work_dir', 'experiment_name', 'train_dataloader', 'val_dataloader', 'test_dataloader',
    'train_cfg', 'val_cfg', 'test_cfg', 'auto_scale_lr', 'optim_wrapper', 'param_scheduler', 'val_evaluator',
    'test_evaluator', 'default_hooks', 'custom_hooks', 'load_from', 'resume', 'launcher', 'env_cfg', 'log_processor',
    'log_level', 'visualizer', 'default_scope', 'randomness', 'runner_type', 'custom_imports', 'find_unused_parameters',
    'model_wrapper_cfg', 'sync_bn', 'compile', 'cfg', 'tta_model', 'tta_cfg',
}  # fmt: skip


# Their hooks read of a config what a run reads.
_LIBRARIES = ('mmfusion', 'mmengine', 'mmcv', 'mmseg', 'mmdet', 'mmpretrain')


class OptionError(ValueError):
    """A model cannot be built with the options that its config gives."""


class Overrides(DictAction):
    """Read ``KEY=VALUE …`` of the command line, and name anything else."""

    def __call__(self, parser, namespace, values, option_string=None):
        """Read the values; ends the program if one has no ``=``."""
        example = 'KEY=VALUE, such as model.size_divisor=8'
        for value in values:
            if not value.partition('=')[0] or '=' not in value:
                parser.error(f'{option_string}: {value!r}; expected {self.metavar or example}.')
        try:
            super().__call__(parser, namespace, values, option_string)
        except AssertionError as e:  # brackets that are not closed
            parser.error(f'{option_string} {" ".join(values)}: {str(e)[:1].lower()}{str(e)[1:]}; correct the value')


def config_folder() -> Path:
    """Find ``configs/`` of the installed package (``.mim``) or the checkout."""
    package = Path(__file__).resolve().parents[1]
    folders = (package / '.mim' / 'configs', package.parent / 'configs')
    for folder in folders:
        if folder.is_dir():
            return folder
    raise FileNotFoundError(
        f"mmfusion's configs are in neither {folders[0]} nor {folders[1]}. Install the package from a wheel or a "
        'complete checkout, or give the path of a config.'
    )


def list_models() -> dict[str, Path]:
    """List mmfusion's own configs: name → file, sorted by name."""
    folder = config_folder()
    files = sorted(f for f in folder.rglob('*.py') if '_base_' not in f.relative_to(folder).parts)
    return {file.stem: file for file in sorted(files, key=lambda f: f.stem)}


def find_config(model: str | Path) -> Path:
    """Find a config file by ``'occo_fmb'``, ``'mmfusion::occo/occo_fmb.py'``, or path.

    Raises:
        FileNotFoundError: If there is none; near names are proposed.
        ValueError: If the file is of another type.
    """
    text = str(model)
    if text.startswith('mmfusion::'):
        file = config_folder() / text.removeprefix('mmfusion::')
    elif text.endswith(CONFIG_SUFFIXES) or '/' in text or '\\' in text:
        file = Path(text).expanduser()
    else:
        models = list_models()
        if text in models:
            return models[text]
        entries = [entry for entry in published().values() if _letters(entry['In Collection']) == _letters(text)]
        if entries:
            return config_folder().parent / entries[0]['Config']
        names = {name.lower(): name for name in (*models, *(e['In Collection'] for e in published().values()))}
        longer = sorted((n for n in names if text and n.startswith(text.lower())), key=len)[:1]
        close = difflib.get_close_matches(text.lower(), names, n=3, cutoff=0.5)
        near = [names[n] for n in dict.fromkeys([*longer, *close])][:3]
        raise FileNotFoundError(
            f'{text!r} is no config of mmfusion. '
            + (f'Did you mean {" or ".join(near)}? ' if near else '')
            + f'{_NAMES}, or give the path of a config.'
        )
    if not file.is_file():
        found = 'a folder; expected a config file.' if file.is_dir() else f'no such config.{near_files(file)}'
        raise FileNotFoundError(f'{text}: {found} {_NAMES}, or give the path of a config.')
    if file.suffix not in CONFIG_SUFFIXES:
        raise ValueError(f'{text}: no config; expected a file that ends in one of {", ".join(CONFIG_SUFFIXES)}.')
    return file


def short_name(config: str) -> str:
    """Find the shortest name of a published config that :func:`find_config` takes."""
    short = _letters(published()[config]['In Collection'])
    return short if short not in list_models() and find_config(short).stem == config else config


def read_config(file: str | Path) -> Config:
    """Read a config file.

    Raises:
        ValueError: If it, or what it inherits, cannot be read; with the file and the reason.
    """
    logger = MMLogger.get_current_instance()
    logger.addFilter(_names_no_variable)
    try:
        return Config.fromfile(file)
    except Exception as e:  # a config is a program, and may fail in any way
        reason = ' '.join(str(e).split())
        raise ValueError(
            f'{file}: the config, or one that it inherits, cannot be read: {type(e).__name__}: {reason.rstrip(".")}. '
            f'{_cure(file, e)}'
        ) from e
    finally:
        logger.removeFilter(_names_no_variable)


def _cure(file: str | Path, error: Exception) -> str:
    """What to do about a config that cannot be read."""
    if isinstance(error, UnicodeError) or 'U+FEFF' in str(error):
        return 'Save it as UTF-8, without a byte order mark.'
    if '_get_package_and_cfg_path' in str(error):  # which does not say the base that it could not take apart
        bases = re.findall(r'[\'"](\w+::[^\'"]*)[\'"]', read_text(file))
        return f'Its bases are {", ".join(bases)}; expected LIBRARY::FOLDER/FILE.py of mmfusion, mmseg, mmdet or mmpretrain.'
    return 'Correct it.'


def _names_no_variable(record: logging.LogRecord) -> bool:
    """Drop mmengine's line for each variable that a config reads."""
    return not record.getMessage().startswith('Using env variable')


def override(cfg: Config, options: dict | None) -> None:
    """Write overrides into a config, in place.

    Raises:
        ValueError: If they do not fit it, or one is of a key that no run reads.
    """
    if not isinstance(options, Mapping | None):
        raise ValueError(f"cfg_options is {options!r}; expected a dict, such as {{'model.size_divisor': 8}}.")
    for name in options or {}:
        _refuse_unread(cfg, name)
    try:
        cfg.merge_from_dict(options or {})
    except (TypeError, KeyError, IndexError, AttributeError) as e:
        raise ValueError(
            f'--cfg-options {" ".join(options)}: do not fit {cfg.filename} ({e}). Items of a list are named by number, such '
            'as test_evaluator.0.type=…'
        ) from e
    if any(name.partition('.')[0] == 'custom_imports' for name in options or {}):
        _import_again(cfg)


def _import_again(cfg):
    """Import what overrides ask for; reading a config imports its own."""
    try:
        import_modules_from_strings(**cfg.custom_imports)
    except (ImportError, TypeError) as e:
        raise ValueError(
            f'--cfg-options custom_imports: {e}. Expected modules that can be imported, such as '
            'custom_imports.imports=[mmfusion,my_package].'
        ) from e


def _refuse_unread(cfg, name):
    """Refuse an override that would change nothing.

    It is of no key, or of a variable from which values were built already.
    """
    key = name.partition('.')[0]
    if key == 'launcher':
        raise ValueError('--cfg-options launcher: it would change nothing. Say --launcher pytorch, slurm or mpi.')
    if key in RUN_KEYS:
        return
    if key not in cfg:
        near = difflib.get_close_matches(key, [*cfg, *RUN_KEYS], n=1)
        hint = f' Did you mean {name.replace(key, near[0], 1)}?' if near else ''
        raise ValueError(
            f'--cfg-options {name}: {cfg.filename or "the config"} has no {key}, and no run reads one.{hint} See '
            'docs/configs.md.'
        )
    places = [path for part in sorted(RUN_KEYS & set(cfg)) for path in _places(cfg[part], key, cfg[key], part)]
    if places:  # otherwise a custom hook may read it
        rest = name[len(key) :]
        shown = ' '.join(f'{place}{rest}=…' for place in places[:4]) + (' …' if len(places) > 4 else '')
        raise ValueError(
            f'--cfg-options {name}: {key} is a variable of the config file, from which other values were built already: '
            f'it would change nothing. Set them: {shown}'
        )


def drop_variables(cfg: Config) -> None:
    """Take variables that no run reads out of a config, in place.

    In a dumped config they would look as if they could be changed, and change nothing. Where a config imports modules of its
    own (``custom_imports``), a hook there may read a key: then only variables go from which other values were built.
    """
    imports = (cfg.get('custom_imports') or {}).get('imports') or ()
    own = [name for name in ([imports] if isinstance(imports, str) else imports) if not name.startswith(_LIBRARIES)]
    for key in [key for key in cfg if key not in RUN_KEYS]:
        if not own or any(True for part in RUN_KEYS & set(cfg) for _ in _places(cfg[part], key, cfg[key], part)):
            cfg.pop(key)


def _places(node, key, value, path):
    """Keys of a config's part with this name, dict or list."""
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list | tuple) else ()
    for name, part in items:
        if name == key or (value and isinstance(value, dict | list) and part == value):
            yield f'{path}.{name}'
        else:
            yield from _places(part, key, value, f'{path}.{name}')


def walk(node: Any, path: str = '') -> Iterator[tuple[str, Any]]:
    """Yield nested dicts, lists and their values with their keys, outermost first."""
    yield path, node
    items = node.items() if isinstance(node, Mapping) else enumerate(node) if isinstance(node, list | tuple) else ()
    for key, value in items:
        yield from walk(value, f'{path}.{key}' if path else str(key))


def innermost(dataset: dict) -> dict:
    """Find the config of the dataset that a RepeatDataset or MultiImageMixDataset wraps."""
    while isinstance(dataset.get('dataset'), dict):
        dataset = dataset['dataset']
    return dataset


def _letters(name: str) -> str:
    return re.sub(r'[^a-z0-9]', '', name.lower())


@lru_cache
def published() -> dict[str, dict]:
    """Read the entries of all metafiles: config → entry with its ``Collection``.

    docs/configs.md says what they hold.

    Raises:
        ValueError: If a metafile cannot be read, or lacks a key.
    """
    entries = {}
    for file in sorted(config_folder().glob('*/metafile.yml')):
        try:
            content = yaml.safe_load(file.read_text(encoding='utf-8'))
            collections = {c['Name']: c for c in content['Collections']}
            for entry in content.get('Models') or ():
                entries[entry['Name']] = {**entry, 'Collection': collections[entry['In Collection']]}
        except (yaml.YAMLError, KeyError, TypeError) as e:
            raise ValueError(
                f'{file}: not a metafile as docs/configs.md describes it ({type(e).__name__}: {e}).'
            ) from e
    return entries


def shipped(entry: dict) -> str | None:
    """Give the file of weights shipped for an entry; None without."""
    weights = entry.get('Weights')
    return str(config_folder().parent / weights) if weights and '://' not in weights else None


def is_exported(model: object) -> bool:
    """Tell by its suffix whether a file is of ``mmfusion export``."""
    return isinstance(model, str | Path) and Path(model).suffix in EXPORTED.values()
