"""Raw ids, the user's own whole numbers or strings, as Arrow arrays, and their numbers by first appearance."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from recoder.data.numbering import BLOCK, Codes, Keys, Rows, number_integers, number_keys
from recoder.errors import DataError, DataTypeError

__all__ = ["RawId", "arrow_from_objects", "number_ids", "numbers_of", "plain_ids"]

RawId = int | str

_SAMPLE, _SHARED = 1 << 15, 0.03  # at 3 % of rows, a column in no order has about a million objects
_MIX = np.uint64(0x9E3779B97F4A7C15)  # odd: multiplying by it loses nothing
_MIX_ENDINGS = np.uint64(0xC2B2AE3D27D4EB4F)


def plain_ids(ids: pa.Array, name: str) -> pa.Array:
    """Returns raw ids, integers, strings or categories of any type, as an int64 or large_string Arrow array.

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
    numbers: dict[Any, int] = {}
    for start in range(0, len(ids), 1 << 14):  # other threads get their turn in between
        numbers.update(zip(ids.slice(start, 1 << 14).to_pylist(), range(start, len(ids)), strict=False))
    return numbers


def number_ids(column: pa.ChunkedArray, name: str) -> tuple[Codes, pa.Array]:
    """Returns the number of each row's id, in order of first appearance, and the ids by number.

    Args:
        column: raw ids of any type that ``plain_ids`` takes, none missing.
        name: what to call it in an error.

    Raises:
        DataTypeError, DataError: as ``plain_ids``.
    """
    if column.num_chunks == 1:
        return _number(column.chunk(0), name)
    if pa.types.is_string(column.type):
        column = column.cast(pa.large_string())  # one chunk of the other type ends at 2 GiB
    return _number(column.combine_chunks(), name)


def _number(column: pa.Array, name: str) -> tuple[Codes, pa.Array]:
    if pa.types.is_dictionary(column.type):
        return _number_categories(column, name)
    if _is_text(column.type):
        return _number_texts(column)
    numbers = plain_ids(column, name)
    codes, first_rows = number_integers(numbers.to_numpy())
    return codes, numbers.take(pa.array(first_rows))


def _number_categories(column: pa.DictionaryArray, name: str) -> tuple[Codes, pa.Array]:
    """Numbers the rows by their category; a category may be unused, and two may be the same id."""
    categories = plain_ids(column.dictionary, name)
    codes, first_rows = number_integers(column.indices.to_numpy())
    numbers, ids = _number(categories.take(column.indices.take(pa.array(first_rows))), name)
    return codes if len(ids) == len(first_rows) else numbers[codes], ids


def _number_texts(column: pa.Array) -> tuple[Codes, pa.Array]:
    """Numbers strings by keys of 64 bits, in a third of the time that Arrow's table of strings takes.

    The key mixes the two words of Arrow's view of a string, which for up to 12 bytes are its length with its first
    bytes, and the rest. For more bytes the last 16 stand in for the rest. That no two strings have the same key is
    checked; if two have, Arrow numbers them.
    """
    first_head = _views(column, 0, 1)[0, 0]
    same_heads, all_short = True, True

    def read_keys(start: int, length: int) -> Keys:
        nonlocal same_heads, all_short
        views = _views(column, start, length)
        same_heads = same_heads and bool((views[:, 0] == first_head).all())
        keys: Keys = views[:, 0] * _MIX
        longer = views.view(np.int32)[:, 0] > 12
        if longer.any():
            all_short = False
            keys ^= np.where(longer, _endings(column, start, length), views[:, 1])
        else:
            keys ^= views[:, 1]
        return keys

    codes, first_rows = number_keys(read_keys, len(column))
    ids = _take_texts(column, first_rows)
    agree = _texts_agree if not all_short else _heads_agree if not same_heads else None
    if agree is None or agree(column, codes, ids):
        return codes, ids
    encoded = column.cast(pa.large_string()).dictionary_encode()
    return encoded.indices.to_numpy(), encoded.dictionary


def _heads_agree(column: pa.Array, codes: Codes, ids: pa.Array) -> bool:
    """Returns whether the first word of each row's view is that of its id; of equal keys, the second is then too."""
    heads = _views(ids, 0, len(ids))[:, 0].copy()

    def agree(start: int) -> bool:
        block = codes[start : start + BLOCK]
        return bool((heads[block] == _views(column, start, len(block))[:, 0]).all())

    return _all_blocks(agree, len(column))


def _texts_agree(column: pa.Array, codes: Codes, ids: pa.Array) -> bool:
    """Returns whether each row's string is its id."""

    def agree(start: int) -> bool:
        block = codes[start : start + BLOCK]
        return bool(pc.all(pc.equal(_texts(column, start, len(block)), ids.take(pa.array(block)))).as_py())

    return _all_blocks(agree, len(column))


def _all_blocks(agree: Callable[[int], bool], num_rows: int) -> bool:
    with ThreadPoolExecutor(pa.cpu_count()) as threads:
        return all(threads.map(agree, range(0, num_rows, BLOCK)))


def _views(column: pa.Array, start: int, length: int) -> Keys:
    """Returns the two words of the string view of each of these rows."""
    return _words(_rows(column, start, length).cast(pa.string_view()))


def _texts(column: pa.Array, start: int, length: int) -> pa.Array:
    return _rows(column, start, length).cast(pa.large_string())


def _rows(column: pa.Array, start: int, length: int) -> pa.Array:
    if pa.types.is_string_view(column.type):
        return column.slice(start, length)
    # a cast of column.slice(start, length) would take memory for all rows up to these
    width = 8 if pa.types.is_large_string(column.type) else 4
    _, offsets, text = column.buffers()
    offsets = offsets.slice((column.offset + start) * width, (length + 1) * width)
    return pa.Array.from_buffers(column.type, length, [None, offsets, text or pa.py_buffer(b"")])


def _words(views: pa.Array) -> Keys:
    return np.frombuffer(views.buffers()[1], np.uint64).reshape(-1, 2)[views.offset :][: len(views)]


def _endings(column: pa.Array, start: int, length: int) -> Keys:
    """Returns the last 16 bytes of each of these rows' strings mixed to one word (garbage for strings of up to 12)."""
    texts = _texts(column, start, length)
    _, offsets, text = texts.buffers()
    bounds = np.frombuffer(offsets, np.int64)[texts.offset :][: length + 1]
    words = np.ndarray(len(text) - 7, np.uint64, text, strides=(1,))  # one at every byte
    ends = np.maximum(bounds[1:], 8)
    words_before = words[np.minimum(np.maximum(bounds[1:] - 16, bounds[:-1]), len(words) - 1)]
    endings: Keys = words_before * _MIX_ENDINGS + words[ends - 8]
    return endings


def _take_texts(column: pa.Array, rows: Rows) -> pa.Array:
    if not pa.types.is_string_view(column.type):
        return column.take(pa.array(rows)).cast(pa.large_string())
    _, _, *texts = column.buffers()  # Arrow cannot take from string views
    views = pa.py_buffer(_words(column)[rows])
    return pa.Array.from_buffers(pa.string_view(), len(rows), [None, views, *texts]).cast(pa.large_string())


def arrow_from_objects(objects: npt.NDArray[np.object_]) -> pa.Array:
    """Returns an array of Python objects as an Arrow array; as a dictionary array where many rows share an object.

    Rows that share one, as those of a frame made by taking from a list of ids do, are told by its address: Arrow
    then converts each object once, and not each row. None and NaN become null.

    Raises:
        pa.ArrowException: if they are not of one type.
    """
    addresses = np.frombuffer(np.ascontiguousarray(objects), np.intp)
    if np.isin(addresses[-_SAMPLE:], addresses[:_SAMPLE]).mean() < _SHARED:
        return pa.array(objects, from_pandas=True)
    codes, first_rows = number_integers(addresses)
    return pa.DictionaryArray.from_arrays(codes, pa.array(objects[first_rows], from_pandas=True))


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))
