"""A split by its short name, for those who type."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from recoder.data.interactions import Interactions
from recoder.data.splits.by_time import global_time, leave_last_out
from recoder.data.splits.random import random_holdout
from recoder.data.splits.results import HoldoutSplit, StrongSplit
from recoder.data.splits.strong import strong_generalization
from recoder.errors import ConfigError

__all__ = ["SPLITS", "split_by_name"]

SPLITS: Mapping[str, tuple[Callable[..., Any], Mapping[str, Any]]] = {
    "strong": (strong_generalization, {"num_valid_users": 0.1, "num_test_users": 0.1}),
    "random": (random_holdout, {}),
    "last": (leave_last_out, {}),
    "time": (global_time, {}),
}
"""Each split and the arguments that it gets unless they are passed."""


def split_by_name(interactions: Interactions, kind: str, arguments: Mapping[str, Any]) -> StrongSplit | HoldoutSplit:
    """Returns a split; see ``Interactions.split``.

    Raises:
        ConfigError: if there is no such kind, or an argument is missing or unknown.
    """
    if kind not in SPLITS:
        raise ConfigError(f"there is no split {kind!r}; choose one of {', '.join(SPLITS)}")
    split, defaults = SPLITS[kind]
    known = list(inspect.signature(split).parameters.values())[1:]
    names = ", ".join(parameter.name for parameter in known)
    for name in arguments:
        if name not in {parameter.name for parameter in known}:
            raise ConfigError(f"the split {kind!r} has no argument {name!r}; it takes {names}")
    passed = {**defaults, **arguments}
    for parameter in known:
        if parameter.default is parameter.empty and parameter.name not in passed:
            raise ConfigError(f"the split {kind!r} needs {parameter.name}, as in split({kind!r}, {parameter.name}=7)")
    made: StrongSplit | HoldoutSplit = split(interactions, **passed)
    return made
