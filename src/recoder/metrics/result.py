"""What an evaluation found: a value for each metric and user."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from recoder.errors import ConfigError, DataError, EmptyDataError, ShapeError
from recoder.metrics.comparison import Comparison, PairedDifference, standard_error
from recoder.metrics.metric import Metric
from recoder.metrics.per_metric import PerMetric, aligned_table
from recoder.metrics.ranking import FloatArray, IntArray

__all__ = ["EvaluationResult"]


class EvaluationResult(PerMetric[FloatArray]):
    """A mapping from each metric to its values, one for each user who counts; printed, it is a small table.

    ``result[NDCG(100)]`` and ``result["NDCG@100"]`` are the same float64 ``[U]``; so it is with ``mean`` and
    ``stderr``.

    Args:
        values: each metric's values, ``[U]``.
        users: int64 ``[U]``: the row in the data set of each user.

    Attributes:
        users: as passed.

    Raises:
        EmptyDataError: if there are no users.
        ShapeError: if a metric does not have one value for each user.
    """

    users: IntArray

    def __init__(self, values: Mapping[Metric, npt.ArrayLike], users: npt.ArrayLike) -> None:
        super().__init__({metric: np.asarray(array, dtype=np.float64) for metric, array in values.items()})
        self.users = np.asarray(users, dtype=np.int64)
        if self.users.size == 0:
            raise EmptyDataError("a result needs at least one user")
        for metric, array in self.items():
            if array.shape != self.users.shape:
                raise ShapeError(f"{metric} has values of shape {array.shape} for users of shape {self.users.shape}")

    @property
    def mean(self) -> PerMetric[float]:
        """Each metric's mean over the users."""
        return PerMetric({metric: float(values_U.mean()) for metric, values_U in self.items()})

    @property
    def stderr(self) -> PerMetric[float]:
        """Each mean's standard error, ``sd / sqrt(U)`` with the sample's sd; NaN for a single user."""
        return PerMetric({metric: standard_error(values_U) for metric, values_U in self.items()})

    def compare(self, other: EvaluationResult) -> Comparison:
        """Returns how much higher this result is in each metric that both have: a paired t-test over users.

        Both must come from the same data set; that the rows are the same is checked, what stands in them is
        not.

        Raises:
            DataError: if the results are not of the same users in the same order.
            ConfigError: if they have no metric in common.
        """
        self._check_same_users(other)
        shared = [metric for metric in self if metric in other]
        if not shared:
            raise ConfigError(f"the results share no metric: {list(self)} against {list(other)}")
        return Comparison({metric: PairedDifference.of(self[metric], other[metric]) for metric in shared})

    def _check_same_users(self, other: EvaluationResult) -> None:
        if np.array_equal(self.users, other.users):
            return
        differing = len(np.setxor1d(self.users, other.users))
        how = f"{differing} users are in only one of them" if differing else "the users stand in another order"
        raise DataError(
            f"a paired comparison needs results of the same users, but {how}; "
            "evaluate both on the same data set with the same num_users"
        )

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, EvaluationResult)
            and list(self) == list(other)
            and np.array_equal(self.users, other.users)
            and all(np.array_equal(self[metric], other[metric], equal_nan=True) for metric in self)
        )

    def __str__(self) -> str:
        users = str(len(self.users))
        rows = [
            [metric.metric_name, f"{self.mean[metric]:.4f}", f"± {self.stderr[metric]:.4f}", users] for metric in self
        ]
        return aligned_table([["metric", "mean", "± stderr", "users"], *rows])

    def __repr__(self) -> str:
        return f"EvaluationResult({len(self.users)} users, {', '.join(m.metric_name for m in self)})"
