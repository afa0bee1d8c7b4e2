"""Evaluation of folders of fused images, in processes, and its files."""

import csv
import io
import json
import math
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from multiprocessing import active_children, get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.dataset import DefaultSampler
from mmengine.dist import all_gather_object, get_world_size, is_main_process
from torch import Tensor

from mmfusion.utils import (
    check_reading,
    list_images,
    natural_key,
    only_writer,
    read_pair,
    read_shown,
    refuse_equal,
    refuse_same,
    remove_unfinished,
    shorten,
    write_bytes,
)
from mmfusion.utils.memory import is_out_of_memory
from mmfusion.utils.pairing import pattern_advice
from mmfusion.utils.run_record import plain, signature
from mmfusion.utils.text import json_text, to_bytes
from mmfusion.version import __version__

from ..protocols import evaluate_images
from ..specs import METRIC_SPECS, PROTOCOLS, resolve_metrics

# Method, image, files of the fused image and its sources, names of metrics, protocol, and how sources are read.
_Job = tuple[str, str, list[str], list[str], str, dict]
# Method, image, values, and reasons for those that are NaN.
_Outcome = tuple[str, str, dict[str, float], dict[str, str]]


@dataclass
class Results:
    """Values of methods on images.

    Attributes:
        protocol (str): ``'tang'`` or ``'vifb'``.
        methods, images, metrics (list[str]): In the order of tables.
        values (dict[str, dict[str, dict[str, float]]]): method → metric → image → value (NaN where undefined).
        reasons (dict[str, dict[str, dict[str, str]]]): The same keys → why the value is NaN.
        files (dict[str, dict[str, str]]): ``'ir'``, ``'vi'`` and each method → image → path.
        signatures (dict[str, dict[str, list]]): method → image → sizes and times of the files the values are from.
        reading (dict): How sources were brought to 8 bits; see :func:`mmfusion.utils.check_reading`.
    """

    protocol: str
    methods: list
    images: list
    metrics: list
    values: dict = field(default_factory=dict)
    reasons: dict = field(default_factory=dict)
    files: dict = field(default_factory=dict)
    signatures: dict = field(default_factory=dict)
    reading: dict = field(default_factory=check_reading)

    def value(self, method: str, metric: str, image: str) -> float:
        """Give one value; NaN where undefined or the image is missing."""
        return self.values.get(method, {}).get(metric, {}).get(image, math.nan)

    def mean(self, method: str, metric: str, images: Sequence[str] | None = None) -> float:
        """Average over the images with a value; NaN if none has."""
        found = [self.value(method, metric, image) for image in (self.images if images is None else images)]
        found = [v for v in found if not math.isnan(v)]
        return math.fsum(found) / len(found) if found and math.inf not in found else (found and math.inf) or math.nan

    def undefined(self, method: str, metric: str, images: Sequence[str] | None = None) -> dict[str, str]:
        """Give the reason for each image that the mean leaves out."""
        images = self.images if images is None else images
        return {i: r for i, r in self.reasons.get(method, {}).get(metric, {}).items() if i in images}


def pair_folders(
    ir_dir: str | Path | Mapping[str, Path] | None,
    vi_dir: str | Path | Mapping[str, Path],
    fused_dirs: Mapping[str, str | Path],
    allow_missing: bool = False,
    images: Sequence[str] | None = None,
    patterns: Mapping[str, str] | None = None,
) -> tuple[list[str], dict[str, dict[str, Path]], list[str]]:
    """Find the images that both sources and every method have, by name.

    Args:
        ir_dir, vi_dir: Sources, each a folder or files by name; with ``ir_dir=None``, files whose four channels are R,
            G, B and thermal.
        fused_dirs: Method → folder.
        allow_missing: Take what is there: images that miss a source are left out, and a method is evaluated on the
            images that it has.
        images: Names to evaluate. Default: all that there are.
        patterns: ``'ir'``, ``'vi'`` or method → how the names of its files pair, such as ``'{name}_fused'``; ``''``
            stands for all methods. See :func:`mmfusion.utils.list_images`.

    Returns:
        Images, files by folder's name and image, and what is missing in words.

    Raises:
        FileNotFoundError: If a folder does not exist, or there is no image to evaluate.
        ValueError: If images have no counterpart (they are named), or one folder is given for both sources.
    """
    folders = {'ir': vi_dir if ir_dir is None else ir_dir, 'vi': vi_dir, **fused_dirs}
    given = {name: _pattern_of(name, patterns) for name in folders}
    files = {
        name: dict(folder) if isinstance(folder, Mapping) else list_images(folder, given[name])
        for name, folder in folders.items()
    }
    named = not isinstance(vi_dir, Mapping) and not isinstance(ir_dir, Mapping)
    if ir_dir is not None and named and given['ir'] == given['vi']:
        refuse_same(vi_dir, ir_dir)
    wanted = sorted(set().union(*files.values()) if images is None else images, key=natural_key)
    missing = []
    for name in ('ir', 'vi', *fused_dirs):
        absent = [stem for stem in wanted if stem not in files[name]]
        if absent and not (name == 'ir' and ir_dir is None):
            where = 'the list' if isinstance(folders[name], Mapping) else folders[name]
            missing.append(f'{where} ({name}) lacks {len(absent)} of {len(wanted)} images: {shorten(absent)}')
    if missing and not allow_missing:
        raise ValueError(
            '; '.join(missing) + '. Images are paired by file name without suffix. Add them, or evaluate what is there '
            'with --allow-missing.' + _pattern_advice(folders, given)
        )
    fused = set().union(*(files[name] for name in fused_dirs))
    images = [stem for stem in wanted if stem in files['ir'] and stem in files['vi'] and stem in fused]
    if not images:
        raise FileNotFoundError(f'no fused image of {", ".join(map(str, fused_dirs.values()))} has both sources')
    return images, files, missing


def _pattern_of(name: str, patterns: Mapping[str, str] | None) -> str | None:
    patterns = patterns or {}
    return patterns.get(name) or (patterns.get('') if name not in ('ir', 'vi') else None)


def _pattern_advice(folders: Mapping[str, str | Path | Mapping[str, Path]], given: Mapping[str, str | None]) -> str:
    """Advise patterns by which the folders would pair; empty where none would."""
    advice = []
    for name, folder in folders.items():
        if name != 'vi' and not isinstance(folder, Mapping) and not isinstance(folders['vi'], Mapping):
            options = ('--vi-pattern', '--ir-pattern' if name == 'ir' else '--fused-pattern')
            text = pattern_advice((folders['vi'], given['vi']), (folder, given[name]), options)
            advice += [f'{name}:{text}'] if text else []
    return ' ' + ' '.join(advice) if advice else ''


def read_part(name: str, files: Mapping[str, str | Path], **reading) -> np.ndarray:
    """Read a source or a fused image for measuring and showing.

    Args:
        name: ``'ir'``, ``'vi'``, or a method.
        files: Files of one image by name; one file for both sources has four channels.
        **reading: How sources become 8 bits (:func:`mmfusion.utils.check_reading`); a fused image always has its full scale.

    Returns:
        H×W×3 (B, G, R) uint8, or H×W where there is one channel.
    """
    if name not in ('ir', 'vi'):
        return read_shown(files[name], 'result')
    if str(files['ir']) == str(files['vi']) or (name == 'ir' and reading.get('align')):
        return read_pair(files['vi'], files['ir'], **reading)[name == 'ir']
    if name == 'vi':
        return read_shown(files[name], reading.get('depth16', 'full'))
    return read_shown(files[name], infrared=True, **reading)


def load_image(path: str | Path, depth16: str = 'full') -> Tensor:
    """Read an image for the protocols, 1×C×H×W uint8, R, G, B."""
    return _tensor(read_shown(path, depth16))


def _tensor(image: np.ndarray) -> Tensor:
    image = image[..., None] if image.ndim == 2 else image[..., ::-1]
    return torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)[None]


def evaluate_files(
    fused: str | Path, ir: str | Path, vi: str | Path, metrics: Sequence[str], protocol: str, **reading
) -> tuple[dict[str, float], dict[str, str]]:
    """Evaluate one fused image; options are those of :func:`read_part`.

    Returns:
        Metric → value, and metric → reason where it is NaN.

    Raises:
        ImageReadError: If a file cannot be read.
        ValueError: If the sizes differ, or both sources are one picture; the files are named.
    """
    files = dict(fused=fused, ir=ir, vi=vi)
    arrays = [read_part(name, files, **reading) for name in files]
    images = [_tensor(array) for array in arrays]
    if len({image.shape[-2:] for image in images}) > 1:
        sizes = ', '.join(f'{p} is {x.shape[-1]}×{x.shape[-2]}' for p, x in zip((fused, ir, vi), images, strict=True))
        raise ValueError(f'{sizes} (width×height): fused and source images must be of one size')
    refuse_equal(arrays[2], arrays[1], vi, ir)
    try:
        values, reasons = evaluate_images(*images, metrics, protocol)
    except ValueError as e:  # such as an image too small for a metric, which knows no file names
        raise ValueError(f'{fused}: {e}') from e
    except (RuntimeError, MemoryError) as e:
        if not is_out_of_memory(e):
            raise
        raise RuntimeError(
            f'out of memory at {fused} ({images[0].shape[-1]}×{images[0].shape[-2]}, {", ".join(metrics)}): use fewer '
            '--workers, fewer --metrics, or parts of the image.'
        ) from e
    values = {name: value.item() for name, value in values.items()}
    return values, {name: reason for name, reason in reasons.items() if math.isnan(values[name])}


def _work(job: _Job) -> _Outcome:
    method, image, paths, metrics, protocol, reading = job
    return method, image, *evaluate_files(*paths, metrics, protocol, **reading)


def _one_thread():
    torch.set_num_threads(1)


def evaluate_folders(
    ir_dir: str | Path | None,
    vi_dir: str | Path,
    fused_dirs: Mapping[str, str | Path],
    metrics: str | Sequence[str] = 'all',
    protocol: str = 'tang',
    out_dir: str | Path | None = None,
    allow_missing: bool = False,
    workers: int = 1,
    progress: Callable[[int, int, str], object] | None = None,
    images: Sequence[str] | None = None,
    patterns: Mapping[str, str] | None = None,
    **reading,
) -> tuple[Results, list[str]]:
    """Evaluate folders of fused images, from where a run stopped.

    In several processes (torchrun, Slurm) each takes its share of the images, as mmengine's sampler deals them; all get all
    values, and the first one writes.

    Args:
        ir_dir, vi_dir: The sources; see :func:`pair_folders`.
        fused_dirs: Method → folder.
        metrics: Names, or ``'all'``.
        protocol: ``'tang'`` or ``'vifb'``.
        out_dir: Where ``metrics.csv`` and ``metrics.json`` are kept. Values found there are taken over if the protocol
            is the same and their files have not changed.
        allow_missing, images, patterns: See :func:`pair_folders`.
        workers: Processes; each computes with one thread. 1 computes here.
        progress: Called with (done, total, text) after each image.
        **reading: See :func:`read_part`.

    Returns:
        The values, and what was missing in words.

    Raises:
        FileNotFoundError, ValueError: See :func:`pair_folders` and :func:`evaluate_files`. What was computed until then
            is in ``out_dir``.
    """
    if protocol not in PROTOCOLS:
        raise ValueError(f'unknown protocol {protocol!r}; known are {", ".join(PROTOCOLS)}')
    names = [spec.name for spec in resolve_metrics(metrics)]
    reserved = {'ir', 'vi'} & fused_dirs.keys()
    if reserved:
        raise ValueError(f'{", ".join(reserved)}: a method cannot have the name of a source; choose another NAME=')
    images, files, missing = pair_folders(ir_dir, vi_dir, fused_dirs, allow_missing, images, patterns)
    results = Results(protocol, list(fused_dirs), images, names, reading=plain(check_reading(**reading)))
    results.files = {n: {i: str(files[n][i]) for i in images if i in files[n]} for n in ('ir', 'vi', *fused_dirs)}
    with only_writer(out_dir) if out_dir is not None and is_main_process() else nullcontext():
        _evaluate(results, workers, out_dir, progress)
    return results, missing


def _evaluate(
    results: Results,
    workers: int,
    out_dir: str | Path | None,
    progress: Callable[[int, int, str], object] | None,
) -> None:
    """Fill in the values that are not in ``out_dir``, and save all."""
    if out_dir is not None and is_main_process():
        remove_unfinished(out_dir)
    earlier = _load_earlier(out_dir, results)
    jobs = []
    for method in results.methods:
        results.signatures[method] = {}
        for image in results.files[method]:
            paths = [results.files[n][image] for n in (method, 'ir', 'vi')]
            results.signatures[method][image] = signature(paths)
            todo = [n for n in results.metrics if not _take_over(earlier, results, method, image, n)]
            if todo:
                jobs.append((method, image, paths, todo, results.protocol, results.reading))
    try:
        _run(jobs, workers, results, out_dir, progress)
    finally:
        if out_dir is not None and is_main_process():
            save(results, out_dir)


def _run(
    jobs: Sequence[_Job],
    workers: int,
    results: Results,
    out_dir: str | Path | None,
    progress: Callable[[int, int, str], object] | None,
) -> None:
    def keep(done: int, outcome: _Outcome) -> None:
        method, image, values, reasons = outcome
        for name, value in values.items():
            _store(results, method, name, image, value, reasons.get(name))
        if out_dir is not None and done % 50 == 0 and is_main_process():
            save(results, out_dir)
        if progress:
            progress(done, len(jobs), f'{method} {image}')

    if get_world_size() > 1:
        done, step = 0, 16 * get_world_size()
        for start in range(0, len(jobs), step):
            for outcome in _run_shares(jobs[start : start + step]):
                done += 1
                keep(done, outcome)
        return
    if workers <= 1 or len(jobs) < 2 * workers:
        for done, job in enumerate(jobs, 1):
            keep(done, _work(job))
        return
    with ProcessPoolExecutor(workers, mp_context=get_context('spawn'), initializer=_one_thread) as pool:
        futures, before = [], set(active_children())
        try:
            with _without_interrupts():  # which workers inherit: this process ends them
                futures += [pool.submit(_work, job) for job in jobs]
            for done, future in enumerate(as_completed(futures), 1):
                keep(done, future.result())
        except BrokenProcessPool as e:
            raise RuntimeError(
                f'one of {workers} processes was killed, as systems do where memory runs out: use fewer --workers, or fewer '
                '--metrics at a time. Values that are there already are kept.'
            ) from e
        except BaseException:
            # The pool's own thread joins them, when the pool is left: two threads that join one process can both miss it.
            for process in set(active_children()) - before:
                process.terminate()  # metrics of a large image take minutes
            raise


@contextmanager
def _without_interrupts() -> Iterator[None]:
    """Put Ctrl-C off, here and for good in processes that start meanwhile."""
    if not hasattr(signal, 'pthread_sigmask'):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _run_shares(jobs: Sequence[_Job]) -> list[_Outcome]:
    """Share jobs among processes, and gather outcomes; all raise one's error."""
    outcomes, error = [], None
    try:
        outcomes = [_work(jobs[i]) for i in DefaultSampler(jobs, shuffle=False, round_up=False)]
    except (ValueError, RuntimeError) as e:
        error = str(e)
    gathered = all_gather_object((outcomes, error))
    errors = [error for _, error in gathered if error]
    if errors:
        raise ValueError(errors[0])
    return [outcome for outcomes, _ in gathered for outcome in outcomes]


def _store(results: Results, method: str, metric: str, image: str, value: float, reason: str | None) -> None:
    results.values.setdefault(method, {}).setdefault(metric, {})[image] = value
    if reason:
        results.reasons.setdefault(method, {}).setdefault(metric, {})[image] = reason


def _load_earlier(out_dir: str | Path | None, results: Results) -> Results | None:
    file = Path(out_dir or '.', 'metrics.json')
    if out_dir is None or not file.is_file():
        return None
    earlier = load(file)
    return earlier if (earlier.protocol, earlier.reading) == (results.protocol, results.reading) else None


def _take_over(earlier: Results | None, results: Results, method: str, image: str, metric: str) -> bool:
    if earlier is None or image not in earlier.values.get(method, {}).get(metric, {}):
        return False
    if earlier.signatures.get(method, {}).get(image) != results.signatures[method][image]:
        return False
    reason = earlier.reasons.get(method, {}).get(metric, {}).get(image)
    _store(results, method, metric, image, earlier.value(method, metric, image), reason)
    return True


def save(results: Results, out_dir: str | Path) -> None:
    """Write ``metrics.csv`` (``method,image,metric,value``, full precision) and ``metrics.json``."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator='\n')
    writer.writerow(['method', 'image', 'metric', 'value'])
    for method in results.methods:
        for image in results.images:
            for metric in results.metrics:
                if image in results.values.get(method, {}).get(metric, {}):
                    writer.writerow([method, image, metric, repr(results.value(method, metric, image))])
    write_bytes(Path(out_dir, 'metrics.csv'), to_bytes(buffer.getvalue()))
    write_bytes(Path(out_dir, 'metrics.json'), json_text(as_dict(results), indent=1).encode())


def as_dict(results: Results) -> dict[str, Any]:
    """Give what ``metrics.json`` holds, without NaN or infinity (``null``, ``"inf"``)."""
    column = PROTOCOLS.index(results.protocol)

    def plain(value: float) -> float | str | None:
        return None if math.isnan(value) else value if math.isfinite(value) else repr(value)

    return dict(
        mmfusion=__version__,
        protocol=results.protocol,
        reading=results.reading,
        methods=results.methods,
        images=results.images,
        metrics=[
            dict(
                name=spec.name,
                title=spec.title,
                family=spec.family,
                higher_is_better=spec.higher_is_better,
                range=spec.range[column],
                paper=spec.paper,
                published=results.protocol in spec.published,
            )
            for spec in (METRIC_SPECS[name] for name in results.metrics)
        ],
        means={m: {n: plain(results.mean(m, n)) for n in results.metrics} for m in results.methods},
        values={
            method: {metric: {i: plain(v) for i, v in found.items()} for metric, found in by_metric.items()}
            for method, by_metric in results.values.items()
        },
        reasons=results.reasons,
        files=results.files,
        signatures=results.signatures,
    )


def load(file: str | Path) -> Results:
    """Read ``metrics.json`` back.

    Raises:
        ValueError: If the file was not written by :func:`save`.
    """
    try:
        data = json.loads(Path(file).read_text(encoding='utf-8'))
        results = Results(
            data['protocol'],
            data['methods'],
            data['images'],
            [m['name'] for m in data['metrics']],
            reasons=data['reasons'],
            files=data['files'],
            signatures=data['signatures'],
            # Older versions wrote the depth alone.
            reading=data.get('reading') or dict(depth16=data['depth16']),
        )
        results.values = {
            method: {
                metric: {i: math.nan if v is None else float(v) for i, v in found.items()}
                for metric, found in by_metric.items()
            }
            for method, by_metric in data['values'].items()
        }
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError, AttributeError) as e:
        raise ValueError(
            f'{file}: not a metrics.json of mmfusion evaluate ({e!r}). Remove it, or name another --out.'
        ) from e
    unknown = [name for name in results.metrics if name not in METRIC_SPECS]
    if unknown:
        raise ValueError(f'{file}: has metrics that this version does not know: {", ".join(unknown)}')
    return results
