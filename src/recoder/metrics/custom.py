"""Metrics that are known only by their ``evaluate(x, y)``: a loop over users, here or in worker processes.

Sizes: B users, C ranks, M metrics.
"""

from __future__ import annotations

import contextlib
import pickle
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass

import numpy as np
import torch

from recoder.errors import ConfigError
from recoder.metrics.metric import Metric
from recoder.metrics.ranking import FloatArray, IntArray

__all__ = ["Submit", "UserLists", "check_can_be_sent", "custom_metric_runner"]


_USERS_PER_TASK = 256  # enough to outweigh the sending, few enough to keep all workers busy


@dataclass(frozen=True)
class UserLists:
    """What some users were recommended and what is relevant to them.

    Attributes:
        ranked_BC: int64 ``[B, C]``, best first; negative where there is none.
        offsets: ``[B + 1]``; the relevant items of user ``u`` are ``cols[offsets[u] : offsets[u + 1]]``.
        cols: ascending for each user.
    """

    ranked_BC: IntArray
    offsets: IntArray
    cols: IntArray

    def split(self, num_users: int) -> Iterator[UserLists]:
        """Yields the same by so many users at a time."""
        for start in range(0, len(self.ranked_BC), num_users):
            bounds = self.offsets[start : start + num_users + 1]
            cols = self.cols[bounds[0] : bounds[-1]]
            yield UserLists(self.ranked_BC[start : start + num_users], bounds - bounds[0], cols)

    def __iter__(self) -> Iterator[tuple[list[int], list[int]]]:
        """Yields each user's recommended and relevant items."""
        for user, row in enumerate(self.ranked_BC):
            relevant = self.cols[self.offsets[user] : self.offsets[user + 1]]
            yield row[row >= 0].tolist(), relevant.tolist()


Submit = Callable[[UserLists], Callable[[], FloatArray]]
"""Takes some users; returns a function that waits for their values, float64 ``[M, B]``."""


@contextlib.contextmanager
def custom_metric_runner(metrics: Sequence[Metric], num_workers: int) -> Iterator[Submit]:
    """Yields what evaluates ``metrics`` on users handed to it: at once, or in worker processes meanwhile.

    The processes are started as ``multiprocessing`` is set to start them, and end with the context.

    Raises:
        ConfigError: if the processes end before they should.
    """
    if not metrics or num_workers == 0:
        yield lambda lists: _done(_evaluate(metrics, lists))
        return
    pool = ProcessPoolExecutor(num_workers, initializer=_start_worker, initargs=(tuple(metrics),))
    try:
        yield lambda lists: _in_workers(pool, lists)
    except BrokenProcessPool as error:
        raise ConfigError(
            f"the worker processes ended before they had evaluated {', '.join(map(str, metrics))}; "
            "define custom metrics in a module that can be imported, guard a script by "
            "if __name__ == '__main__', or use num_workers=0"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def _in_workers(pool: ProcessPoolExecutor, lists: UserLists) -> Callable[[], FloatArray]:
    futures = [pool.submit(_evaluate_in_worker, part) for part in lists.split(_USERS_PER_TASK)]
    return lambda: np.concatenate([future.result() for future in futures], axis=1)


def _done(values_MB: FloatArray) -> Callable[[], FloatArray]:
    return lambda: values_MB


def _evaluate(metrics: Sequence[Metric], lists: UserLists) -> FloatArray:
    if not metrics:
        return np.empty((0, len(lists.ranked_BC)))
    values_BM = [[float(metric.evaluate(x, y)) for metric in metrics] for x, y in lists]
    values_MB: FloatArray = np.array(values_BM, dtype=np.float64).reshape(len(lists.ranked_BC), len(metrics)).T
    return values_MB


def check_can_be_sent(metrics: Sequence[Metric]) -> None:
    """Checks that worker processes can be given these metrics.

    Raises:
        ConfigError: if they cannot.
    """
    for metric in metrics:
        try:
            pickle.dumps(metric)
        except Exception as error:  # pickle raises whatever the object's own hooks raise
            raise ConfigError(
                f"the metric {metric} cannot be sent to a worker process ({error}); "
                "define its class at the top level of a module, or use num_workers=0"
            ) from error


# a worker serves one pool, hence one list of metrics: they are sent once, not with each user
_worker_metrics: tuple[Metric, ...] = ()


def _start_worker(metrics: tuple[Metric, ...]) -> None:
    global _worker_metrics
    _worker_metrics = metrics
    # Ctrl-C, which a terminal sends to all processes, is for the one that asked
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # a forked child that enters its parent's OpenMP pool hangs; and the workers share the cores anyway
    torch.set_num_threads(1)


def _evaluate_in_worker(lists: UserLists) -> FloatArray:
    return _evaluate(_worker_metrics, lists)
