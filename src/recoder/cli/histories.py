"""Histories out of a file that may be larger than memory, in parts that hold all rows of their users."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from itertools import chain
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import ipc

from recoder._files import write_errors
from recoder._locks import working_folder
from recoder.cli.config import DataConfig
from recoder.cli.reading import stream_tables

__all__ = ["whole_histories"]

_ROWS_IN_MEMORY = 4_000_000
_NUM_PARTS = 64
_ROWS_AT_ONCE = 200_000
_SCATTER = np.uint64(0x9E3779B97F4A7C15)  # ids that are numbered in some order do not fall into one part


def whole_histories(
    data: DataConfig, out: Path, *, id_types: Mapping[str, pa.DataType] | None = None
) -> Iterator[pa.Table]:
    """Yields the rows of a file in parts, each with all rows of its users.

    Users stand in order of first appearance. A file of more than some millions of rows is first dealt out into parts on
    disk, by user, and worked through part by part; their number bounds the memory.

    Args:
        data: as ``resolved`` returns it.
        out: what will be made of them: such parts lie beside it for a while.
        id_types: as in ``stream_tables``.

    Raises:
        FileFormatError: if the file is damaged.
        FileWriteError: if the parts cannot be written.
    """
    stream = stream_tables(data, rows_at_once=_ROWS_AT_ONCE, id_types=id_types)
    held: list[pa.Table] = []
    for table in stream:
        held.append(table)
        if sum(map(len, held)) > _ROWS_IN_MEMORY:
            break
    else:
        if held:
            yield pa.concat_tables(held)
        return
    with ExitStack() as until_read:
        with write_errors(out):
            spilled = until_read.enter_context(working_folder(out))
        paths = [spilled / f"{part}.arrow" for part in range(_NUM_PARTS)]
        with ExitStack() as open_files:
            writers = [open_files.enter_context(ipc.new_stream(str(path), held[0].schema)) for path in paths]
            for table in chain(_taken(held), stream):
                with write_errors(out):
                    _deal_out(table, str(data.user), writers)
            with write_errors(out):
                open_files.close()
        for path in paths:
            with ipc.open_stream(str(path)) as reader:
                part = reader.read_all()
            path.unlink()
            if len(part):
                yield part


def _taken(tables: list[pa.Table]) -> Iterator[pa.Table]:
    """Yields tables from the front of a list, which does not keep them."""
    while tables:
        yield tables.pop(0)


def _deal_out(table: pa.Table, user: str, writers: list[ipc.RecordBatchStreamWriter]) -> None:
    """Writes each row to the part of its user."""
    parts = _parts_of(table.column(user).combine_chunks())
    order = np.argsort(parts, kind="stable")
    ends = np.cumsum(np.bincount(parts, minlength=len(writers)))
    dealt = table.take(pa.array(order))
    for writer, end, start in zip(writers, ends, [0, *ends[:-1]], strict=True):
        if end > start:
            writer.write_table(dealt.slice(start, end - start))


def _parts_of(users: pa.Array) -> npt.NDArray[np.int64]:
    """Returns the number of a part for each row, the same for the same user."""
    parts: npt.NDArray[np.int64]
    if pa.types.is_integer(users.type) and not users.null_count:
        numbers = users.cast(pa.int64()).to_numpy(zero_copy_only=False).astype(np.uint64) * _SCATTER >> np.uint64(32)
        parts = (numbers % np.uint64(_NUM_PARTS)).astype(np.int64)
        return parts
    different = pc.unique(users)
    checksums = [zlib.crc32(str(user).encode()) % _NUM_PARTS for user in different.to_pylist()]
    places: npt.NDArray[np.int64] = pc.index_in(users, different).to_numpy(zero_copy_only=False)
    parts = np.array(checksums, dtype=np.int64)[places]
    return parts
