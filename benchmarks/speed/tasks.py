"""Tasks as most measurements want them."""

from __future__ import annotations

from benchmarks.speed.data import Sizes
from benchmarks.speed.works import Floor, Training

__all__ = ["MAIN", "OLD", "floor_of", "training"]

OLD = "recoder-0.4.0"
MAIN = "ml20m-like"


def training(sizes: Sizes, **settings: object) -> Training:
    """Returns a training run in these sizes, with settings of ``Training`` besides."""
    is_sparse = bool(settings.get("sparse"))
    defaults = {
        "data": MAIN,
        "factors": sizes.factors,
        "batch_size": sizes.batch_size,
        "steps": sizes.steps,
        "warm_up": sizes.warm_up * (3 if is_sparse else 1),
    }
    return Training(**{**defaults, **settings})  # type: ignore[arg-type]


def floor_of(task: Training, kind: str = "scores") -> Floor:
    """Returns the products that a step of this training cannot do without; ``kind`` as of ``Floor``."""
    return Floor(
        data=task.data,
        kind=kind,
        factors=task.factors,
        precision=task.precision,
        candidates=task.candidates,
        batch_size=task.batch_size,
    )
