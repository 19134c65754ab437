"""This version of Recoder."""

import torch  # noqa: F401  # memory is counted from here on
from protocol import serve
from recoder_tasks import SHARED_TASKS


def lazily(name):  # type: ignore[no-untyped-def]
    """Returns a task of ``our_tasks``, imported when it is prepared: memory is counted from before."""

    def prepare(task):  # type: ignore[no-untyped-def]
        import our_tasks

        return getattr(our_tasks, name)(task)

    return prepare


def kernels():  # type: ignore[no-untyped-def]
    """Returns whether the compiled kernels are there."""
    from recoder.ops.kernels import library

    return {"kernels": "none" if library() is None else "compiled"}


if __name__ == "__main__":
    serve(
        SHARED_TASKS
        | {
            "floor": lazily("prepare_floor"),
            "recommend": lazily("prepare_recommend"),
            "epochs": lazily("prepare_epochs"),
        },
        packages=("recsys-recoder", "torch", "numpy", "scipy", "pandas", "pyarrow", "polars"),
        more=kernels,
    )
