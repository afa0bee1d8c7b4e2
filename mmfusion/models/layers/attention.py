"""Attention by scaled dot products."""

import torch.nn.functional as F
from torch import Tensor

from .padding import exporting_file


def attention(
    query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None = None, scale: float | None = None
) -> Tensor:
    """Compute softmax(scale · Q Kᵀ + bias) V.

    One kernel does it, but in files: of it exporters know four dimensions alone, and not its strides.

    Args:
        query, key, value: …×tokens×C.
        bias: What is added to the products; of four dimensions, or the kernel is not used.
        scale: By default 1 / √C.
    """
    if not exporting_file():
        return F.scaled_dot_product_attention(query, key, value, attn_mask=bias, scale=scale)
    energy = query @ key.transpose(-1, -2) * (query.shape[-1] ** -0.5 if scale is None else scale)
    return (energy if bias is None else energy + bias).softmax(-1) @ value
