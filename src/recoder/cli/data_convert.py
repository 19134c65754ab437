"""``recoder data convert``: interactions from one kind of file to another."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from recoder.cli.config import DataConfig
from recoder.cli.reading import data_that_counts, is_dataset_name, read_interactions, read_table, resolved
from recoder.cli.table_files import check_table_file
from recoder.data.frames import read_weights
from recoder.data.raw_ids import plain_ids
from recoder.data.table_files import write_tables
from recoder.errors import ConfigError, DataTypeError, EmptyDataError

__all__ = ["convert_file"]


def convert_file(data: DataConfig, out: Path, *, folder: Path | None) -> dict[str, Any]:
    """Writes the columns of a file that have a role to another file, and returns what it wrote.

    The interactions of a public data set, which may come in several files, are brought into one. Rows that weigh less
    than ``data.min_weight`` are left out, each by itself, where training would add up those that repeat a pair.

    Args:
        data: what to read.
        out: what to write; its ending says in what form.
        folder: where the files of a public data set are; None: they are downloaded.

    Raises:
        ConfigError: if the ending is of no form that can be written, or a folder is given for a file.
        DataTypeError: if a column holds lists or the like, ids are neither whole numbers nor text, or weights are to be
            looked at and are no numbers.
        EmptyDataError: if no row weighs enough.
        RecoderError, OSError: as reading, and if the file cannot be written.
    """
    check_table_file(out, inputs=[data.path])
    data = resolved(data)
    if is_dataset_name(str(data.path)):
        table = _of_dataset(data, folder)
    elif folder is not None:
        raise ConfigError(f"--folder is for the files of a public data set, and {data.path} is a file")
    else:
        table = read_table(data)
        for field in table.schema:
            if pa.types.is_nested(field.type):
                raise DataTypeError(f"column {field.name!r} of {data.path} holds {field.type}, not a value a row")
        for column in filter(None, (data.user, data.item)):  # as they are written, somebody is to read them
            try:
                plain_ids(table.column(column), f"column {column!r} of {data.path}")
            except DataTypeError as error:
                raise DataTypeError(f"{error}; on the command line, --text-ids") from None
    if data.min_weight > 0:
        column = data_that_counts(data).weight or "weight"
        is_heavy = read_weights(table.column(column), column) >= np.float32(data.min_weight)
        if not is_heavy.any():
            raise EmptyDataError(f"no row of {data.path} weighs at least {data.min_weight:g}")
        table = table.filter(pa.array(is_heavy))
    write_tables(out, [table])
    return {"file": str(out), "rows": len(table), "columns": table.column_names}


def _of_dataset(data: DataConfig, folder: Path | None) -> pa.Table:
    found = read_interactions(data, folder=folder)
    table: pa.Table = found.to_frame("pyarrow")
    if found.titles is not None:
        table = table.append_column("title", pa.array(found.titles).take(pa.array(found.matrix.indices)))
    return table
