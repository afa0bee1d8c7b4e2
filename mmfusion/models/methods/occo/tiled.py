"""FIFN on too large images: tiles with the whole's result.

What FIFN takes from the whole image are sums and maxima: the pooled features of the channel weights, the Gram matrices of
the attention, and the extrema of the output. They are gathered over the tiles in passes of their own; each tile is read
with a margin as wide as the receptive field, and the decoder's upsampling, whose ``align_corners`` makes it depend on the
size of the image, is done at the tile's place in the image.
"""

from typing import NamedTuple

import torch

from mmfusion.models.layers.min_max import min_max_normalize

from .fast import gram, to_tokens

LEVELS = 4
STEP = 2 ** (LEVELS - 1)  # pixels of the finest level in one of the coarsest
# Receptive fields in pixels, rounded up to whole STEPs. Encoder: two 3×3 convs a level, 2 (1 + 2 + 4 + 8) = 30. After it:
# FIFB's depth-wise conv 8, and on each level of the decoder an upsampling (up to two coarse pixels) and two 3×3 convs,
# 16 + 8 + 8 + 4 + 4 + 2 = 42.
ENCODER_MARGIN = 32
MARGIN = 88


class Span(NamedTuple):
    """A tile's stretch: what it answers for, and what it reads.

    ``core`` and ``outer`` are rows or columns, half-open.
    """

    core: tuple
    outer: tuple

    def at(self, level):
        """The same on a coarser level, rounded down as pooling does."""
        return Span(*(tuple(p >> level for p in part) for part in self))

    def inner(self, level):
        """The core within the outer part on a level, as a slice."""
        core, outer = self.at(level)
        return slice(core[0] - outer[0], core[1] - outer[0])


def spans(size, tile, margin):
    """Cut ``size`` pixels into spans of ``tile``, borders at STEP's multiples."""
    tile = max(STEP, tile // STEP * STEP)
    # A last tile of fewer than STEP pixels would vanish on the coarsest level; the one before takes it.
    starts = [s for s in range(0, size, tile) if s == 0 or size - s >= STEP]
    ends = [*starts[1:], size]
    return [Span((a, b), (max(0, a - margin), min(size, b + margin))) for a, b in zip(starts, ends, strict=True)]


def upsample_at(x, row, column, size, level):
    """Enlarge a piece of a map of ``level + 1`` at its place.

    Args:
        x (Tensor): N×C×h×w, the outer part of the tile on level ``level + 1``.
        row, column (Span): The tile.
        size (tuple[int, int]): The image's height and width.
        level (int): Level of the result.
    """
    for dim, span, length in ((2, row, size[0]), (3, column, size[1])):
        coarse = length >> (level + 1)
        first, last = span.at(level + 1).outer
        target = torch.arange(2 * first, 2 * last, device=x.device, dtype=torch.float64)
        source = target * ((coarse - 1) / (2 * coarse - 1))
        low = source.floor()
        weight = (source - low).to(x.dtype).view([-1 if d == dim else 1 for d in range(4)])
        # At a cut border the neighbour may lie outside the piece; such pixels are in the margin.
        low = (low.long() - first).clamp(0, last - first - 1)
        high = (low + 1).clamp(max=last - first - 1)
        x = torch.lerp(x.index_select(dim, low), x.index_select(dim, high), weight)
    return x


class TiledFusion:
    """One image through FIFN, tile by tile.

    Args:
        network (FIFN): In eval mode, with linear attention.
        vi, ir (Tensor): N×1×H×W in [0, 1].
        tile (tuple[int, int]): Height and width of a tile without its margin.
    """

    def __init__(self, network, vi, ir, tile):
        self.network, self.vi, self.ir = network, vi, ir
        self.size, self.tile = tuple(vi.shape[2:]), tile

    def _tiles(self, margin):
        for row in spans(self.size[0], self.tile[0], margin):
            for column in spans(self.size[1], self.tile[1], margin):
                yield row, column

    def _encode(self, row, column):
        """Features of both modalities on each level, outer part: [(vi, ir), …]."""
        place = (..., slice(*row.outer), slice(*column.outer))
        encode = self.network.encode
        return list(zip(encode('vi', self.vi[place]), encode('ir', self.ir[place]), strict=True))

    def _cores(self, row, column):
        """The same, core only."""
        for level, pair in enumerate(self._encode(row, column)):
            yield level, [x[:, :, row.inner(level), column.inner(level)] for x in pair]

    def _weights(self):
        """First pass: channel weights of each level."""
        if self.network.fifb[0].channel is None:
            return [(None, None)] * LEVELS
        mean, peak = [0.0] * LEVELS, [None] * LEVELS
        for row, column in self._tiles(ENCODER_MARGIN):
            for level, pair in self._cores(row, column):
                pixels = (self.size[0] >> level) * (self.size[1] >> level)
                mean[level] = mean[level] + torch.cat([x.sum((2, 3)) for x in pair], dim=1) / pixels
                highest = torch.cat([x.amax((2, 3)) for x in pair], dim=1)
                peak[level] = highest if peak[level] is None else torch.maximum(peak[level], highest)
        return [f.channel_weights(m, p) for f, m, p in zip(self.network.fifb, mean, peak, strict=True)]

    def _contexts(self, weights):
        """Second pass: attention contexts of each level."""
        if self.network.fifb[0].attention is None:
            return [None] * LEVELS
        grams = [[0.0, 0.0] for _ in range(LEVELS)]
        for row, column in self._tiles(ENCODER_MARGIN):
            for level, pair in self._cores(row, column):
                fifb = self.network.fifb[level]
                tokens = fifb.attention_tokens(*(to_tokens(x) for x in pair), weights[level])
                for k, t in enumerate(tokens):
                    grams[level][k] = grams[level][k] + gram(t)
        return [
            tuple(f.context(m, g) for m, g in zip(('vi', 'ir'), pair, strict=True))
            for f, pair in zip(self.network.fifb, grams, strict=True)
        ]

    def run(self):
        """All passes; N×1×H×W in [0, 1]."""
        weights = self._weights()
        contexts = self._contexts(weights)
        raw = torch.empty(self.vi.shape, dtype=torch.float32, device=self.vi.device)
        for row, column in self._tiles(MARGIN):
            fused = [
                fifb.fuse(*pair, w, c)
                for fifb, pair, w, c in zip(
                    self.network.fifb, self._encode(row, column), weights, contexts, strict=True
                )
            ]

            def upsample(x, level, row=row, column=column):
                return upsample_at(x, row, column, self.size, level)

            piece = self.network.decode(fused, upsample)
            raw[:, :, slice(*row.core), slice(*column.core)] = piece[:, :, row.inner(0), column.inner(0)]
        return min_max_normalize(raw, per_image=True)
