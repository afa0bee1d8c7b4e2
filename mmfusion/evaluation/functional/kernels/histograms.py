"""Joint histograms of two images."""

import numpy as np

from .compiled import compiled


@compiled
def joint_counts(a: np.ndarray, b: np.ndarray, levels: int) -> np.ndarray:
    """Count pairs of levels in two H×W images; levels², int64."""
    counts, last = np.zeros(levels * levels, np.int64), levels - 1
    height, width = a.shape
    codes = np.empty(width, np.int64)
    for row in range(height):
        one, other = a[row], b[row]
        for x in range(width):
            level = min(max(np.rint(one[x]), 0.0), last)
            codes[x] = np.int64(level * levels + min(max(np.rint(other[x]), 0.0), last))
        for x in range(width):
            counts[codes[x]] += 1
    return counts
