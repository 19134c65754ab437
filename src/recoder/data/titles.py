"""What to call the items."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from narwhals.typing import IntoFrame

from recoder.data.frames import read_columns
from recoder.data.id_map import IdMap
from recoder.data.raw_ids import MOST_OF_STRINGS, Codes, RawId, first_places, plain_ids
from recoder.errors import DataTypeError

__all__ = ["checked_titles", "first_titles", "titles_by_id", "titles_or_ids"]

_log = logging.getLogger("recoder.data")


def checked_titles(titles: Iterable[str]) -> tuple[str, ...]:
    """Returns the titles as a tuple.

    Raises:
        DataTypeError: if they are not all strings, or one is not Unicode.
    """
    if not isinstance(titles, Iterable):
        raise DataTypeError(f"titles are a list of strings; {titles!r} is not")
    if isinstance(titles, Mapping | set | frozenset):
        raise DataTypeError(f"titles are a list of strings in the order of the items, not a {type(titles).__name__}")
    listed = tuple(titles)
    wrong = next((title for title in listed if not isinstance(title, str)), None)
    if wrong is not None or isinstance(titles, str):
        raise DataTypeError(f"titles are a list of strings; {wrong if wrong is not None else titles!r} is not")
    try:
        pa.array(listed, pa.large_string())
    except UnicodeError as error:
        raise DataTypeError(f"titles hold text that is not Unicode ({error}); repair it") from error
    return listed


def first_titles(column: pa.ChunkedArray, name: str, items: Codes, item_ids: pa.Array) -> tuple[str, ...]:
    """Returns the title in the first row of each item; its id where there is none.

    Args:
        column: the title in each row.
        name: what to call the column in an error.
        items: the number of each row's item, in order of first appearance.
        item_ids: the raw ids by number.

    Raises:
        DataTypeError: if they are not strings.
    """
    return titles_or_ids(_taken(column, pa.array(first_places(items, len(item_ids)))), name, item_ids)


def titles_by_id(titles: Mapping[RawId, str] | IntoFrame, item: str, title: str, item_ids: IdMap) -> tuple[str, ...]:
    """Returns the title of each item; its id where there is none.

    Args:
        titles: by raw id, or a data frame of an item in each row.
        item: the frame's column of ids.
        title: its column of titles.
        item_ids: of the items; titles of others are left out.

    Raises:
        DataTypeError: if ids are of another type than the items', or titles no strings.
        ConfigError and others: as ``read_columns``.
    """
    if isinstance(titles, Mapping):
        ids, texts = (
            list(titles),
            pa.chunked_array([pa.array(checked_titles(list(titles.values())), pa.large_string())]),
        )
    else:
        columns = read_columns(titles, [item, title], may_miss=title)
        ids, texts = columns[item].to_pylist(), columns[title]
    places = item_ids.places(ids, "drop", kind="items with a title")
    rows = np.flatnonzero(places >= 0)[::-1]
    row_of_item = np.full(len(item_ids), -1)
    row_of_item[places[rows]] = rows  # the first of several comes last, and stays
    return titles_or_ids(_taken(texts, pa.array(row_of_item, mask=row_of_item < 0)), title, item_ids.ids)


def _taken(column: pa.ChunkedArray, rows: pa.Array) -> pa.ChunkedArray:
    is_long = pa.types.is_string(column.type) and column.nbytes > MOST_OF_STRINGS
    if is_long or pa.types.is_string_view(column.type):  # Arrow cannot take from these
        column = column.cast(pa.large_string())
    return column.take(rows)


def titles_or_ids(titles: pa.ChunkedArray, name: str, item_ids: pa.Array) -> tuple[str, ...]:
    """Returns the title of each item, or its id where there is none.

    Args:
        titles: one for each item, perhaps missing.
        name: of the column, for errors.
        item_ids: the raw ids by number.

    Raises:
        DataTypeError: if they are not strings.
    """
    if pa.types.is_dictionary(titles.type):
        titles = titles.cast(titles.type.value_type)  # its own null_count leaves out rows whose category is null
    if pa.types.is_string_view(titles.type):
        titles = titles.cast(pa.large_string())
    are_texts = pa.types.is_string(titles.type) or pa.types.is_large_string(titles.type)
    if not are_texts and titles.null_count < len(titles):
        raise DataTypeError(f"column {name!r} holds {titles.type}; titles are a list of strings: cast it")
    if titles.null_count:
        _log.info(
            "%d of %d items have no title in column %r; they go by their id", titles.null_count, len(titles), name
        )
        titles = pc.coalesce(titles.cast(pa.large_string()), item_ids.cast(pa.large_string()))
    return checked_titles(plain_ids(titles, f"column {name!r}").to_pylist())
