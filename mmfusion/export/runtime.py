"""Run exported graphs by ONNX Runtime, OpenVINO or TorchScript."""

import json
import warnings
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from textwrap import shorten
from typing import Any

import numpy as np
import torch
from mmengine.structures import PixelData
from torch import Tensor, nn

from mmfusion.models.data_preprocessors import FusionDataPreprocessor
from mmfusion.models.fusers.batch import by_size
from mmfusion.structures import FusionDataSample
from mmfusion.utils.checkpoint import CheckpointError

PACKAGES = {'onnx': ('onnx', 'onnxruntime', 'onnxscript'), 'openvino': ('onnx', 'onnxscript', 'openvino')}
KEY = 'mmfusion'  # of what a file says about itself
_Run = Callable[[np.ndarray, np.ndarray], np.ndarray]


def need(package: str) -> Any:
    """Import an optional package.

    Raises:
        ImportError: If it is not installed; with the command that installs it.
    """
    try:
        return import_module(package)
    except ImportError as e:
        raise ImportError(f'{package} is needed and not installed: pip install "mmfusion[export]".') from e


def open_graph(file: str | Path, device: torch.device | str = 'cpu') -> tuple[_Run, dict]:
    """Open an exported file.

    Args:
        file: ``.onnx``, ``.xml`` or ``.torchscript``.
        device: Where TorchScript and, with onnxruntime-gpu, ONNX Runtime compute; OpenVINO chooses by itself.

    Returns:
        Function of the arrays vi (1×3×H×W) and ir (1×1×H×W) that gives the fused array, and what the file says of itself.

    Raises:
        CheckpointError: If the file is missing, damaged, or not one of :func:`export`.
        ImportError: If the package that runs it is not installed.
    """
    file = Path(file)
    if not file.is_file():
        raise CheckpointError(f'{file}: no such file; `mmfusion export METHOD {file}` makes one.')
    opener = {'.onnx': _open_onnx, '.xml': _open_openvino, '.torchscript': _open_torchscript}[file.suffix]
    try:
        run, text = opener(file, torch.device(device))
    except ImportError:
        raise
    except Exception as e:  # each runtime has errors of its own
        raise CheckpointError(
            f'{file}: cannot be opened. Export it again. ({shorten(str(e), 300, placeholder=" …")})'
        ) from e
    if not text:
        raise CheckpointError(f'{file}: not a file of mmfusion export, which would say what it takes. Export it again.')
    return run, json.loads(text)


def _open_onnx(file, device):
    ort = need('onnxruntime')
    options = ort.SessionOptions()
    options.log_severity_level = 4  # errors are raised, too
    options.intra_op_num_threads = torch.get_num_threads()
    wanted = ['CUDAExecutionProvider', 'CPUExecutionProvider'] if device.type == 'cuda' else ['CPUExecutionProvider']
    providers = [name for name in wanted if name in ort.get_available_providers()]
    session = ort.InferenceSession(str(file), options, providers=providers)

    def run(vi, ir):
        return session.run(None, dict(vi=vi, ir=ir))[0]

    return run, session.get_modelmeta().custom_metadata_map.get(KEY)


def _open_openvino(file, device):
    ov = need('openvino')
    core = ov.Core()
    model = core.read_model(file)
    # Below float32, which OpenVINO takes by itself on some processors, results would not be those that were checked.
    compiled = core.compile_model(model, 'CPU', {'INFERENCE_PRECISION_HINT': 'f32'})
    text = model.get_rt_info([KEY]).value if model.has_rt_info([KEY]) else None
    return lambda vi, ir: compiled([vi, ir])[0], text


def _open_torchscript(file, device):
    extra = {KEY: ''}
    with warnings.catch_warnings():
        warnings.simplefilter('ignore', FutureWarning)  # torch advises another format for new files
        module = torch.jit.load(file, map_location=device, _extra_files=extra)

    @torch.no_grad()
    def run(vi, ir):
        with torch.jit.optimized_execution(False):  # otherwise compiled again for every new size
            return module(torch.from_numpy(vi).to(device), torch.from_numpy(ir).to(device)).cpu().numpy()

    return run, extra[KEY]


class ExportedModel(nn.Module):
    """An exported file in the place of a model: what :class:`FusionInferencer` runs.

    Args:
        file: Of :func:`export`.
        device: See :func:`open_graph`.

    Attributes:
        info: ``method``, ``eight_bits``, ``size`` (height and width, or None for any), ``least`` (of a side) and
            ``depth16``; see :func:`export`.

    Raises:
        CheckpointError: If the file cannot be opened.
    """

    def __init__(self, file: str | Path, device: torch.device | str = 'cpu') -> None:
        super().__init__()
        self.file, self.device = Path(file), str(device)
        self._run, self.info = open_graph(file, device)
        self.data_preprocessor = FusionDataPreprocessor()

    def __getstate__(self):
        """The file's name alone: a session cannot be pickled."""
        return dict(file=self.file, device=self.device)

    def __setstate__(self, state):
        """Open the file again."""
        self.__init__(**state)

    def fuse(self, vi: Tensor, ir: Tensor) -> Tensor:
        """Fuse 1×3×H×W and 1×1×H×W in [0, 1] to 1×3×H×W in [0, 1].

        Raises:
            ValueError: If the graph does not take images of this size.
        """
        height, width = vi.shape[-2:]
        fixed, least = self.info['size'], self.info['least']
        if fixed and [height, width] != list(fixed):
            raise ValueError(
                f'{self.file} takes images of {fixed[0]}×{fixed[1]} (height×width) alone, got {height}×{width}. Export '
                f'with --size {height} {width}, or resize the images.'
            )
        if min(height, width) < least:
            raise ValueError(
                f'{self.file} takes images of at least {least}×{least} pixels, got {height}×{width} (height×width). '
                'Pad or enlarge them first.'
            )
        images = (vi.cpu(), ir.cpu())
        if self.info['eight_bits']:
            images = ((255 * image).round().to(torch.uint8) for image in images)
        fused = torch.from_numpy(np.asarray(self._run(*(np.ascontiguousarray(image.numpy()) for image in images))))
        return fused.float() / 255 if self.info['eight_bits'] else fused

    def forward(self, inputs: dict, data_samples: list | None = None, mode: str = 'predict') -> list[FusionDataSample]:
        """Fuse a batch, pair by pair, as :class:`ImageFuser` predicts it."""
        data_samples = data_samples or [FusionDataSample() for _ in inputs['vi']]
        for group in by_size(inputs['vi']):
            for i in group:
                fused = self.fuse(inputs['vi'][i][None], inputs['ir'][i][None])
                data_samples[i].fused = PixelData(data=fused[0])
        return data_samples
