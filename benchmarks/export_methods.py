"""Export every method, and write which sizes work and how far the files are from PyTorch: the table of docs/export.md.

    python benchmarks/export_methods.py [METHOD …] --out work_dirs/export.md --formats onnx torchscript openvino

Authors' weights are used where they are at hand (MMFUSION_WEIGHTS), random ones otherwise. Rows that are in the file are
kept, so that an interrupted run goes on.
"""

import argparse
import logging
import tempfile
import time
from pathlib import Path

from mmfusion.cli.running import log_level
from mmfusion.export import ExportError, export
from mmfusion.export.runtime import open_graph
from mmfusion.models.hub import find_weights, init_model, load_model_config, published
from mmfusion.utils.checkpoint import CheckpointError
from mmfusion.utils.configs import EXPORTED

# In the place of configs whose priors need weights that are fetched.
SUBSTITUTES = dict(gffusion_funet_msrs='gffusion_funet_demo-random-clip', mgfusion_unified='mgfusion_demo-random-clip')
SIZE = (96, 128)


def methods():
    """Names of the configs that `mmfusion models` lists."""
    seen, names = set(), []
    for name, entry in published().items():
        if entry.get('Authors Weights') or entry['In Collection'] not in seen:
            names.append(SUBSTITUTES.get(name, name))
        seen.add(entry['In Collection'])
    return names


def load(name):
    """Model of a config, and which weights it has."""
    cfg = load_model_config(name)
    try:
        return init_model(cfg, find_weights(cfg), 'cpu'), "authors'"
    except (FileNotFoundError, CheckpointError):
        return init_model(cfg, 'random', 'cpu'), 'random'


def attempt(model, name, form, folder):
    """Words for a cell of the table: the sizes that work, the largest difference, and why others do not."""
    file, start, reasons = Path(folder) / f'graph{EXPORTED[form]}', time.perf_counter(), ''
    for size, word in ((None, 'free'), (SIZE, 'fixed')):
        try:
            difference = max(export(model, file, name, eight_bits=False, size=size).values())
        except (ExportError, ValueError) as e:
            reasons += f' {" ".join(str(e).split())}'
            continue
        exporter = open_graph(file)[1]['exporter'] if form != 'torchscript' else ''
        size = file.stat().st_size + (file.with_suffix('.bin').stat().st_size if form == 'openvino' else 0)
        return f'{word} | {difference:.0e} | {exporter} | {size / 2**20:.1f} | {time.perf_counter() - start:.0f} |{reasons}'
    return f'no | – | – | – | {time.perf_counter() - start:.0f} |{reasons}'


def main():
    """Write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('methods', nargs='*')
    parser.add_argument('--formats', nargs='+', default=['onnx'], choices=tuple(EXPORTED))
    parser.add_argument('--out', required=True)
    args = parser.parse_args()
    out = Path(args.out)
    head = (
        '| method | weights | format | size | difference | exporter | MiB | seconds | why not |\n' + '|---' * 9 + '|\n'
    )
    text = out.read_text(encoding='utf-8') if out.is_file() else head
    for name in args.methods or methods():
        for form in args.formats:
            if any(line.startswith(f'| {name} |') and f'| {form} |' in line for line in text.splitlines()):
                continue
            with log_level(logging.ERROR), tempfile.TemporaryDirectory() as folder:
                try:
                    model, weights = load(name)
                    row = f'| {name} | {weights} | {form} | {attempt(model, name, form, folder)} |'
                except (ValueError, RuntimeError, OSError) as e:
                    row = f'| {name} | – | {form} | not built | – | – | – | – | {" ".join(str(e).split())} |'
            print(row, flush=True)
            text += row + '\n'
            out.write_text(text, encoding='utf-8')


if __name__ == '__main__':
    main()
