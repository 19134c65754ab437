"""``recoder data split``: a part to train on and parts to judge by, as files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import parquet
from rich.console import Console
from rich.table import Table

from recoder.cli.config import Config, DataConfig, SplitConfig, changed
from recoder.cli.out_files import check_folder, check_outs
from recoder.cli.output import say, tell
from recoder.cli.reading import (
    data_that_counts,
    interactions_of,
    is_dataset_name,
    read_interactions,
    read_table,
    resolved,
)
from recoder.cli.split_files import PROTOCOL, SplitFiles
from recoder.cli.split_tables import part_names, tables_of
from recoder.cli.splitting import NEEDS_TIMES, make_split
from recoder.data import Interactions
from recoder.data.frames import read_weights
from recoder.errors import ConfigError, DataError, DataTypeError

__all__ = ["print_parts", "write_split"]

_OPTIONAL = ("weight", "time", "title")


def write_split(config: Config, out: Path) -> dict[str, Any]:
    """Writes a Parquet file for each part of a split and how it was made, ``protocol.json``, and returns what it wrote.

    All files take their place at the end, when all are written, ``protocol.json`` last: while it is not there the parts
    are not complete.

    Args:
        config: the data and the split.
        out: the folder; made if it is missing.

    Raises:
        ConfigError: if the folder holds parts of another split, which would stay, or the data would be written over.
        RecoderError, OSError: as reading and splitting, and if the folder cannot be written.
    """
    _check_folder(out, config)
    data, interactions = _read(config)
    if data.min_weight > 0:
        interactions = interactions.filter(min_weight=data.min_weight).drop_empty()
    parts = make_split(interactions, config.split)
    rows: dict[str, int] = {}
    protocol = {**parts.protocol, "source": data.path, "min_weight": data.min_weight}
    with SplitFiles(out) as files:
        for name, table in tables_of(parts, interactions, data):
            with files.writing(f"{name}.parquet") as temporary:
                parquet.write_table(table, temporary, compression="zstd")
            rows[name] = len(table)
        with files.writing(PROTOCOL) as temporary:
            text = json.dumps(protocol, indent=2, ensure_ascii=False) + "\n"
            temporary.write_text(text, encoding="utf8")
        files.take_places()
    return {"folder": str(out), "rows": rows, "protocol": protocol}


def _read(config: Config) -> tuple[DataConfig, Interactions]:
    """Returns the interactions and where they are; without what nobody asked for where it cannot be used."""
    data = resolved(config.data)
    if data.min_weight > 0:
        data_that_counts(data)
    if is_dataset_name(str(data.path)):
        return data, read_interactions(data)
    table = read_table(data)
    needed = {"weight"} if data.min_weight > 0 else {"time"} if config.split.kind in NEEDS_TIMES else set()
    found = [role for role in _OPTIONAL if getattr(data, role) and getattr(config.data, role) is None]
    found = [role for role in found if role not in needed]
    if "weight" in found and _has_zeros(table.column(data.weight)):
        tell(
            f"weights are left out: some are 0, and each row counts; with --weight {data.weight} such rows are dropped"
        )
        data = changed(data, {"weight": ""})
        found.remove("weight")
    try:
        return data, interactions_of(table, data)
    except (DataError, DataTypeError):
        if not found:
            raise
    interactions_of(table, changed(data, dict.fromkeys(_OPTIONAL, "")))  # which raises where it is for the ids
    for role in found:
        try:
            interactions_of(table, changed(data, {other: "" for other in _OPTIONAL if other != role}))
        except (DataError, DataTypeError) as error:
            tell(f"{role}s are left out: {error}")
            data = changed(data, {role: ""})
    return data, interactions_of(table, data)


def _has_zeros(weights: pa.ChunkedArray) -> bool:
    try:
        return bool((read_weights(weights, "weights") == 0).any())
    except (DataError, DataTypeError):  # which others tell of
        return False


def _check_folder(out: Path, config: Config) -> None:
    check_folder(out)
    names = part_names(config.split)
    for name in names:
        check_outs(inputs=[config.data.path], out=out / f"{name}.parquet")
    kinds = (SplitConfig(kind="strong"), SplitConfig(kind="random"))
    others = {name for kind in kinds for name in part_names(kind)}.difference(names)
    left = sorted(f"{name}.parquet" for name in others if (out / f"{name}.parquet").exists())
    if left:
        raise ConfigError(
            f"{out} holds {', '.join(left)} of another split, which would stay beside this one; "
            "remove what is there, or choose another folder with --out"
        )


def print_parts(console: Console, written: dict[str, Any]) -> None:
    """Prints what was written, for people."""
    table = Table("file", "rows")
    table.columns[1].justify = "right"
    for name, count in written["rows"].items():
        table.add_row(f"{name}.parquet", f"{count:,}")
    console.print(table)
    protocol = written["protocol"]
    dropped = [
        f"{count:,} {what}" for what in ("users", "items", "interactions") if (count := protocol[f"dropped_{what}"])
    ]
    say(
        console,
        f"{protocol['train_users']:,} users and {protocol['train_items']:,} items to train on"
        + (f"; left out everywhere: {', '.join(dropped)}" if dropped else ""),
    )
    say(console, f"all of it in {written['folder']}, and how it was made in {PROTOCOL}")
