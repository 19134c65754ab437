"""Reading interactions from whatever file they are in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from recoder.cli.columns import ROLES, choose_columns
from recoder.cli.config import DataConfig
from recoder.cli.output import is_watched, tell
from recoder.data import Interactions, dataset_names, load_dataset
from recoder.data.parquet_files import parquet_column_names, parquet_schema, read_parquet_file, stream_parquet_file
from recoder.data.quotes import check_quotes
from recoder.data.text_files import UNREADABLE, csv_column_names, read_csv_file, stream_csv_file
from recoder.data.times import read_times
from recoder.errors import ConfigError, DataTypeError, FileFormatError, UnknownIdError

__all__ = [
    "check_times",
    "data_that_counts",
    "interactions_of",
    "is_dataset_name",
    "read_interactions",
    "read_table",
    "resolved",
    "stream_tables",
    "to_train_on",
]

_SEPARATORS = {".csv": ",", ".tsv": "\t", ".tab": "\t"}
_COMPRESSED = (".gz", ".bz2", ".zst", ".lz4")
_LIKELY = ("::", "\t", ",", ";", "|", " ")
_PEEK_BYTES = 1 << 16


def is_dataset_name(path: str) -> bool:
    """Returns whether a path is none, but the name of a public data set."""
    return path in dataset_names() and not Path(path).is_file()


def resolved(
    data: DataConfig, required: Sequence[str] = ("user", "item"), *, unneeded: Sequence[str] = ()
) -> DataConfig:
    """Returns the same with the separator and the columns that the file's name, first line and columns suggest.

    Columns that were found by their names are said.

    Args:
        data: what is known already.
        required: roles that must have a column.
        unneeded: roles whose column is not looked for: they stay as they are.

    Raises:
        ConfigError: if there is no path, a column does not exist or none can be found.
        FileFormatError: if the file is damaged, or neither Parquet nor text.
        FileNotFoundError: if there is no such file.
    """
    path = data.path
    if not path:
        raise ConfigError("say where the interactions are: the path of a file")
    if is_dataset_name(path):
        of_files = [*ROLES, "names", "separator", "text_ids"]
        said = [f"--{name.replace('_', '-')}" for name in of_files if getattr(data, name)]
        if said:
            raise ConfigError(f"{path} is a public data set, whose form is known: leave {' and '.join(said)} out")
        return data
    if not Path(path).is_file():
        if Path(path).is_fifo() or Path(path).is_char_device():
            raise FileFormatError(f"{path} is a pipe, and a file is read more than once; write it to one first")
        if Path(path).is_dir():
            raise FileNotFoundError(f"{path} is a folder; name one file in it")
        names = ", ".join(dataset_names())
        where = "" if Path(path).is_absolute() else f" in {Path.cwd()}"
        raise FileNotFoundError(f"there is no file {path}{where}; it is no data set that can be loaded either: {names}")
    if _is_parquet(path):
        present = parquet_column_names(path)
    else:
        data = replace(data, separator=_separator(data))
        form = _form(data)
        present = list(form.pop("names") or csv_column_names(path, **form))
    given = {role: getattr(data, role) for role in ROLES}
    sought = given | {role: "" for role in unneeded if given[role] is None}
    chosen, found = choose_columns(present, sought, path, required)
    if "title" in found and _is_parquet(path) and not _is_text(path, found["title"]):
        chosen, found = choose_columns(present, {**sought, "title": ""}, path, required)
    if found:
        tell("columns: " + ", ".join(f"{column!r} as {role}" for role, column in chosen.items()))
    columns: dict[str, Any] = {role: chosen.get(role, given[role] if role in unneeded else "") for role in ROLES}
    return replace(data, **columns)


def read_table(data: DataConfig, *, id_types: Mapping[str, pa.DataType] | None = None) -> pa.Table:
    """Returns the columns that have a role, as they stand in the file.

    Args:
        data: as ``resolved`` returns it.
        id_types: of users and items, by role, int64 or large_string, as a model has them; roles that are not named, and
            None: as the file has them, or text where ``data`` says so.

    Raises:
        EmptyDataError: if there are no rows.
        FileFormatError: if the file is damaged.
        UnknownIdError: if one is no whole number where all are to be.
    """
    path, columns = str(data.path), list(_named(data).values())
    types, ids = _id_types(data, id_types), [column for column in (data.user, data.item) if column]
    if _is_parquet(path):
        return _with_ids(read_parquet_file(path, columns), data, types)
    table = read_csv_file(path, columns, **_form(data), types=_types(data, types))
    check_quotes(table, ids, path)
    return _with_ids(table, data, types)


def stream_tables(
    data: DataConfig, *, rows_at_once: int, id_types: Mapping[str, pa.DataType] | None = None
) -> Iterator[pa.Table]:
    """Yields what ``read_table`` returns, in parts that follow one another; weights of a text file are floats.

    Args:
        data: as ``resolved`` returns it.
        rows_at_once: about how many; a part of a text file may have other numbers.
        id_types: as in ``read_table``.

    Raises:
        FileFormatError: if the file is damaged.
        UnknownIdError: as ``read_table``.
    """
    path, columns = str(data.path), list(_named(data).values())
    types, ids = _id_types(data, id_types), [column for column in (data.user, data.item) if column]
    if _is_parquet(path):
        for table in stream_parquet_file(path, columns, rows_at_once=rows_at_once):
            yield _with_ids(table, data, types)
        return
    # whole numbers may come first, and fractions some megabytes later
    weights = {data.weight: pa.float64()} if data.weight else {}
    for table in stream_csv_file(path, columns, **_form(data), types=_types(data, types) | weights):
        check_quotes(table, ids, path)
        yield _with_ids(table, data, types)


def read_interactions(
    data: DataConfig, *, folder: Path | None = None, id_types: Mapping[str, pa.DataType] | None = None
) -> Interactions:
    """Returns the interactions, with titles and times where there are any.

    Args:
        data: as ``resolved`` returns it.
        folder: where the files of a public data set are; None: they are downloaded.
        id_types: as in ``read_table``; those of a public data set are as it has them.

    Raises:
        RecoderError, OSError: as ``read_table``, ``Interactions.from_frame`` and ``load_dataset``.
    """
    if is_dataset_name(str(data.path)):
        return load_dataset(str(data.path), folder, progress=is_watched())
    return interactions_of(read_table(data, id_types=id_types), data)


def interactions_of(table: pa.Table, data: DataConfig) -> Interactions:
    """Returns the interactions in the rows of a file.

    Raises:
        RecoderError: as ``Interactions.from_frame``.
    """
    check_times(table, data)
    return Interactions.from_frame(table, **_named(data))


def check_times(table: pa.Table, data: DataConfig) -> None:
    """Checks that the column of times, if there is one, is of a type that times have.

    Raises:
        DataTypeError: if not; says what to do on the command line.
    """
    if not data.time:
        return
    kind = table.schema.field(data.time).type
    if pa.types.is_null(kind):  # nothing but missing values, of which others tell
        return
    try:
        read_times(pa.chunked_array([], kind), data.time)
    except DataTypeError as error:
        raise DataTypeError(
            f"column {data.time!r} holds {kind}; times are Unix seconds, dates or date-times such as "
            "2024-05-31T12:30:00: write them so, choose another --time, or '' for none"
        ) from error


def to_train_on(data: DataConfig, *, id_types: Mapping[str, pa.DataType] | None = None) -> Interactions:
    """Returns what a model is to learn from: interactions that weigh enough, of weight 1 unless weights are to count.

    Args:
        data: as ``resolved`` returns it.
        id_types: as in ``read_table``.

    Raises:
        ConfigError: as ``data_that_counts``.
        RecoderError, OSError: as ``read_interactions``.
    """
    interactions = read_interactions(data_that_counts(data), id_types=id_types)
    if data.min_weight > 0:
        interactions = interactions.filter(min_weight=data.min_weight).drop_empty()
    return interactions.binarize() if data.binary else interactions


def data_that_counts(data: DataConfig) -> DataConfig:
    """Returns the same without a column of weights where nothing depends on them.

    Args:
        data: as ``resolved`` returns it.

    Raises:
        ConfigError: if weights are to count, or light interactions to be left out, and there is no column of weights.
    """
    if not data.binary and not data.weight and not is_dataset_name(str(data.path)):
        raise ConfigError(
            f"weights are to count (as the model was trained, or --weights says), and {data.path} has no column that "
            "is named like weights; say which it is with --weight, or where a model is trained, leave --weights out"
        )
    if data.min_weight <= 0:
        return replace(data, weight="") if data.binary else data
    if not data.weight and not is_dataset_name(str(data.path)):
        raise ConfigError(
            f"only interactions that weigh at least {data.min_weight:g} count (as the model was trained, or "
            f"--min-weight says), and {data.path} has no column that is named like weights; say which it is with "
            "--weight, or that all count with --min-weight 0"
        )
    return data


def _named(data: DataConfig) -> Mapping[str, Any]:
    return {role: column for role in ROLES if (column := getattr(data, role))}


def _form(data: DataConfig) -> dict[str, Any]:
    """Returns how a text file is written, by the names that its readers give that."""
    return {
        "separator": str(data.separator),
        "names": data.names,
        "encoding": data.encoding,
        "quote": data.quote or None,
    }


def _is_parquet(path: str) -> bool:
    if Path(path).suffix in (".parquet", ".pq"):
        return True
    with Path(path).open("rb") as file:
        return file.read(4) == b"PAR1"


def _is_text(path: str, column: str) -> bool:
    kind = parquet_schema([path], [column]).field(column).type
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _separator(data: DataConfig) -> str:
    """Returns what separates the fields of a text file."""
    path = Path(str(data.path))
    if data.separator:
        return data.separator.replace("\\t", "\t")  # which is hard to type
    suffix = path.with_suffix("").suffix if path.suffix in _COMPRESSED else path.suffix
    if suffix in _SEPARATORS:
        return _SEPARATORS[suffix]
    try:
        with pa.input_stream(str(path), compression="detect") as stream:
            first = bytes(stream.read(_PEEK_BYTES)).partition(b"\n")[0]
    except UNREADABLE as error:
        raise FileFormatError(f"cannot read {path}: {error}; it is damaged") from error
    if b"\0" in first:
        raise FileFormatError(f"{path} is neither Parquet nor text; convert it to one of them")
    # where nothing does there is one column
    return next((separator for separator in _LIKELY if separator.encode() in first), ",")


def _id_types(data: DataConfig, given: Mapping[str, pa.DataType] | None) -> dict[str, pa.DataType]:
    """Returns the types of the columns of ids, by column, that are not to be as they stand in the file."""
    text = {"user": pa.string(), "item": pa.string()} if data.text_ids else {}
    return {column: kind for role, kind in {**text, **(given or {})}.items() if (column := getattr(data, role))}


def _types(data: DataConfig, id_types: Mapping[str, pa.DataType]) -> dict[str, pa.DataType]:
    """Returns the types of a text file's columns that are not to be guessed; of ids those before ``_with_ids``."""
    return {column: pa.string() for column in [*id_types, *([data.title] if data.title else [])]}


def _with_ids(table: pa.Table, data: DataConfig, id_types: Mapping[str, pa.DataType]) -> pa.Table:
    for name, kind in id_types.items():
        place = table.schema.get_field_index(name)
        table = table.set_column(place, name, _as_ids(table.column(place), kind, f"column {name!r} of {data.path}"))
    return table


def _as_ids(column: pa.ChunkedArray, kind: pa.DataType, name: str) -> pa.ChunkedArray:
    if not pa.types.is_integer(kind):
        try:
            return column.cast(kind)
        except pa.ArrowException as error:
            raise DataTypeError(f"{name} holds {column.type}, which are no ids: name another column") from error
    values = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    if not (pa.types.is_string(values) or pa.types.is_large_string(values) or pa.types.is_string_view(values)):
        return column  # whole numbers, or what is no id: whoever takes them says so
    try:
        return pc.utf8_trim_whitespace(column.cast(pa.large_string())).cast(kind)
    except pa.ArrowInvalid as error:
        raise UnknownIdError(
            f"{name} holds what is no id of this model, whose ids are whole numbers ({error}); name another column, or "
            "leave these rows out"
        ) from error
