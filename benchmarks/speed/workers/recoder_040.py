"""recsys-recoder 0.4.0, with names that it needs and that numpy, scipy and its requirements no longer have."""

import sys

import torch  # noqa: F401  # memory is counted from here on
from protocol import Measure, serve
from recoder_tasks import SHARED_TASKS, Task


def mend() -> None:
    """Puts the missing names back; before the first import of the package."""
    import logging

    import numpy
    import scipy.sparse

    vars(numpy)["int"] = int
    scipy.sparse.sputils = scipy.sparse._sputils  # type: ignore[attr-defined]
    sys.modules["scipy.sparse.sputils"] = scipy.sparse._sputils
    sys.modules["glog"] = logging


def mended(name: str):  # type: ignore[no-untyped-def]
    """Returns the task, with the names put back when it measures: memory is counted from before."""

    def prepare(task: Task) -> Measure:
        if name != "memory":
            mend()
            return SHARED_TASKS[name](task)
        measure = SHARED_TASKS[name](task)

        def measure_mended() -> dict[str, object]:
            mend()
            return measure()

        return measure_mended

    return prepare


if __name__ == "__main__":
    serve(
        {name: mended(name) for name in SHARED_TASKS},
        packages=("recsys-recoder", "torch", "numpy", "scipy", "pandas", "pyarrow"),
    )
