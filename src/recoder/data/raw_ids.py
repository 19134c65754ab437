"""Raw ids, the user's own whole numbers or strings, as Arrow arrays, and their numbers by first appearance."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from recoder.errors import DataError, DataTypeError

__all__ = ["Codes", "RawId", "number_ids", "numbers_of", "plain_ids"]

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
        "they look like whole numbers read as floats: cast them to int64" if pa.types.is_floating(kind) else "cast them"
    )
    raise DataTypeError(f"{name} holds {kind}; ids are whole numbers or strings: {hint}")


def numbers_of(ids: pa.Array) -> dict[Any, int]:
    """Returns a dict from each raw id to its place in the list."""
    return {raw_id: number for number, raw_id in enumerate(ids.to_pylist())}


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
    encoded = comparable.dictionary_encode().unify_dictionaries().combine_chunks()
    return encoded.indices.to_numpy(), plain_ids(encoded.dictionary, name)


def _number_categories(column: pa.ChunkedArray, name: str) -> tuple[Codes, pa.Array]:
    """Returns what ``number_ids`` does; only the categories are compared as ids, rows by their codes."""
    whole = column.unify_dictionaries().combine_chunks()
    categories = plain_ids(whole.dictionary, name)
    merged = categories.dictionary_encode()  # Arrow allows the same category twice
    codes = merged.indices.take(whole.indices).dictionary_encode()
    return codes.indices.to_numpy(), merged.dictionary.take(codes.dictionary)


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))
