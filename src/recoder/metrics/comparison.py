"""Whether one recommender is better than another on the same users."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy import special

from recoder._html import html_table
from recoder.metrics.per_metric import PerMetric, aligned_table, margin_text
from recoder.metrics.ranking import FloatArray

__all__ = ["Comparison", "PairedDifference", "mean_of_known", "standard_error"]

_HEAD = ["metric", "difference", "± stderr", "95 % interval", "p"]


@dataclass(frozen=True)
class PairedDifference:
    """How much higher the first of two results is, over the same users, by the paired t-test.

    Attributes:
        difference: the mean over users of (first - second).
        stderr: its standard error.
        low: lower end of the 95 % confidence interval.
        high: upper end of it.
        p_value: two-sided; how often a difference at least this large would arise if there were none. 1 if no
            user differs.

    Users without a value, NaN, in either are left out. With one user, and for a number of all lists together, only
    the difference is known and the others are NaN; with no user that too.
    """

    difference: float
    stderr: float
    low: float
    high: float
    p_value: float

    @staticmethod
    def of(first_U: FloatArray, second_U: FloatArray) -> PairedDifference:
        """Returns the comparison of two arrays of per-user values, float64 ``[U]``, in the same order."""
        differences_U = first_U - second_U
        freedom = int(np.count_nonzero(~np.isnan(differences_U))) - 1
        mean = mean_of_known(differences_U)
        stderr = standard_error(differences_U)
        # scipy.special, not scipy.stats: the same numbers, and importing it takes a third of the time
        margin = float(special.stdtrit(freedom, 0.975)) * stderr
        return PairedDifference(mean, stderr, mean - margin, mean + margin, _p_value(mean, stderr, freedom))


class Comparison(PerMetric[PairedDifference]):
    """The paired differences of two results, by metric; printed, it is a small table."""

    def __str__(self) -> str:
        return aligned_table([_HEAD, *self._rows()])

    def _repr_html_(self) -> str:
        return html_table(_HEAD, self._rows())

    def _rows(self) -> list[list[str]]:
        return [
            [
                metric.metric_name,
                f"{paired.difference:+.4f}",
                margin_text(paired.stderr),
                "" if math.isnan(paired.low) else f"[{paired.low:+.4f}, {paired.high:+.4f}]",
                "" if math.isnan(paired.p_value) else f"{paired.p_value:.2g}",
            ]
            for metric, paired in self.items()
        ]


def mean_of_known(values_U: FloatArray) -> float:
    """Returns the mean of the values that are not NaN; NaN if all are."""
    known = values_U[~np.isnan(values_U)]
    return float(known.mean()) if len(known) else math.nan


def standard_error(values_U: FloatArray) -> float:
    """Returns the standard error of the mean, ``sd / sqrt(U)`` over the U values that are not NaN.

    NaN for fewer than two.
    """
    known = values_U[~np.isnan(values_U)]
    if len(known) < 2:
        return math.nan
    return float(known.std(ddof=1)) / math.sqrt(len(known))


def _p_value(mean: float, stderr: float, freedom: int) -> float:
    """Returns the two-sided p-value of the t-test that the mean is 0."""
    if stderr == 0:  # every user differs by the same: by nothing, or certainly
        return 1.0 if mean == 0 else 0.0
    return 2 * float(special.stdtr(freedom, -abs(mean / stderr)))
