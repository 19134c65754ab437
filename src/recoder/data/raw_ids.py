"""Raw ids, the user's own whole numbers or strings, as Arrow arrays, and their numbers by first appearance."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from recoder.errors import DataError, DataTypeError

__all__ = ["MOST_OF_STRINGS", "Codes", "RawId", "first_places", "number_ids", "numbers_of", "plain_ids"]

_ROWS_OF_A_PART = 1_000_000
"""That a thread numbers at least: what it finds is to be put together with what the others find."""

_BLOCK = 1 << 16

_TEXT_IN_VIEW = 12
"""Bytes of a text that lies in its view; of longer ones the view says where they lie."""

RawId = int | str
Codes = npt.NDArray[np.int32]


def plain_ids(ids: Any, name: str) -> Any:
    """Returns raw ids, integers, strings or categories of any type, as int64 or large_string.

    Args:
        ids: an Arrow array, in one chunk or several; it comes back as it came.
        name: what to call it in an error.

    Raises:
        DataTypeError: if they are neither whole numbers nor strings.
        DataError: if a number is beyond int64.
    """
    kind = ids.type
    if pa.types.is_dictionary(kind):
        return plain_ids(ids.cast(kind.value_type), name)
    if pa.types.is_integer(kind):
        try:
            return ids.cast(pa.int64())
        except pa.ArrowInvalid as error:
            raise DataError(f"{name} holds ids beyond int64 ({error}); cast them to strings") from error
    if _is_text(kind):
        return ids.cast(pa.large_string())
    hint = (
        "they look like whole numbers read as floats: cast them to int64, or where they are beyond that, read them as "
        "strings"
        if pa.types.is_floating(kind)
        else "cast them"
    )
    raise DataTypeError(f"{name} holds {kind}; ids are whole numbers or strings: {hint}")


def numbers_of(ids: pa.Array) -> dict[Any, int]:
    """Returns a dict from each raw id to its place in the list."""
    return {raw_id: number for number, raw_id in enumerate(ids.to_pylist())}


MOST_OF_STRINGS = 2**31 - 1
"""Bytes of text that Arrow's strings, with offsets of 32 bits, can have in one array."""


def number_ids(column: pa.ChunkedArray, name: str) -> tuple[Codes, pa.Array]:
    """Returns the number of each row's id, in order of first appearance, and the ids by number.

    Args:
        column: raw ids of any type that ``plain_ids`` takes, none missing.
        name: what to call it in an error.

    Raises:
        DataTypeError, DataError: as ``plain_ids``.
    """
    if pa.types.is_dictionary(column.type):
        return _number_categories(column, name)
    # Arrow numbers strings of any layout as they are: a copy of all rows is spared
    comparable = column if _is_text(column.type) else plain_ids(column, name)
    parts = min(os.cpu_count() or 1, len(comparable) // _ROWS_OF_A_PART)
    if parts < 2:
        encoded = _encoded(comparable, name)
    else:
        bounds = [len(comparable) * number // parts for number in range(parts + 1)]
        slices = (comparable.slice(start, stop - start) for start, stop in pairwise(bounds))
        with ThreadPoolExecutor(parts) as threads:
            of_parts = list(threads.map(lambda part: _encoded(part, name), slices))
        # the ids of the first part, then those that are new in the second: in order of first appearance
        encoded = pa.chunked_array(of_parts).unify_dictionaries().combine_chunks()
    return encoded.indices.to_numpy(), encoded.dictionary


def _encoded(column: pa.ChunkedArray, name: str) -> pa.DictionaryArray:
    """Returns the rows' numbers in order of first appearance, and as a dictionary the ids by number."""
    if pa.types.is_string_view(column.type):
        encoded = _encoded_short(column)
        if encoded is not None:
            return encoded
    if pa.types.is_string(column.type) and column.nbytes > MOST_OF_STRINGS:
        column = column.cast(pa.large_string())
    encoded = column.dictionary_encode().unify_dictionaries().combine_chunks()
    return pa.DictionaryArray.from_arrays(encoded.indices, plain_ids(encoded.dictionary, name))


def _encoded_short(column: pa.ChunkedArray) -> pa.DictionaryArray | None:
    """Returns the same of string views, if all are of 12 bytes or fewer.

    A view is 16 bytes, and then holds the length and the text itself, filled up with zeros: two numbers of 64 bits,
    which Arrow numbers several times as fast as texts.
    """
    views = [
        np.frombuffer(chunk.buffers()[1], np.uint64).reshape(-1, 2)[chunk.offset : chunk.offset + len(chunk)]
        for chunk in column.chunks
        if len(chunk)
    ]
    if not views:
        return None
    views_Z2 = views[0] if len(views) == 1 else np.concatenate(views)
    if views_Z2.view(np.int32)[:, 0].max() > _TEXT_IN_VIEW:
        return None
    first, second = (pa.array(np.ascontiguousarray(half_Z)).dictionary_encode() for half_Z in views_Z2.T)
    encoded = second
    if len(first.dictionary) > 1:
        pairs_Z = first.indices.to_numpy().astype(np.int64) * len(second.dictionary) + second.indices.to_numpy()
        encoded = pa.array(pairs_Z).dictionary_encode()
    places = first_places(encoded.indices.to_numpy(), len(encoded.dictionary))
    buffers = [None, pa.py_buffer(views_Z2[places].tobytes())]
    ids = pa.Array.from_buffers(pa.string_view(), len(places), buffers).cast(pa.large_string())
    # who fills up with something else than zeros has several views of a text
    return pa.DictionaryArray.from_arrays(encoded.indices, ids) if len(ids.unique()) == len(ids) else None


def first_places(codes: Codes, num_ids: int) -> npt.NDArray[np.int64]:
    """Returns where each number, of those in order of first appearance, stands first; mostly they do so early."""
    places: list[npt.NDArray[np.int64]] = []
    start = found = 0
    while found < num_ids:
        # where the largest so far grows, a new one appears
        largest = np.maximum.accumulate(codes[start : start + _BLOCK])
        new = np.flatnonzero(np.diff(np.maximum(largest, found - 1), prepend=found - 1))
        places.append(start + new)
        start, found = start + _BLOCK, found + len(new)
    return np.concatenate(places)


def _number_categories(column: pa.ChunkedArray, name: str) -> tuple[Codes, pa.Array]:
    """Returns what ``number_ids`` does; only the categories are compared as ids, rows by their codes."""
    whole = column.unify_dictionaries().combine_chunks()
    categories = plain_ids(whole.dictionary, name)
    merged = categories.dictionary_encode()  # Arrow allows the same category twice
    codes = merged.indices.take(whole.indices).dictionary_encode()
    return codes.indices.to_numpy(), merged.dictionary.take(codes.dictionary)


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))
