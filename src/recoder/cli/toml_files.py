"""Settings as TOML: read with the line that is wrong, and written so that they can be read again."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

import tomlkit
from tomlkit.exceptions import ParseError, TOMLKitError

from recoder.cli.conversion import SettingError, make
from recoder.errors import ConfigError, FileFormatError

__all__ = ["parse_value", "read_toml", "write_toml"]

T = TypeVar("T")


def read_toml(path: str | os.PathLike[str], kind: type[T], complete: Callable[[T], T] = lambda settings: settings) -> T:
    """Returns the settings in a TOML file.

    Args:
        path: the file; a pipe is one too.
        kind: the dataclass of the settings.
        complete: changes and checks them further.

    Raises:
        ConfigError: if a key is not known, or a value not of its type; it names the file, the line and the key.
        FileFormatError: if it is not TOML; it names the line.
        FileNotFoundError: if there is no such file.
    """
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise FileNotFoundError(f"there is no file {path}; print one to start from with --print-config") from None
    except UnicodeDecodeError as error:
        raise FileFormatError(f"{path} is no text of UTF-8 ({error}), as TOML is") from None
    try:
        values = tomlkit.parse(text).unwrap()
    except TOMLKitError as error:
        whole = max((end for _, end, _ in _statements(text)), default=0)
        line = error.line if isinstance(error, ParseError) else whole + 1
        raise FileFormatError(f"{path}, line {line}: this is no TOML: {error}") from None
    try:
        return complete(make(kind, values))
    except SettingError as error:
        place = next((start for start, _, part in _statements(text) if _holds(part, error.keys)), None)
        if place is None or error.value not in (None, _typed(values, error.keys)):  # an option said it
            raise
        key = error.keys[-1]
        said = error.reason if error.reason.startswith(f"{key} is ") else f"{key}: {error.reason}"
        raise ConfigError(f"{path}, line {place}: {said}") from None


def write_toml(settings: Any, *, without: str | None = None) -> str:
    """Returns a dataclass of settings as TOML, but for one section; what is None stands there as a comment."""
    document = tomlkit.document()
    _fill(document, {name: values for name, values in asdict(settings).items() if name != without})
    return tomlkit.dumps(document)


def parse_value(text: str) -> Any:
    """Returns the value that a text is in TOML; the text itself where it is none, so that words need no quotes."""
    try:
        return tomlkit.parse(f"value = {text}").unwrap()["value"]
    except TOMLKitError:
        return text


def _fill(table: Any, values: Mapping[str, Any]) -> None:
    # what stands below the head of a section belongs to it, so sections come last
    for key, value in sorted(values.items(), key=lambda item: isinstance(item[1], Mapping)):
        if isinstance(value, Mapping):
            section = tomlkit.table()
            _fill(section, value)
            table.add(key, section)
        elif value is None:
            table.add(tomlkit.comment(f"{key} = ..."))
        else:
            table.add(key, list(value) if isinstance(value, tuple) else value)


def _statements(text: str) -> Iterator[tuple[int, int, Any]]:
    """Yields the lines at which each statement starts and ends, and all of the text up to there, parsed.

    It is parsed again and again, a line longer each time: a statement over several lines is no TOML until its end.
    """
    lines = text.splitlines(keepends=True)
    start = 1
    for end in range(1, len(lines) + 1):
        try:
            parsed = tomlkit.parse("".join(lines[:end])).unwrap()
        except TOMLKitError:
            continue
        yield start, end, parsed
        start = end + 1


def _typed(values: Any, keys: tuple[str, ...]) -> Any:
    """Returns the value at these keys, as ``convert`` makes it."""
    for key in keys:
        values = values[key]
    return tuple(values) if isinstance(values, list) else values


def _holds(values: Any, keys: tuple[str, ...]) -> bool:
    for key in keys:
        if not isinstance(values, Mapping) or key not in values:
            return False
        values = values[key]
    return True
