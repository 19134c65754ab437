"""Data frames of the library that the data came in."""

from __future__ import annotations

import functools
import importlib.util
import logging
from collections.abc import Mapping
from typing import Any

import narwhals as nw
import pyarrow as pa

from recoder.errors import ConfigError

__all__ = ["DEFAULT_LIBRARY", "checked_library", "library_of", "make_frame"]

_log = logging.getLogger("recoder.data")

DEFAULT_LIBRARY = "pyarrow"
_EAGER = ("pandas", "polars", "pyarrow", "modin", "cudf")


def library_of(frame: Any) -> str:
    """Returns the name of the library whose data frames answer to this one: its own, or pyarrow for lazy relations.

    A lazy polars frame has polars' eager ones; other lazy ones, such as duckdb's relations, have pyarrow tables.
    """
    name = nw.from_native(frame, pass_through=False).implementation.value
    return name if name in _EAGER else DEFAULT_LIBRARY


def checked_library(name: str) -> str:
    """Returns the name of a library of data frames.

    Raises:
        ConfigError: if it is none that frames can be made of.
    """
    if name not in _EAGER:
        raise ConfigError(f"there are no data frames of {name!r}; choose one of {', '.join(_EAGER)}")
    return name


def make_frame(columns: Mapping[str, Any], library: str) -> Any:
    """Returns a data frame of a library; a pyarrow table where the library is not installed here.

    Args:
        columns: Arrow or numpy arrays by name, of one length.
        library: one that ``library_of`` gave.
    """
    table = pa.table({name: pa.array(values) if not _is_arrow(values) else values for name, values in columns.items()})
    if library == "pyarrow":
        return table
    if importlib.util.find_spec(library) is None:
        _warn_once(library)
        return table
    backend: Any = library  # which narwhals declares as the names that are in _EAGER
    return nw.from_arrow(table, backend=backend).to_native()


@functools.cache
def _warn_once(library: str) -> None:
    """Warns that a library is missing: with the first answer, not with each."""
    _log.warning("%s is not installed: answers are pyarrow tables, as with load(path, library='pyarrow')", library)


def _is_arrow(values: Any) -> bool:
    return isinstance(values, pa.Array | pa.ChunkedArray)
