"""The published results: one Parquet file for each data set, which others can read and a later run goes on from.

Columns: ``cell``, the name of the cell's files; ``content``, its JSON; and the values of the test users by metric. The
schema's metadata tell what is known of the splits, so that the results can be shown where the data are not there.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.quality.judging import METRICS
from recoder._files import atomic_write

__all__ = ["pack", "splits_in", "unpack"]

_METRICS = [metric.metric_name for metric in METRICS]
_SPLITS = b"splits"


def pack(archive: Path, cells: Iterable[Path], splits: Mapping[int, Mapping[str, Any]]) -> None:
    """Writes an archive of these cells.

    Args:
        archive: the file; what it held is replaced.
        cells: their JSON files.
        splits: ``about`` of the splits that they were measured on, by seed.
    """
    rows = []
    for path in sorted(cells):
        content = json.loads(path.read_text(encoding="utf-8"))
        values = dict.fromkeys(_METRICS)
        if content["kind"] == "measured":
            with np.load(path.with_suffix(".npz")) as arrays:
                values = {name: arrays[name].astype(np.float32) for name in _METRICS}
        rows.append({"cell": path.stem, "content": json.dumps(content, sort_keys=True), **values})
    texts = [pa.field(name, pa.string()) for name in ("cell", "content")]
    schema = pa.schema([*texts, *(pa.field(name, pa.list_(pa.float32())) for name in _METRICS)])
    table = pa.Table.from_pylist(rows, schema).replace_schema_metadata({_SPLITS: json.dumps(splits, sort_keys=True)})
    with atomic_write(archive) as temporary:
        pq.write_table(table, temporary, compression="zstd", compression_level=19)


def splits_in(archive: Path) -> dict[int, dict[str, Any]]:
    """Returns ``about`` of the splits by seed; nothing of a missing archive, nor of one that does not tell."""
    if not archive.exists():
        return {}
    held = json.loads((pq.read_schema(archive).metadata or {}).get(_SPLITS, b"{}"))
    return {int(seed): about for seed, about in held.items()}


def unpack(archive: Path, folder: Path) -> None:
    """Writes the files of the cells of an archive that a folder lacks; a missing archive holds none."""
    if not archive.exists():
        return
    for row in pq.read_table(archive).to_pylist():
        path = folder / f"{row['cell']}.json"
        if path.exists():
            continue
        content = json.loads(row["content"])
        if content["kind"] == "measured":
            with atomic_write(path.with_suffix(".npz")) as temporary, temporary.open("wb") as file:
                np.savez(file, **{name: np.asarray(row[name], np.float64) for name in _METRICS})
        with atomic_write(path) as temporary:  # last, so that where it is all is there
            temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
