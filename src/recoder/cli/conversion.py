"""From the values of a TOML file or of JSON to typed dataclasses."""

from __future__ import annotations

import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from datetime import date, datetime
from typing import Any, Literal, TypeVar

from recoder._checks import nearest
from recoder.errors import ConfigError

__all__ = ["SettingError", "convert", "make"]

T = TypeVar("T")


class SettingError(ConfigError):
    """A setting that is not there, or not of its type.

    Attributes:
        keys: the keys that lead to it.
        reason: what is wrong with it.
        value: what it is, where it was said.
    """

    def __init__(self, keys: tuple[str, ...], reason: str, value: Any = None) -> None:
        super().__init__(f"{'.'.join(keys)}: {reason}")
        self.keys, self.reason, self.value = keys, reason, value


def make(kind: type[T], values: Mapping[str, Any], at: tuple[str, ...] = ()) -> T:
    """Returns a dataclass whose fields are set to these values; fields that are left out have their defaults.

    Args:
        kind: the dataclass; its fields may be dataclasses.
        values: by the fields' names.
        at: the keys that lead to it.

    Raises:
        SettingError: if there is no such field, or a value is not of its type.
    """
    hints = typing.get_type_hints(kind)
    known = [field.name for field in fields(kind)]  # type: ignore[arg-type]  # it is a dataclass
    made = {}
    for key, value in values.items():
        if key not in known:
            place = f"[{'.'.join(at)}]" if at else "this file"
            raise SettingError((*at, key), f"{place} has no key {key!r}; {nearest(key, known)}")
        made[key] = convert(value, hints[key], (*at, key))
    return kind(**made)


def convert(value: Any, hint: Any, at: tuple[str, ...]) -> Any:
    """Returns a value as its annotation says: lists become tuples where that is asked for, whole numbers floats.

    Args:
        value: of TOML or JSON.
        hint: the annotation.
        at: the keys that lead to it.

    Raises:
        SettingError: if it is of another type.
    """
    if is_dataclass(hint) and isinstance(hint, type):
        if not isinstance(value, Mapping):
            raise SettingError(at, f"{at[-1]!r} is a section: write [{'.'.join(at)}], and its keys below")
        return make(hint, value, at)
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return value
    if origin in (types.UnionType, typing.Union):
        return _first_that_fits(value, arguments, hint, at)
    if origin is Literal:
        if value not in arguments:
            raise SettingError(at, f"{value!r} is none of {', '.join(map(repr, arguments))}")
        return value
    if origin in (tuple, list) or (isinstance(origin, type) and issubclass(origin, Sequence)):
        if not isinstance(value, list | tuple):
            raise _wrong(value, hint, at)
        return tuple(convert(element, arguments[0], at) for element in value)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    plain = origin or hint
    fits = not isinstance(plain, type) or isinstance(value, plain)
    if not fits or (isinstance(value, bool) and plain in (int, float)):
        raise _wrong(value, hint, at)
    return value


def _first_that_fits(value: Any, hints: Sequence[Any], whole: Any, at: tuple[str, ...]) -> Any:
    others = [hint for hint in hints if hint is not types.NoneType]
    if value is not None and len(others) == 1:  # whose own words say more
        return convert(value, others[0], at)
    for hint in hints:
        try:
            return convert(value, hint, at)
        except SettingError:
            pass
    raise _wrong(value, whole, at)


def _wrong(value: Any, hint: Any, at: tuple[str, ...]) -> SettingError:
    return SettingError(at, f"{value!r} is {_NAMES.get(type(value), type(value).__name__)}, not {_words(hint)}")


_NAMES: Mapping[Any, str] = {
    str: "text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    list: "a list",
    tuple: "a list",
    dict: "a section",
    date: "a date",
    datetime: "a date-time",
}


def _words(hint: Any) -> str:
    """Returns an annotation in the words of a TOML file."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        return " or ".join(_words(argument) for argument in arguments if argument is not types.NoneType)
    if arguments and origin not in (dict, Literal):
        return f"a list, each of it {_words(arguments[0])}"
    return _NAMES.get(origin or hint, getattr(hint, "__name__", str(hint)))
