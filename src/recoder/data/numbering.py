"""Numbering integers in order of first appearance."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

__all__ = ["BLOCK", "Codes", "Keys", "Rows", "number_integers", "number_keys"]

Codes = npt.NDArray[np.int32]
Rows = npt.NDArray[np.int64]
Keys = npt.NDArray[np.uint64]
Spans = list[tuple[int, int]]

BLOCK = 1 << 16  # rows whose temporaries stay in the processor's cache; their offsets fit 16 bits
_GROUP_BITS = 6
_HASH = np.uint64(0x9E3779B97F4A7C15)


def number_integers(integers: npt.NDArray[np.integer[Any]]) -> tuple[Codes, Rows]:
    """Returns the number of each row's integer, in order of first appearance, and the first row of each.

    Args:
        integers: one per row, of any integer type; at least one.
    """
    low, high = int(integers.min()), int(integers.max())
    if high - low < 2 * len(integers):
        return _number_dense(integers, low, high - low + 1)
    return number_keys(lambda start, length: integers[start : start + length].astype(np.uint64), len(integers))


def _number_dense(integers: npt.NDArray[np.integer[Any]], low: int, size: int) -> tuple[Codes, Rows]:
    """As ``number_integers``, by a table of all ``size`` integers from ``low``."""
    slots = integers - integers.dtype.type(low) if low else integers
    table = np.full(size, len(integers), np.int64)  # the first row of each; len(integers) where there is none
    for start in reversed(range(0, len(slots), BLOCK)):
        block = slots[start : start + BLOCK]
        table[block[::-1]] = np.arange(start + len(block) - 1, start - 1, -1)  # the last one written stays
    if not low and table[-1] < len(integers) and (np.diff(table) > 0).all():
        return integers.astype(np.int32, copy=False), table  # they are their own numbers
    present = np.flatnonzero(table < len(integers))
    present = present[np.argsort(table[present])]
    first_rows = table[present]
    table[present] = np.arange(len(present))
    return table[slots].astype(np.int32), first_rows


def number_keys(read_keys: Callable[[int, int], Keys], num_rows: int) -> tuple[Codes, Rows]:
    """As ``number_integers``, for keys of 64 bits that are made a block of rows at a time.

    Args:
        read_keys: called with a first row and a number of rows, at most ``BLOCK``, in any order, from any thread
            and for some rows twice; returns their keys in memory of its own.
        num_rows: how many rows there are; at least one.
    """
    if num_rows >= 16 * BLOCK:
        few = BLOCK // 16
        sample = np.concatenate([read_keys(start, few) for start in range(0, num_rows - few, num_rows // 16)])
        if len(np.unique(sample)) > len(sample) // 2:
            return _number_scattered(read_keys, num_rows)
    keys = np.empty(num_rows, np.uint64)
    for start in range(0, num_rows, BLOCK):
        keys[start : start + BLOCK] = read_keys(start, min(BLOCK, num_rows - start))
    return _number_array(keys)


def _number_array(keys: Keys) -> tuple[Codes, Rows]:
    codes = pa.array(keys).dictionary_encode().indices.to_numpy()
    first_rows = np.empty(codes.max() + 1, np.int64)
    num_seen = 0
    for start in range(0, len(codes), BLOCK):
        block = codes[start : start + BLOCK]
        new = np.flatnonzero(block >= num_seen)[::-1]
        first_rows[block[new]] = start + new  # the last one written stays
        num_seen = max(num_seen, int(block.max()) + 1)
    return codes, first_rows


def _number_scattered(read_keys: Callable[[int, int], Keys], num_rows: int) -> tuple[Codes, Rows]:
    """As ``number_keys``, for many keys in no order.

    One table of them all would miss the processor's cache at every row. So the rows are divided into groups by a
    hash of their keys: the table of a group fits.
    """
    keys = np.empty(num_rows, np.uint64)  # those of each block in order of their groups
    offsets = np.empty(num_rows, np.uint16)  # where in the block they stood
    codes = np.empty(num_rows, np.int32)
    starts = np.arange(0, num_rows, BLOCK)

    def divide(start: int) -> Rows:
        block = read_keys(start, min(BLOCK, num_rows - start))
        rows = slice(start, start + len(block))
        groups = (block * _HASH >> np.uint64(64 - _GROUP_BITS)).astype(np.uint8)
        offsets[rows] = order = np.argsort(groups, kind="stable")  # a counting sort, as they are bytes
        np.take(block, order, out=keys[rows], mode="clip")
        ends: Rows = start + np.cumsum(np.bincount(groups, minlength=1 << _GROUP_BITS))
        return ends

    def rows_of(spans: Spans) -> Rows:
        rows: Rows = np.repeat(starts, [end - begin for begin, end in spans])
        rows += np.concatenate([offsets[begin:end] for begin, end in spans])
        return rows

    def number(spans: Spans) -> tuple[Codes, Rows]:
        in_group, first = _number_array(np.concatenate([keys[begin:end] for begin, end in spans]))
        return in_group, rows_of(spans)[first]

    def place(spans: Spans, in_group: Codes, numbers: Codes) -> None:
        codes[rows_of(spans)] = numbers[in_group]

    with ThreadPoolExecutor(pa.cpu_count()) as threads:
        ends = np.stack(list(threads.map(divide, starts.tolist())))
        bounds = np.concatenate([starts[:, None], ends], axis=1).T.tolist()
        groups = [list(zip(begins, ends, strict=True)) for begins, ends in pairwise(bounds) if begins != ends]
        parts, firsts = zip(*threads.map(number, groups), strict=True)
        first_rows = np.concatenate(firsts)
        order = np.argsort(first_rows)
        numbers = np.empty(len(order), np.int32)
        numbers[order] = np.arange(len(order))
        in_groups = np.split(numbers, np.cumsum([len(first) for first in firsts])[:-1])
        list(threads.map(place, groups, parts, in_groups))
    return codes, first_rows[order]
