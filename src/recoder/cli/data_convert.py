"""``recoder data convert``: interactions from one kind of file to another."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import csv, parquet

from recoder._files import atomic_write
from recoder.cli.config import DataConfig
from recoder.cli.reading import is_dataset_name, read_interactions, read_table, resolved
from recoder.errors import ConfigError

__all__ = ["convert_file"]

_WRITTEN = {".parquet": None, ".pq": None, ".csv": ",", ".tsv": "\t"}


def convert_file(data: DataConfig, out: Path, *, folder: Path | None) -> dict[str, Any]:
    """Writes the columns of a file that have a role to another file, and returns what it wrote.

    The interactions of a public data set, which may come in several files, are brought into one.

    Args:
        data: what to read.
        out: what to write; its ending says in what form.
        folder: where the files of a public data set are; None: they are downloaded.

    Raises:
        ConfigError: if the ending is of no form that can be written, or a folder is given for a file.
        RecoderError, OSError: as reading, and if the file cannot be written.
    """
    if out.suffix not in _WRITTEN:
        raise ConfigError(f"{out} ends in {out.suffix or 'nothing'}; files are written as {', '.join(_WRITTEN)}")
    data = resolved(data)
    if is_dataset_name(str(data.path)):
        table = _of_dataset(data, folder)
    elif folder is not None:
        raise ConfigError(f"--folder is for the files of a public data set, and {data.path} is a file")
    else:
        table = read_table(data)
    separator = _WRITTEN[out.suffix]
    with atomic_write(out) as temporary:
        if separator is None:
            parquet.write_table(table, temporary, compression="zstd")
        else:
            csv.write_csv(table, temporary, csv.WriteOptions(delimiter=separator, quoting_style="needed"))
    return {"file": str(out), "rows": len(table), "columns": table.column_names}


def _of_dataset(data: DataConfig, folder: Path | None) -> pa.Table:
    found = read_interactions(data, folder=folder)
    matrix = found.matrix
    rows_Z = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
    columns = {
        "user_id": found.user_ids.ids.take(pa.array(rows_Z)),
        "item_id": found.item_ids.ids.take(pa.array(matrix.indices)),
        "weight": matrix.data,
    }
    if found.times is not None:
        columns["timestamp"] = found.times
    if found.titles is not None:
        columns["title"] = pa.array(found.titles).take(pa.array(matrix.indices))
    return pa.table(columns)
