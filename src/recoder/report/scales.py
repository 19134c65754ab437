"""From values to places in a picture, and the values to write on an axis."""

from __future__ import annotations

import math
from dataclasses import dataclass

__all__ = ["Scale"]


@dataclass(frozen=True)
class Scale:
    """Maps ``[low, high]`` to ``[start, end]``.

    Attributes:
        low: least value; above 0 for logarithms.
        high: greatest value, above ``low``.
        start: the place of ``low``.
        end: the place of ``high``.
        is_log: equal steps are equal factors.
    """

    low: float
    high: float
    start: float
    end: float
    is_log: bool = False

    def __call__(self, value: float) -> float:
        """Returns the place of a value."""
        low, high, at = (math.log(x) if self.is_log else x for x in (self.low, self.high, value))
        return self.start + (self.end - self.start) * (at - low) / (high - low)

    def ticks(self, about: int, *, whole: bool = False) -> list[float]:
        """Returns round values in the range, about so many.

        Args:
            about: how many.
            whole: whole numbers only.
        """
        return self._log_ticks() if self.is_log else self._linear_ticks(about, whole)

    def _linear_ticks(self, about: int, whole: bool) -> list[float]:
        rough = (self.high - self.low) / about
        power = 10.0 ** math.floor(math.log10(rough))
        step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= 0.999 * rough)
        if whole:
            step = max(1.0, step)
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        return [number * step for number in range(first, last + 1)]

    def _log_ticks(self) -> list[float]:
        powers = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
        factors = (1,) if len(powers) > 3 else (1, 2, 5)
        every = [factor * 10.0**power for power in powers for factor in factors]
        return [tick for tick in every if self.low * 0.999 <= tick <= self.high * 1.001]
