"""What a run is asked to do: one tree of settings, which a TOML file, the command line and a model file write down."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, is_dataclass, replace
from datetime import date
from typing import Any, Literal, TypeVar

__all__ = [
    "Config",
    "DataConfig",
    "ModelConfig",
    "OutputConfig",
    "SplitConfig",
    "TrainingConfig",
    "TuneConfig",
    "changed",
]

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Where the interactions are, and what they mean.

    Attributes:
        path: a Parquet or text file with a row for each interaction, or the name of a public data set.
        user: the column of user ids. None: found by its name, like the next four.
        item: the column of item ids.
        weight: the column of weights; the empty string: there is none, like the next two.
        time: the column of times.
        title: the column of item titles.
        separator: between the fields of a text file. None: by the file's name or its first line.
        names: what the columns of a text file are called, where its first line does not say so.
        encoding: of a text file.
        quote: the character around fields of a text file that hold separators; the empty string: there is none.
        text_ids: ids are text, even where they look like numbers.
        min_weight: interactions that weigh less are left out.
        binary: every interaction counts 1, whatever it weighs.
    """

    path: str | None = None
    user: str | None = None
    item: str | None = None
    weight: str | None = None
    time: str | None = None
    title: str | None = None
    separator: str | None = None
    names: tuple[str, ...] | None = None
    encoding: str = "utf8"
    quote: str = '"'
    text_ids: bool = False
    min_weight: float = 0.0
    binary: bool = True


@dataclass(frozen=True, kw_only=True)
class SplitConfig:
    """Which part of the interactions is to judge by; see ``recoder.data``.

    Attributes:
        kind: ``"none"``: all are trained on.
        seed: of the draw (strong, random).
        valid: share of the users who validate (strong).
        test: share of the users who test (strong).
        fold_in: share of a held-out user's interactions that is the history (strong).
        min_interactions: of a user who may be held out (strong).
        fraction: share of the interactions to judge by (random, time).
        last: how many of each user's latest interactions to judge by (last).
        moment: date, date-time or Unix second from which on interactions are to judge by (time). None: ``fraction``
            says.
    """

    kind: Literal["none", "strong", "random", "last", "time"] = "none"
    seed: int = 7
    valid: float = 0.1
    test: float = 0.1
    fold_in: float = 0.8
    min_interactions: int = 2
    fraction: float = 0.2
    last: int = 1
    moment: int | str | date | None = None


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """What is trained.

    Attributes:
        recipe: the name of one of ``recoder.recipes``.
        settings: other arguments than it has, of the model's class, of ``Recoder`` or of ``Recoder.train``.
    """

    recipe: str = "autoencoder"
    settings: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """How it is trained, beside its settings.

    Attributes:
        seed: of everything that is drawn.
        device: where to compute: ``cpu``, ``cuda`` or ``cuda:1``.
        metrics: of validation and test, such as ``NDCG@100``.
        early_stopping: the metric that says when training is to end, or ``"loss"``. None: it goes on to its end.
        patience: epochs without a better one before it ends.
    """

    seed: int = 7
    device: str = "cpu"
    metrics: tuple[str, ...] = ("Recall@20", "Recall@50", "NDCG@100")
    early_stopping: str | None = None
    patience: int = 5


@dataclass(frozen=True, kw_only=True)
class OutputConfig:
    """What is written.

    Attributes:
        model: the model file.
        histories: keep the users' ids and what they interacted with in it.
        log: a file of the history, ``.csv`` or ``.jsonl``, that grows with each epoch.
        checkpoint_every: epochs between checkpoints; 0: only where training is interrupted.
    """

    model: str | None = None
    histories: bool = False
    log: str | None = None
    checkpoint_every: int = 0


@dataclass(frozen=True, kw_only=True)
class TuneConfig:
    """How settings are looked for; ``recoder tune`` alone uses it.

    Attributes:
        trials: how many in total, those in the study included.
        minutes: after which no trial is started. None: no limit.
        metric: what is to be as large as possible.
        study: the file that a stopped tuning goes on from. None: beside the model.
    """

    trials: int = 20
    minutes: float | None = None
    metric: str = "NDCG@100"
    study: str | None = None


@dataclass(frozen=True, kw_only=True)
class Config:
    """All of it."""

    data: DataConfig = field(default_factory=DataConfig)
    split: SplitConfig = field(default_factory=SplitConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    output: OutputConfig = field(default_factory=OutputConfig)
    tune: TuneConfig = field(default_factory=TuneConfig)


def changed(settings: T, changes: Mapping[str, Any]) -> T:
    """Returns settings with some of them changed.

    Args:
        settings: a dataclass.
        changes: by the fields' names, those of a section as a mapping again, whose keys are added where it is not a
            dataclass; None: leave it as it is.
    """

    def merged(old: Any, new: Any) -> Any:
        if not isinstance(new, Mapping):
            return new
        return changed(old, new) if is_dataclass(old) else {**old, **new}

    return replace(
        settings,  # type: ignore[type-var]  # a dataclass
        **{name: merged(getattr(settings, name), change) for name, change in changes.items() if change is not None},
    )
