"""Lists of strings as plain arrays: UTF-8 bytes and offsets, as model files hold them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from recoder.errors import FileFormatError

__all__ = ["pack_texts", "unpack_arrow", "unpack_texts"]


def pack_texts(texts: Sequence[str] | pa.Array) -> dict[str, npt.NDArray[Any]]:
    """Returns the strings as ``bytes`` (uint8, UTF-8) and ``offsets`` (int64, one more than there are strings)."""
    array = pa.array(texts, pa.large_string())
    if not len(array):
        return {"bytes": np.empty(0, np.uint8), "offsets": np.zeros(1, np.int64)}
    _, offsets_buffer, bytes_buffer = array.buffers()
    # an array may be a window into longer buffers
    offsets = np.frombuffer(offsets_buffer, np.int64)[array.offset : array.offset + len(array) + 1]
    text = np.frombuffer(bytes_buffer or b"", np.uint8)[offsets[0] : offsets[-1]]
    return {"bytes": text.copy(), "offsets": offsets - offsets[0]}


def unpack_arrow(arrays: Mapping[str, npt.NDArray[Any]], what: str) -> pa.Array:
    """Returns the strings that ``pack_texts`` took apart as an Arrow array; the arrays are copied.

    Args:
        arrays: ``bytes`` and ``offsets``.
        what: what to call them in an error.

    Raises:
        FileFormatError: if the arrays do not describe strings.
    """
    for name, dtype in (("bytes", np.uint8), ("offsets", np.int64)):
        array = arrays.get(name)
        if array is None or array.dtype != dtype or array.ndim != 1:
            raise FileFormatError(f"{what}: {name} is not a list of {np.dtype(dtype)}; the file was damaged")
    text, offsets = arrays["bytes"], arrays["offsets"]
    if not len(offsets) or offsets[0] != 0 or offsets[-1] != len(text) or (np.diff(offsets) < 0).any():
        raise FileFormatError(f"{what}: the offsets do not ascend from 0 to {len(text)}; the file was damaged")
    buffers = [None, pa.py_buffer(offsets.tobytes()), pa.py_buffer(text.tobytes())]
    strings = pa.Array.from_buffers(pa.large_string(), len(offsets) - 1, buffers)
    try:
        strings.validate(full=True)
    except pa.ArrowInvalid as error:
        raise FileFormatError(f"{what}: not UTF-8 ({error}); the file was damaged") from error
    return strings


def unpack_texts(arrays: Mapping[str, npt.NDArray[Any]], what: str = "the stored titles") -> tuple[str, ...]:
    """Returns the strings that ``pack_texts`` took apart.

    Raises:
        FileFormatError: as ``unpack_arrow``.
    """
    return tuple(unpack_arrow(arrays, what).to_pylist())
