"""A split as a configuration says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from recoder.cli.config import SplitConfig
from recoder.data import HeldOut, Interactions
from recoder.data.splits.results import JsonValue
from recoder.data.splits.strong import held_out_groups
from recoder.errors import ConfigError, DataError

__all__ = ["NEEDS_TIMES", "OPTIONS_OF", "Parts", "check_options", "make_split"]

OPTIONS_OF: Mapping[str, tuple[str, ...]] = {
    "strong": ("seed", "valid", "test", "fold_in", "min_interactions"),
    "random": ("seed", "fraction"),
    "last": ("last",),
    "time": ("fraction", "moment"),
}
"""The settings that each kind of split uses."""

NEEDS_TIMES = ("last", "time")
"""The kinds of split that look at when interactions happened."""


@dataclass(frozen=True)
class Parts:
    """The parts of interactions.

    Attributes:
        train: to learn from.
        valid: users to validate with; None where there are none.
        test: users to test with, likewise. Their histories are in ``train``, unless the split is of users.
        protocol: how they were made, as JSON values.
    """

    train: Interactions
    valid: HeldOut | None
    test: HeldOut | None
    protocol: Mapping[str, JsonValue]


def check_options(kind: str, given: Mapping[str, Any]) -> None:
    """Checks that the options that were given are used by this kind of split.

    Raises:
        ConfigError: if not, or if nothing is to be split.
    """
    if kind not in OPTIONS_OF:
        raise ConfigError(f"say how to split: --kind {', '.join(OPTIONS_OF)}")
    for name, value in given.items():
        if value is not None and name not in OPTIONS_OF[kind]:
            fitting = [other for other, names in OPTIONS_OF.items() if name in names]
            raise ConfigError(
                f"--{name.replace('_', '-')} is for --kind {' or '.join(fitting)}; the split {kind!r} does not use it"
            )


def make_split(interactions: Interactions, split: SplitConfig) -> Parts:
    """Returns the parts.

    Raises:
        ConfigError, DataError, EmptyDataError: as ``Interactions.split``.
    """
    if split.kind in NEEDS_TIMES and interactions.times is None:
        raise DataError(f"the split {split.kind!r} needs times, and there are none; say which column has them: --time")
    if split.kind == "none":
        return Parts(interactions, None, None, {"name": "none"})
    if split.kind == "strong":
        return _held_out_users(interactions, split)
    arguments: dict[str, Any]
    if split.kind == "random":
        arguments = {"fraction": split.fraction, "seed": split.seed}
    elif split.kind == "last":
        arguments = {"k": split.last}
    else:
        arguments = {"fraction": split.fraction} if split.moment is None else {"time": split.moment}
    made = interactions.split(split.kind, **arguments)
    return Parts(made.train, None, made.test, made.protocol)


def _held_out_users(interactions: Interactions, split: SplitConfig) -> Parts:
    wanted = {name: _number(share) for name, share in (("valid", split.valid), ("test", split.test)) if share}
    if not wanted:
        raise ConfigError("both valid and test are 0, so nobody is held out; give a share of the users to one of them")
    train, groups, protocol = held_out_groups(
        interactions, wanted, fold_in=split.fold_in, seed=split.seed, min_interactions=split.min_interactions
    )
    return Parts(train, groups.get("valid"), groups.get("test"), protocol)


def _number(share: float) -> float:
    """Returns a share, or a whole number of users, which a file may have as 100.0."""
    return int(share) if share >= 1 and share == int(share) else share
