"""Charts of one line."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["log_histogram", "sparkline", "time_histogram"]

_BLOCKS = "▁▂▃▄▅▆▇█"


def sparkline(counts: npt.ArrayLike) -> str:
    """Returns a bar for each count, the tallest for the largest; a dot for 0."""
    heights = np.asarray(counts, dtype=float)
    largest = heights.max(initial=0)
    if largest <= 0:
        return "·" * len(heights)
    levels = np.ceil(heights / largest * len(_BLOCKS)).astype(int)
    return "".join(_BLOCKS[level - 1] if level else "·" for level in levels)


def log_histogram(counts: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Returns how many of some counts (at least 1) are 1, 2 to 3, 4 to 7, 8 to 15, and so on."""
    return np.bincount(np.floor(np.log2(counts)).astype(np.int64))


def time_histogram(times: npt.NDArray[np.int64], num_bins: int) -> npt.NDArray[np.int64]:
    """Returns how many of some times are in each of so many parts of equal length from the first to the last."""
    return np.histogram(times, bins=num_bins)[0]
