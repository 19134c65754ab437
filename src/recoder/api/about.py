"""What a fitted model knows of itself beside its parameters, as it stands in its file."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from scipy import sparse

from recoder.data.mapped import entry_blocks
from recoder.data.native_frames import DEFAULT_LIBRARY, checked_library
from recoder.errors import ConfigError
from recoder.metrics import EvaluationResult
from recoder.training.history import History

__all__ = ["About", "epochs_of", "facts_of"]


@dataclass
class About:
    """What is remembered.

    Attributes:
        recipe: its name; None for a model of the user's own.
        model: the arguments of the model's class; empty for a model that was passed as an object.
        recoder: the arguments of ``Recoder``.
        train: the arguments of ``Recoder.train``.
        num_epochs: epochs that its training took, those after the best one left out; 0: as many as ``train`` says.
        library: of data frames to answer in.
        num_users: users that the model learnt from.
        num_interactions: their interactions.
        with_weights: whether any of these weighs another number than 1.
        metrics: of each evaluation of the model as it is: the number of ``users``, and by metric ``mean`` and
            ``stderr``.
        more: JSON values that a program keeps with the model, such as the configuration that it was made by.
    """

    recipe: str | None = None
    model: dict[str, Any] = field(default_factory=dict)
    recoder: dict[str, Any] = field(default_factory=dict)
    train: dict[str, Any] = field(default_factory=dict)
    num_epochs: int = 0
    library: str = DEFAULT_LIBRARY
    num_users: int = 0
    num_interactions: int = 0
    with_weights: bool = False
    metrics: list[dict[str, Any]] = field(default_factory=list)
    more: dict[str, Any] = field(default_factory=dict)

    def add_result(self, result: EvaluationResult) -> None:
        """Remembers an evaluation."""
        of_metrics = {
            str(metric): {"mean": _finite(mean), "stderr": _finite(result.stderr[metric])}
            for metric, mean in result.mean.items()
        }
        self.metrics.append({"users": len(result.users), "metrics": of_metrics})

    def to_json(self) -> dict[str, Any]:
        """Returns it as JSON values."""
        return asdict(self)

    @staticmethod
    def from_json(values: Any) -> About:
        """Returns what ``to_json`` gave.

        Raises:
            ConfigError, TypeError: if it was something else.
        """
        about = About(**values)
        for name, default in vars(About()).items():
            value = getattr(about, name)
            if name != "recipe" and type(value) is not type(default):
                raise ConfigError(f"{name} is a {type(value).__name__}, not a {type(default).__name__}")
        checked_library(about.library)
        return about


def epochs_of(history: History) -> int:
    """Returns the epochs that a training took, those after the best one left out."""
    return history.best_epoch or len(history)


def facts_of(matrix: sparse.csr_matrix) -> dict[str, Any]:
    """Returns the attributes of ``About`` that follow from what a model learns from, ``[U, N]``."""
    weighs = any(bool((matrix.data[block] != 1).any()) for block in entry_blocks(int(matrix.nnz)))
    return {"num_users": int(matrix.shape[0]), "num_interactions": int(matrix.nnz), "with_weights": weighs}


def _finite(value: float) -> float | None:
    return value if value == value and abs(value) != float("inf") else None
