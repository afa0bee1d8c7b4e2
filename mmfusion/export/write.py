"""Write a fuser as a graph, and compare it with PyTorch."""

import contextlib
import json
import logging
import os
import sys
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mmfusion.models.fusers import ImageFuser
from mmfusion.utils import write_bytes
from mmfusion.utils.configs import EXPORTED
from mmfusion.version import __version__

from .graph import FusionGraph
from .runtime import KEY, PACKAGES, need, open_graph

FORMATS = tuple(EXPORTED)
# Largest difference from PyTorch, of values in [0, 1]; of 8 bits half a level is the rounding's.
TOLERANCE = 1e-4
# No two sides are equal, and each is prime: a graph that holds only for even sizes, or for one size, is found out.
CHECKED_SIZES = ((97, 131), (128, 96), (61, 151))
_NOT_FREE = 'as one of a free size'


class ExportError(ValueError):
    """A method cannot be exported in this way; the message says why."""


def format_of(out: str | Path, name: str | None = None) -> str:
    """Find the format of a file by its suffix.

    Raises:
        ValueError: If the suffix is none of a format, or of another than ``name``.
    """
    suffix = Path(out).suffix
    found = next((form for form, known in EXPORTED.items() if known == suffix), None)
    if found is None or name not in (None, found):
        expected = EXPORTED[name] if name else ', '.join(EXPORTED.values())
        raise ValueError(f'{out}: the suffix is {suffix!r}; expected {expected}')
    return found


def export(
    fuser: ImageFuser,
    out: str | Path,
    method: str = '',
    eight_bits: bool = True,
    size: tuple[int, int] | None = None,
    depth16: str = 'full',
    notes: Mapping | None = None,
) -> dict[str, float]:
    """Write a fuser to a file without PyTorch, and check it.

    The file takes ``vi`` (1×3×H×W, R, G, B) and ``ir`` (1×1×H×W) and gives ``fused`` (1×3×H×W): uint8, or float32 in [0, 1].
    It holds the whole way of :meth:`ImageFuser.run`: luminance and colours, input range, padding, output steps, rounding.

    Args:
        fuser: With its weights, on the CPU.
        out: ``.onnx``, ``.torchscript`` or ``.xml`` (OpenVINO, which writes a ``.bin`` beside it).
        method: Name of the config, which the file remembers.
        eight_bits: uint8 in and out; otherwise float32.
        size: Height and width that the file takes; None for any.
        depth16: How files of more than 8 bits become 8 where the graph runs; see :class:`FusionInferencer`.
        notes: Further entries of what the file says of itself.

    Returns:
        Size as text (``'97×131'``) → largest difference from PyTorch, in grey levels for 8 bits (beyond the half level of
        rounding) and of values in [0, 1] otherwise.

    Raises:
        ExportError: If no exporter of PyTorch can write it, or the file differs from PyTorch by more than 1e-4.
        ImportError: If a package that the format needs is not installed.
        ValueError: If the suffix is unknown, or the fuser cannot be one graph.
    """
    form = format_of(out)
    for package in PACKAGES.get(form, ()):
        need(package)
    graph = FusionGraph(fuser, eight_bits)
    if size and min(size) < graph.least:
        raise ValueError(
            f'size {size[0]}×{size[1]}: {method} takes images of at least {graph.least}×{graph.least} pixels'
        )
    info = dict(
        mmfusion=__version__, method=method, eight_bits=eight_bits, size=size, least=graph.least, depth16=depth16
    )
    info = {**(notes or {}), **info}
    failures = []
    with tempfile.TemporaryDirectory() as folder:
        for way in _WAYS[form]:
            file = Path(folder) / f'graph{EXPORTED[form]}'
            info['exporter'] = way.__name__.strip('_')
            text = json.dumps(info, ensure_ascii=False)
            try:
                with _quiet():
                    way(graph, file, size, text)
                    differences = compare(graph, file, [size] * 3 if size else _sizes(graph.least))
            except Exception as e:  # exporters and runtimes have errors of their own
                failures.append(f'{info["exporter"]}: {_shorten(e)}')
                continue
            _move(file, Path(out))
            return differences
    how = f'for {size[0]}×{size[1]}' if size else _NOT_FREE
    cure = '' if size else ' Export it for one size: --size HEIGHT WIDTH.'
    raise ExportError(
        f'{method or type(fuser.network).__name__} cannot be exported {how}: {"; ".join(failures)}.{cure}'
    )


def _shorten(error: Exception, most: int = 300) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or ['no message']
    text = ' '.join(lines)
    return f'{type(error).__name__}: {text[:most]}{"…" if len(text) > most else ""}'


def _sizes(least: int) -> list[tuple[int, int]]:
    return [(max(height, least + k), max(width, least + 2 * k + 1)) for k, (height, width) in enumerate(CHECKED_SIZES)]


def compare(graph: FusionGraph, file: Path, sizes: Sequence[tuple[int, int]]) -> dict[str, float]:
    """Compare a file with PyTorch on random pairs and a black one.

    Of a black pair nothing is left in denominators but the small numbers that are added to them, which exporters drop; where
    a method stretches its image, that of a black pair is rounding noise.

    Args:
        graph: What was exported.
        file: The file.
        sizes: Height and width of each pair.

    Returns:
        See :func:`export`.

    Raises:
        ExportError: If they differ by more than :data:`TOLERANCE`, of a black pair by more than a tenth.
    """
    run, _ = open_graph(file)
    scale, unit = (255, 'grey levels beyond rounding') if graph.eight_bits else (1, 'of a range of 1')

    def difference(pair, tolerance, name):
        different = _difference(graph, pair, np.asarray(run(*(image.numpy() for image in pair))))
        if not different <= tolerance * scale:  # NaN, too
            raise ExportError(f'the file differs from PyTorch by {different:.2g} {unit} at {name}')
        return different

    differences = {}
    for seed, (height, width) in enumerate(sizes):
        name = f'{height}×{width}'
        pair = _pair(height, width, seed, graph.eight_bits)
        differences[name] = max(difference(pair, TOLERANCE, name), differences.get(name, 0.0))
    difference(tuple(map(torch.zeros_like, pair)), 0.1, f'{name}, black')
    return differences


@torch.no_grad()
def _difference(graph: FusionGraph, pair: tuple[Tensor, Tensor], got: np.ndarray) -> float:
    vi, ir = (image.float() / 255 for image in pair) if graph.eight_bits else pair
    expected = graph.unrounded(vi, ir)
    if got.shape != tuple(expected.shape):
        raise ExportError(f'the file gives {got.shape} and PyTorch {tuple(expected.shape)}')
    got = torch.from_numpy(got.copy())
    if not graph.eight_bits:
        return (got - expected).abs().max().item()
    if got.dtype != torch.uint8:
        raise ExportError(f'the file gives {got.dtype} and PyTorch uint8')
    # A level stands for the values around it, or, where values are cut, for those up to the next level.
    middle = got.double() + (0.5 if graph.fuser.rounding == 'truncate' else 0.0)
    distance = (expected.clamp(0, 1).double() * 255 - middle).abs()
    return max(distance.max().item() - 0.5, 0.0)


def _pair(height: int, width: int, seed: int, eight_bits: bool) -> tuple[Tensor, Tensor]:
    """Random pair that is smooth in places, as images are."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(1, 4, 5, 7, generator=generator)
    image = torch.nn.functional.interpolate(coarse, (height, width), mode='bilinear')
    image = (0.85 * image + 0.15 * torch.rand(1, 4, height, width, generator=generator)).clamp(0, 1)
    levels = (255 * image).round().to(torch.uint8)
    image = levels if eight_bits else levels.float() / 255
    return image[:, :3].contiguous(), image[:, 3:].contiguous()


def _example(graph, size):
    return _pair(*(size or _sizes(graph.least)[0]), 0, graph.eight_bits)


def _by_torch_export(graph: FusionGraph, file: Path, size: tuple[int, int] | None, info: str) -> None:
    """Write ONNX by torch.export."""
    free = None if size else ({2: torch.export.Dim.DYNAMIC, 3: torch.export.Dim.DYNAMIC},) * 2
    with torch.no_grad():
        program = torch.export.export(graph, _example(graph, size), dynamic_shapes=free, strict=False)
    names = dict(input_names=['vi', 'ir'], output_names=['fused'])
    torch.onnx.export(program, (), file, dynamo=True, external_data=False, verbose=False, **names)
    _sign(file, info)


def _by_tracing(graph: FusionGraph, file: Path, size: tuple[int, int] | None, info: str) -> None:
    """Write ONNX by tracing, where torch.export does not follow."""
    names = dict(input_names=['vi', 'ir'], output_names=['fused'], opset_version=18)
    free = None if size else {name: {2: 'height', 3: 'width'} for name in ('vi', 'ir', 'fused')}
    with torch.no_grad():
        torch.onnx.export(graph, _example(graph, size), file, dynamo=False, dynamic_axes=free, **names)
    _sign(file, info)


def _sign(file: Path, info: str) -> None:
    onnx = need('onnx')
    model = onnx.load(file)
    onnx.helper.set_model_props(model, {KEY: info})
    onnx.save(model, file)


def _torchscript(graph: FusionGraph, file: Path, size: tuple[int, int] | None, info: str) -> None:
    """Trace to TorchScript."""
    with torch.no_grad():
        traced = torch.jit.trace(graph, _example(graph, size), check_trace=False)
    torch.jit.save(traced, file, _extra_files={KEY: info})


def _openvino(write_onnx):
    """Make a way through ONNX to OpenVINO."""

    def way(graph, file, size, info):
        ov = need('openvino')
        write_onnx(graph, file.with_suffix('.onnx'), size, info)
        model = ov.convert_model(file.with_suffix('.onnx'))
        model.set_rt_info(info, [KEY])
        ov.save_model(model, file, compress_to_fp16=False)

    way.__name__ = write_onnx.__name__
    return way


_WAYS = dict(
    onnx=(_by_torch_export, _by_tracing),
    torchscript=(_torchscript,),
    openvino=(_openvino(_by_torch_export), _openvino(_by_tracing)),
)


def _move(file: Path, out: Path) -> None:
    """Bring a file, and OpenVINO's weights, to their place."""
    if file.suffix == '.xml':
        write_bytes(out.with_suffix('.bin'), file.with_suffix('.bin').read_bytes())
    write_bytes(out, file.read_bytes())


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep exporters from printing graphs; what fails is raised."""
    level = logging.root.manager.disable
    logging.disable(logging.ERROR)
    sys.stdout.flush()
    sys.stderr.flush()
    kept = {number: os.dup(number) for number in (1, 2)}
    try:
        with warnings.catch_warnings(), open(os.devnull, 'w') as nothing:
            warnings.simplefilter('ignore')
            for number in kept:
                os.dup2(nothing.fileno(), number)
            with contextlib.redirect_stdout(nothing), contextlib.redirect_stderr(nothing):
                yield
    finally:
        for number, copy in kept.items():
            os.dup2(copy, number)
            os.close(copy)
        logging.disable(level)
