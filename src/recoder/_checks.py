"""Checking single arguments: each returns the value as Python's own, or says what is wrong with it."""

from __future__ import annotations

import math
import operator
import os
from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any

from recoder.errors import ConfigError

__all__ = ["check_unknown", "nearest", "non_negative", "path_text", "whole_number"]


def whole_number(name: str, value: Any, limit: int) -> int:
    """Returns an argument as an ``int``.

    Raises:
        ConfigError: if it is no whole number, or below ``limit``.
    """
    try:
        number = None if isinstance(value, bool) else operator.index(value)
    except TypeError:
        number = None
    if number is None or number < limit:
        raise ConfigError(f"{name} is {value!r}; it must be a whole number of at least {limit}")
    return number


def non_negative(name: str, value: Any) -> float:
    """Returns an argument as a ``float``.

    Raises:
        ConfigError: if it is no finite number, or below 0.
    """
    try:
        # text of a number is not one, though float() reads it
        rate = math.nan if isinstance(value, bool | str | bytes) else float(value)
    except (TypeError, ValueError, OverflowError):
        rate = math.nan
    if not math.isfinite(rate) or rate < 0:
        raise ConfigError(f"{name} is {value!r}; it must be a finite number of at least 0")
    return rate


def check_unknown(value: Any) -> None:
    """Checks what to do with ids that are not known.

    Raises:
        ConfigError: if it is neither ``"error"`` nor ``"drop"``.
    """
    if value not in ("error", "drop"):
        raise ConfigError(f'unknown is {value!r}; it must be "error" or "drop"')


def path_text(name: str, value: Any) -> str:
    """Returns an argument that is a path as a ``str``.

    Raises:
        ConfigError: if it is no ``str`` and no ``os.PathLike`` of one.
    """
    try:
        path = os.fspath(value)
    except TypeError:
        path = None
    if not isinstance(path, str):
        raise ConfigError(f"{name} is {value!r}; pass a path as a str or a pathlib.Path")
    return path


def nearest(key: str, known: Sequence[str]) -> str:
    """Returns which of the known names may have been meant, as the end of a sentence."""
    close = get_close_matches(key, known, n=1)
    return f"did you mean {close[0]!r}?" if close else f"it has {', '.join(known)}"
