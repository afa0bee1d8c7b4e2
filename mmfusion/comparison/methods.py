"""One comparison of methods: fuse, measure images and costs, report.

In several processes (torchrun, Slurm) pairs are dealt by mmengine's sampler and values gathered by its functions; what is
finished is not done again.
"""

import json
import math
import platform
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from mmengine.dist import all_gather_object, barrier, is_main_process

from mmfusion.apis import FusionInferencer
from mmfusion.apis.folder import fuse_folder
from mmfusion.evaluation.report import Results, evaluate_folders, format_value, rank, table_of, write_html
from mmfusion.models.cost import Cost, measure
from mmfusion.models.hub import find_device, find_weights, load_model_config
from mmfusion.utils import check_reading, list_images, write_bytes
from mmfusion.utils.checkpoint import CheckpointError
from mmfusion.utils.pairing import propose_patterns
from mmfusion.utils.run_record import model_settings, plain
from mmfusion.utils.tables import Table
from mmfusion.utils.text import json_text, to_bytes

from .entrants import DEFAULT_METRICS, Entrant, Pairs

_ERRORS = (ValueError, RuntimeError, OSError, ImportError)


def prepare(entrants: Sequence[Entrant]) -> list[Entrant]:
    """Find the weights of all methods before anything runs.

    Raises:
        FileNotFoundError: If weights are missing; of all methods at once, a line each.
    """
    ready, missing = [], []
    for entrant in entrants:
        weights = entrant.weights
        if entrant.config and weights is None:
            try:
                weights = find_weights(load_model_config(entrant.config))
            except (FileNotFoundError, CheckpointError) as e:
                missing.append(str(e))
        elif weights not in (None, 'random') and '://' not in str(weights) and not Path(weights).exists():
            missing.append(f'{entrant.name}: {weights}: no such weights')
        ready.append(replace(entrant, weights=weights))
    if missing:
        raise FileNotFoundError(lines_of(f'{len(missing)} of {len(entrants)} methods have no weights:', missing))
    return ready


def lines_of(head: str, items: Sequence[str]) -> str:
    """Join several errors, each in a line of its own."""
    return '\n  '.join([head, *items])


class Comparison:
    """Compare methods on pairs, in a folder that keeps finished work.

    Args:
        entrants: From :func:`prepare`.
        pairs: From :func:`open_data`.
        out: Folder of ``fused/<name>``, ``metrics.csv``, ``metrics.json``, ``costs.json``, ``table.md``, ``table.tex`` and
            ``report.html``.
        device: Where the models run; see :func:`~mmfusion.models.hub.find_device`.
        say: Gets a line about each step.
        fused_pattern: Names of the images in given folders; see :class:`mmfusion.utils.NamePattern`.
        **reading: How images become 8 bits; see :func:`mmfusion.utils.check_reading`.
    """

    def __init__(
        self,
        entrants: Sequence[Entrant],
        pairs: Pairs,
        out: str | Path,
        device: str | None = None,
        say: Callable[[str], object] = print,
        fused_pattern: str | None = None,
        **reading: object,
    ) -> None:
        self.entrants, self.pairs, self.out = list(entrants), pairs, Path(out)
        self.device, self.reading = str(find_device(device)), check_reading(**reading)
        self.say = say if is_main_process() else lambda text: None
        self.fused_pattern = fused_pattern
        self.failed: dict[str, str] = {}
        self.costs: dict[str, Cost] = {}
        self.shape: tuple[int, int] | None = None

    def fuse(self, shape: tuple[int, int] | None = (480, 640), batch_size: int = 1) -> None:
        """Fuse with each method what is missing, and measure its cost.

        A method that fails is left out of the comparison, and said in :attr:`failed`. ``shape`` is the height and width of
        the pair whose cost is measured; None to measure none.
        """
        self.shape = shape
        for entrant in self.entrants:
            if entrant.folder:
                self._check_given(entrant)
                continue
            error = None
            try:
                self._fuse_one(entrant, batch_size)
            except _ERRORS as e:
                error = str(e)
            error = next(filter(None, all_gather_object(error)), None)
            if error:
                self.failed[entrant.name] = error
                self.say(f'{entrant.name}: left out: {error}')

    def _check_given(self, entrant: Entrant) -> None:
        images = list_images(entrant.folder, self.fused_pattern)
        absent = [stem for stem, *_ in self.pairs.items if stem not in images]
        if absent:
            shown = ', '.join(absent[:5])
            self.failed[entrant.name] = (
                f'{entrant.folder} lacks {len(absent)} of {len(self.pairs.items)} images: {shown}.'
            )
            patterns = None if self.fused_pattern else propose_patterns(self.pairs.vi, images)
            if patterns and patterns[0] == '{name}':
                self.failed[entrant.name] += f" --fused-pattern '{patterns[1]}' would pair them."
            self.say(f'{entrant.name}: left out: {self.failed[entrant.name]}')

    def _fuse_one(self, entrant: Entrant, batch_size: int) -> None:
        settings = model_settings(entrant.config, entrant.weights, **self.reading)
        built = []

        def build():
            if not built:
                progress = is_main_process()
                built.append(
                    FusionInferencer(
                        entrant.config, entrant.weights, self.device, **self.reading, show_progress=progress
                    )
                )
            return built[0]

        folder = self.out / 'fused' / entrant.name
        self.say(f'{entrant.name}: {len(self.pairs.items)} pairs')
        fused, kept = fuse_folder(self.pairs.items, folder, settings, build, batch_size=batch_size)
        if kept:
            self.say(f'{entrant.name}: {fused} fused, {kept} were finished')
        if self.shape and is_main_process():
            self.costs[entrant.name] = self._cost(entrant.name, plain(settings), build)
        barrier()  # nobody computes while the cost is measured

    def _cost(self, name: str, settings: dict, build: Callable) -> Cost:
        """Cost of a pair: measured, now or before on this machine."""
        file = self.out / 'costs.json'
        known = {}
        if file.is_file():
            try:
                known = {key: dict(value) for key, value in json.loads(file.read_bytes()).items()}
            except (ValueError, TypeError, AttributeError) as e:
                raise ValueError(f'{file}: not a costs.json of mmfusion compare ({e}). Remove it.') from e
        conditions = dict(machine=describe_machine(self.device), shape=list(self.shape), settings=settings)
        if known.get(name, {}).get('conditions') != conditions:
            known[name] = dict(conditions=conditions, cost=measure(build().model, *self.shape)._asdict())
            write_bytes(file, (json_text(known, indent=1) + '\n').encode())
        return Cost(**known[name]['cost'])

    def evaluate(self, metrics: str | Sequence[str] = DEFAULT_METRICS, protocol: str = 'tang', **options) -> Results:
        """Evaluate all methods that did not fail; options as in :func:`evaluate_folders`.

        Raises:
            ValueError: If all methods failed.
        """
        folders = {
            entrant.name: entrant.folder or self.out / 'fused' / entrant.name
            for entrant in self.entrants
            if entrant.name not in self.failed
        }
        if not folders:
            raise ValueError(lines_of('no method is left to compare:', [f'{n}: {e}' for n, e in self.failed.items()]))
        metrics = metrics if isinstance(metrics, str) else list(metrics)
        images = [stem for stem, *_ in self.pairs.items]
        results, _ = evaluate_folders(
            self.pairs.ir,
            self.pairs.vi,
            folders,
            metrics,
            protocol,
            self.out,
            images=images,
            **self.reading,
            patterns={e.name: self.fused_pattern for e in self.entrants if e.folder},
            **options,
        )
        return results

    @property
    def cost_note(self) -> str:
        """Say of which pair the cost was measured, and where."""
        return f'One pair of {self.shape[1]}×{self.shape[0]}, {describe_machine(self.device)}.' if self.costs else ''

    def table(self, results: Results) -> Table:
        """Make the table of means, with methods' costs in the last columns."""
        table = table_of(results)
        if not self.costs:
            return table
        columns = dict(parameters=('Params (M)', 1e6), flops=('FLOPs (G)', 1e9), seconds=('Time (s)', 1))
        columns |= dict(memory=('Memory (MiB)', 2**20))
        for key, (title, unit) in columns.items():
            values = [
                getattr(self.costs[method], key) / unit if method in self.costs else math.nan
                for method in results.methods
            ]
            table.head.append(title)
            places = rank(values, higher_is_better=False)
            for row, marks, value, place in zip(table.rows, table.places, values, places, strict=True):
                row.append(f'{value:.0f}' if value >= 100 else format_value(value, 3))
                marks.append(place if len(results.methods) > 1 else None)
        return replace(table, notes=(*table.notes, f'Cost: {self.cost_note}'))

    def write(self, results: Results, gallery: int | None = 30) -> list[Path]:
        """Write tables and report, by the first process; list the files."""
        if not is_main_process():
            return []
        table = self.table(results)
        costs = {name: cost._asdict() for name, cost in self.costs.items() if name in results.methods}
        write_bytes(self.out / 'table.md', to_bytes(f'{table.caption}\n\n{table.markdown()}\n'))
        write_bytes(self.out / 'table.tex', to_bytes(f'{table.latex("tab:comparison")}\n'))
        write_html(results, self.out / 'report.html', gallery, costs=costs, cost_note=self.cost_note)
        names = ('report.html', 'table.tex', 'table.md', 'metrics.csv', 'metrics.json', 'costs.json')
        return [self.out / name for name in names if (self.out / name).is_file()]


def describe_machine(device: str) -> str:
    """Name the device that seconds were measured on."""
    if device.startswith('cuda'):
        return torch.cuda.get_device_name(torch.device(device))
    threads = torch.get_num_threads()
    return f'{platform.machine()} CPU, {threads} {"threads" if threads > 1 else "thread"}'
