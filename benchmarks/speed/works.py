"""What a measurement is, and what the table says of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

__all__ = [
    "OURS",
    "Curve",
    "Evaluate",
    "Floor",
    "Frame",
    "Measurement",
    "Plot",
    "Rank",
    "Row",
    "Side",
    "Task",
    "Training",
]

OURS = "ours"
"""The name of our own environment, beside those of the rivals."""


@dataclass(frozen=True)
class Training:
    """A training run: what is measured of it is in ``task``.

    Attributes:
        data: name of a data set.
        task: ``"step"`` (median step), ``"memory"`` (peak above that after ``import torch``) or ``"epochs"`` (whole).
        candidates: ``"sampled"`` or ``"all"``.
        warm_up: steps that are left out.
        steps: steps (of ``"epochs"``: epochs) that are counted.
    """

    data: str
    task: str = "step"
    model: str = "autoencoder"
    factors: int = 200
    sparse: bool = False
    loss: str = "logistic"
    precision: str = "fp32"
    candidates: str = "sampled"
    batch_size: int = 500
    warm_up: int = 10
    steps: int = 10
    device: str = "cpu"


@dataclass(frozen=True)
class Floor:
    """The products of the output layer that no step can do without, and nothing else.

    Attributes:
        kind: ``"scores"`` (scores and both gradients: three products) or ``"gram"`` (the two of a Gram loss).
        candidates: as of ``Training``; sampled: as many items as batches of ``data`` have on average.
    """

    data: str
    task: str = "floor"
    kind: str = "scores"
    factors: int = 200
    precision: str = "fp32"
    candidates: str = "sampled"
    batch_size: int = 500


@dataclass(frozen=True)
class Rank:
    """The best items of ``users`` users in one call, those they have seen left out."""

    data: str
    task: str = "recommend"
    users: int = 10_000
    count: int = 100
    factors: int = 200
    precision: str = "fp32"


@dataclass(frozen=True)
class Evaluate:
    """Recall@20, Recall@50 and NDCG@100 of users with held-out items."""

    data: str
    target: str
    users: int
    task: str = "evaluate"
    factors: int = 200
    batch_size: int = 500


@dataclass(frozen=True)
class Frame:
    """A frame of string ids to a matrix, from ``"pandas"`` or ``"polars"``."""

    data: str
    rows: int
    frame: str
    task: str = "frame"


Task = Training | Floor | Rank | Evaluate | Frame


@dataclass(frozen=True)
class Side:
    """One of those that take turns: an environment (``OURS`` or a rival's name) and what it does there."""

    environment: str
    task: Task


@dataclass(frozen=True)
class Measurement:
    """Sides that take turns in one run.

    Attributes:
        name: of the measurement, as in ``--only``.
        sides: by name.
        rounds: samples of each side, at least.
        is_fresh: every sample has a process of its own.
    """

    name: str
    sides: Mapping[str, Side]
    rounds: int = 5
    is_fresh: bool = False

    def settings(self) -> dict[str, Any]:
        """Returns what was measured as JSON values, to compare with an earlier run."""
        return {name: asdict(side) for name, side in self.sides.items()}


@dataclass(frozen=True)
class Row:
    """A line of the table: one side against another.

    Attributes:
        work: what is done, for people.
        measurement: its name.
        ours, theirs: sides of it; ``theirs`` None: ``limit`` is one of our own value.
        unit: ``"ms"``, ``"s"``, ``"MiB"``, ``"users/s"`` or ``"us/user"``.
        per: users that a measured value is of, for the units with users: (ours, theirs).
        at_least: how many times better ours must be; None: no requirement.
        at_most: how large ours may be, as a multiple of theirs, or in the row's unit.
        is_quotient: the ratio is ours over theirs, not theirs over ours.
    """

    work: str
    measurement: str
    ours: str
    theirs: str | None
    unit: str = "ms"
    per: tuple[int, int] = (1, 1)
    at_least: float | None = None
    at_most: float | None = None
    is_quotient: bool = False


@dataclass(frozen=True)
class Curve:
    """One line of a plot: a measurement and a side of it for each place on the axis."""

    label: str
    points: Mapping[int, tuple[str, str]]


@dataclass(frozen=True)
class Plot:
    """How a cost grows.

    Attributes:
        name: of the picture's file.
        title, axis, unit: for people; ``unit`` as of ``Row``.
        curves: the lines.
        users: users that a measured value is of.
    """

    name: str
    title: str
    axis: str
    unit: str
    curves: tuple[Curve, ...]
    users: int = 1
