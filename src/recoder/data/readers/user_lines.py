"""Files with a line for each user: the user's number, then those of the items.

The form of He et al. 2020 (arXiv:2002.02126), in which ``train.txt`` and ``test.txt`` are a published split.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from recoder.data.interactions import Interactions
from recoder.data.readers.sources import Source
from recoder.data.splits import HoldoutSplit
from recoder.data.splits.by_time import holdout
from recoder.data.text_files import UNREADABLE
from recoder.errors import FileFormatError

__all__ = ["read_user_lines", "read_user_lines_split"]

_BLOCK_BYTES = 1 << 22
_NEWLINE, _RETURN, _SPACE = ord("\n"), ord("\r"), ord(" ")


def read_user_lines(source: Source) -> Interactions:
    """Returns all interactions, those of ``train.txt`` and of ``test.txt``."""
    return Interactions.from_frame(_pairs(source).drop_columns("is_train"), user="user", item="item")


def read_user_lines_split(source: Source) -> HoldoutSplit:
    """Returns the published split: ``train.txt`` to train on, ``test.txt`` as target.

    A pair that stands in both is trained on. Users and items that training lacks are left out.
    """
    # the latest "time" of a pair counts: 1 where it is in train.txt
    both = Interactions.from_frame(_pairs(source), user="user", item="item", time="is_train")
    assert both.times is not None
    everything = Interactions(both.matrix, both.user_ids, both.item_ids)
    return holdout(everything, both.times == 1, {"name": "official"})


def _pairs(source: Source) -> pa.Table:
    parts = [(*_parse(source, name), is_train) for name, is_train in (("train.txt", 1), ("test.txt", 0))]
    return pa.concat_tables(
        pa.table({"user": users, "item": items, "is_train": np.full(len(users), is_train)})
        for users, items, is_train in parts
    )


def _parse(source: Source, name: str) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Returns the user and the item of each interaction in a file."""
    where = source.where(name)
    try:
        with source.open(name) as file:
            text = b"".join(iter(partial(file.read, _BLOCK_BYTES), b""))
    except UNREADABLE as error:
        raise FileFormatError(f"cannot read {where}: {error}; it is damaged or cut off: get it again") from error
    codes = np.frombuffer(text, np.uint8)
    is_blank = codes <= _SPACE
    starts = np.flatnonzero(~is_blank & np.concatenate([[True], is_blank[:-1]]))
    if not len(starts):
        raise FileFormatError(f"{where} is empty; it was cut off: get it again")
    ends_line = (codes == _NEWLINE) | ((codes == _RETURN) & (np.append(codes[1:], 0) != _NEWLINE))
    line_of_code = np.cumsum(ends_line)
    strange = np.flatnonzero(~is_blank & ((codes < ord("0")) | (codes > ord("9"))))
    if len(strange):  # a sign too, or what Arrow would read as hexadecimal
        raise _no_numbers(where, int(line_of_code[strange[0]]) + 1)
    line_of_token = line_of_code[starts]
    numbers = _numbers(text, starts, line_of_token, where)
    is_user = np.concatenate([[True], np.diff(line_of_token) > 0])
    user_of_token = numbers[is_user][np.cumsum(is_user) - 1]
    source.check_length(name, len(numbers) - int(is_user.sum()))
    return user_of_token[~is_user], numbers[~is_user]


def _numbers(
    text: bytes, starts: npt.NDArray[np.int64], line_of_token: npt.NDArray[np.int64], where: str
) -> npt.NDArray[np.int64]:
    offsets = pa.py_buffer(np.append(starts, len(text)).astype(np.int64).tobytes())
    # each with the blanks after it
    spaced = pa.Array.from_buffers(pa.large_binary(), len(starts), [None, offsets, pa.py_buffer(text)])
    try:
        tokens = pc.ascii_trim_whitespace(spaced.cast(pa.large_string()))
        numbers: npt.NDArray[np.int64] = tokens.cast(pa.int64()).to_numpy()
    except pa.ArrowInvalid:
        raise _no_numbers(where, _first_bad_line(spaced, line_of_token)) from None
    return numbers


def _no_numbers(where: str, line: int) -> FileFormatError:
    return FileFormatError(
        f"line {line} of {where} holds something else than whole numbers; it is damaged: get it again"
    )


def _first_bad_line(spaced: pa.Array, line_of_token: npt.NDArray[np.int64]) -> int:
    is_bad = pc.invert(pc.match_substring_regex(spaced, r"^[0-9]{1,18}\s*$"))
    return int(line_of_token[pc.index(is_bad, True).as_py()]) + 1
