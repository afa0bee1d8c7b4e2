"""int8 versions of exported graphs, by ONNX Runtime."""

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from mmfusion.utils import read_infrared, read_visible, write_bytes

from .runtime import KEY, need, open_graph


def quantize(file: str | Path, pairs: Sequence[tuple], depth16: str = 'full') -> tuple[float, float]:
    """Turn an exported file's convolutions and products to int8, in place.

    The last of them makes the image itself and stays in float32: its steps would be seen as grain. Weights have a scale a
    channel, activations one a tensor, of the range that they have on the calibration pairs.

    Args:
        file: ``.onnx`` of :func:`export`, uint8 in and out.
        pairs: Visible and infrared file of each pair, of the kind that the file will fuse.
        depth16: How files of more than 8 bits become 8.

    Returns:
        Mean and largest difference from the file as it was, in grey levels, over the pairs.

    Raises:
        ValueError: If there are no pairs.
        ImportError: If onnxruntime or onnx is not installed.
    """
    if not pairs:
        raise ValueError(f'{file}: int8 needs pairs to calibrate, such as 16 of those that it will fuse')
    need('onnx')
    need('onnxruntime')
    import onnx
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    class Reader(CalibrationDataReader):
        def __init__(self):
            self.pairs = _read(pairs, depth16)

        def get_next(self):
            pair = next(self.pairs, None)
            return None if pair is None else dict(zip(('vi', 'ir'), pair, strict=True))

    kinds = ['Conv', 'MatMul', 'Gemm']
    last = [node.name for node in onnx.load(file).graph.node if node.op_type in kinds][-1:]
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / 'int8.onnx'
        quantize_static(
            str(file),
            str(target),
            Reader(),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=kinds,
            nodes_to_exclude=last,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )
        model = onnx.load(target)
        text = {entry.key: entry.value for entry in onnx.load(file).metadata_props}[KEY]
        onnx.helper.set_model_props(model, {KEY: text[:-1] + ', "int8": true}'})
        onnx.save(model, target)
        before, after = open_graph(file)[0], open_graph(target)[0]
        total = count = largest = 0
        for pair in _read(pairs, depth16):
            difference = np.abs(before(*pair).astype(int) - after(*pair))
            total, count, largest = total + difference.sum(), count + difference.size, max(largest, difference.max())
        write_bytes(file, target.read_bytes())
    return total / count, float(largest)


def _read(pairs: Sequence[tuple], depth16: str) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Read pairs as a graph takes them."""
    for vi, ir in pairs:
        visible = read_visible(vi, depth16)[..., ::-1].transpose(2, 0, 1)[None]
        infrared = read_infrared(ir, depth16)[None, None]
        yield np.ascontiguousarray(visible), np.ascontiguousarray(infrared)
