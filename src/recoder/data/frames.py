"""Reading interactions from data frames: pandas, polars, pyarrow and whatever else narwhals understands.

Columns become Arrow arrays, so raw ids are numbered by Arrow's hash table and not by a loop in Python.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import narwhals as nw
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from narwhals.typing import IntoFrame
from scipy import sparse

from recoder.data.matrices import canonical_csr
from recoder.errors import ConfigError, DataError, DataTypeError, EmptyDataError, UnknownIdError

__all__ = ["dataframe_to_csr_matrix", "encode_ids", "plain_ids", "read_columns", "read_weights", "sum_pairs"]

_log = logging.getLogger("recoder.data")

RawId = int | str
Codes = npt.NDArray[np.int64]


def dataframe_to_csr_matrix(
    dataframe: IntoFrame,
    user_col: str,
    item_col: str,
    inter_col: str,
    item_id_map: dict[Any, int] | None = None,
    user_id_map: dict[Any, int] | None = None,
    *,
    unknown: str = "error",
) -> tuple[sparse.csr_matrix, dict[Any, int], dict[Any, int]]:
    """Returns the interactions as a matrix of users by items, the map of item ids and the map of user ids.

    Ids that are not given by a map are numbered from 0 in order of first appearance. The values of a repeated
    pair of user and item are added up, and how many there were is logged as a warning.

    Args:
        dataframe: one row per interaction; any data frame that narwhals reads (pandas, polars, pyarrow, ...).
            A lazy one is collected.
        user_col: the column of user ids: whole numbers or strings.
        item_col: the column of item ids: whole numbers or strings.
        inter_col: the column of values, which must be finite and not negative.
        item_id_map: raw item id -> column of the matrix. The matrix has as many columns as the largest needs.
        user_id_map: raw user id -> row of the matrix, likewise.
        unknown: what to do with ids that a given map does not hold: ``"error"``, or ``"drop"`` their
            interactions.

    Returns:
        ``(matrix, item_id_map, user_id_map)``: the matrix is float32 CSR without stored zeros; maps that were
        given are returned as they are.

    Raises:
        ConfigError: if a column does not exist, a map is not one-to-one onto numbers from 0, or ``unknown``
            is neither.
        EmptyDataError: if there are no interactions, or none is left.
        DataError: if a column holds missing values, or ``inter_col`` infinite or negative ones.
        DataTypeError: if it is no data frame, or a column holds neither ids nor values.
        UnknownIdError: if ids are missing from a given map and ``unknown`` is ``"error"``.
    """
    if unknown not in ("error", "drop"):
        raise ConfigError(f'unknown is {unknown!r}; it must be "error" or "drop"')
    columns = read_columns(dataframe, [user_col, item_col, inter_col])
    values = read_weights(columns[inter_col], inter_col)
    items, item_id_map = _number(columns[item_col], item_col, item_id_map, "item_id_map", unknown)
    users, user_id_map = _number(columns[user_col], user_col, user_id_map, "user_id_map", unknown)

    known = (items >= 0) & (users >= 0)
    if not known.all():
        _log.info("%d of %d rows dropped: their ids are not in the given maps", (~known).sum(), len(known))
        items, users, values = items[known], users[known], values[known]
        if not len(values):
            raise EmptyDataError(
                f"none of the {len(known)} rows has ids that the given maps hold; "
                "check that the maps belong to this data"
            )
    shape = (_size(user_id_map), _size(item_id_map))
    return sum_pairs(users, items, values, shape), item_id_map, user_id_map


def read_columns(dataframe: IntoFrame, names: list[str], *, may_miss: str | None = None) -> dict[str, pa.Array]:
    """Returns the named columns as Arrow arrays of one chunk; only in column ``may_miss`` may values be missing.

    Raises:
        DataTypeError: if it is no data frame, or a column mixes types.
        ConfigError: if a column does not exist.
        EmptyDataError: if there are no rows.
        DataError: if values are missing.
    """
    try:
        frame = nw.from_native(dataframe)
        present = frame.collect_schema().names()
    except (TypeError, nw.exceptions.NarwhalsError) as error:
        raise DataTypeError(
            f"cannot read a {type(dataframe).__name__} as a data frame ({error}); "
            "pass one of pandas, polars, pyarrow or another library that narwhals supports"
        ) from error
    missing = [name for name in names if name not in present]
    if missing:
        raise ConfigError(f"the data frame has no column {missing[0]!r}; its columns are {present}")
    frame = frame.select(list(dict.fromkeys(names)))
    eager = frame.collect(backend="pyarrow") if isinstance(frame, nw.LazyFrame) else frame
    if not len(eager):
        raise EmptyDataError("the data frame has no rows; there must be at least one interaction")
    columns = {name: _arrow(eager.get_column(name), name) for name in eager.columns}
    for name, column in columns.items():
        if name != may_miss:
            _check_complete(column, name)
    return columns


def _check_complete(array: pa.Array, name: str) -> None:
    missing = array.null_count
    if pa.types.is_floating(array.type):
        missing = pc.sum(pc.is_null(array, nan_is_null=True)).as_py()
    if missing:
        raise DataError(f"column {name!r} holds {missing} missing values (null or NaN); drop these rows or fill them")


def _arrow(column: nw.Series[Any], name: str) -> pa.Array:
    try:
        array: Any = column.to_arrow()
    except (pa.ArrowException, OverflowError, UnicodeError) as error:
        raise DataTypeError(f"column {name!r} does not hold values of one type ({error}); cast it to one") from error
    return array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array


def read_weights(column: pa.Array, name: str) -> npt.NDArray[np.float32]:
    """Returns a column of interaction values as float32.

    Raises:
        DataTypeError: if they are not numbers or booleans.
        DataError: if one is infinite as float32, or negative.
    """
    kind = column.type
    if not (
        pa.types.is_integer(kind)
        or pa.types.is_floating(kind)
        or pa.types.is_boolean(kind)
        or pa.types.is_decimal(kind)
    ):
        raise DataTypeError(f"column {name!r} holds {kind}; interaction values are numbers: cast it, e.g. to float32")
    if pa.types.is_decimal(kind):
        column = column.cast(pa.float64())
    with np.errstate(over="ignore"):  # a large float64 becomes infinite, and is refused below
        values: npt.NDArray[np.float32] = column.to_numpy(zero_copy_only=False).astype(np.float32)
    for bad, what in ((np.isinf(values), "infinite as float32"), (values < 0, "negative")):
        if bad.any():
            raise DataError(
                f"column {name!r} holds {bad.sum()} values that are {what} (the first is {values[bad][0]}); "
                "drop these rows or map them to other values"
            )
    return values


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
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return ids.cast(pa.large_string())
    hint = (
        "they look like whole numbers read as floats: cast them to int64" if pa.types.is_floating(kind) else "cast them"
    )
    raise DataTypeError(f"{name} holds {kind}; ids are whole numbers or strings: {hint}")


def encode_ids(column: pa.Array, name: str) -> tuple[Codes, pa.Array]:
    """Returns the number of each row's id, in order of first appearance, and the ids by number."""
    encoded = plain_ids(column, f"column {name!r}").dictionary_encode()
    return encoded.indices.to_numpy().astype(np.int64), encoded.dictionary


def _number(
    column: pa.Array, name: str, id_map: dict[Any, int] | None, map_name: str, unknown: str
) -> tuple[Codes, dict[Any, int]]:
    """Returns each row's number, -1 where the map lacks its id and that is allowed, and the map."""
    codes, ids = encode_ids(column, name)
    raw_ids: list[RawId] = ids.to_pylist()
    if id_map is None:
        return codes, {raw_id: number for number, raw_id in enumerate(raw_ids)}
    _check_map(id_map, map_name)
    numbers = np.fromiter((id_map.get(raw_id, -1) for raw_id in raw_ids), np.int64, len(raw_ids))
    absent = np.flatnonzero(numbers < 0)
    if len(absent) and unknown == "error":
        few = ", ".join(repr(raw_ids[i]) for i in absent[:3])
        example = next(iter(id_map))
        raise UnknownIdError(
            f"{len(absent)} of {len(raw_ids)} ids in column {name!r} are not in {map_name} (such as {few}; "
            f'the map holds {len(id_map)}, such as {example!r}); pass unknown="drop" to leave them out'
        )
    return numbers[codes], id_map


def _check_map(id_map: dict[Any, int], map_name: str) -> None:
    if not isinstance(id_map, Mapping):
        raise DataTypeError(f"{map_name} must be a dict from raw ids to numbers, not {type(id_map).__name__}")
    if not id_map:
        raise ConfigError(f"{map_name} is empty; leave it out to number the ids in order of first appearance")
    numbers = list(id_map.values())
    wrong = next((n for n in numbers if not isinstance(n, int | np.integer) or isinstance(n, bool) or n < 0), None)
    if wrong is not None:
        raise ConfigError(f"{map_name} maps an id to {wrong!r}; it must map ids to whole numbers from 0")
    if len(set(numbers)) < len(numbers):
        raise ConfigError(f"{map_name} maps {len(numbers)} ids to {len(set(numbers))} numbers; each id needs its own")


def _size(id_map: dict[Any, int]) -> int:
    return int(max(id_map.values())) + 1


def sum_pairs(users: Codes, items: Codes, values: npt.NDArray[np.float32], shape: tuple[int, int]) -> sparse.csr_matrix:
    """Returns the matrix of the values; those of a repeated pair are added up, and a warning counts them."""
    matrix = sparse.coo_matrix((values, (users, items)), shape=shape).tocsr()
    repeats = len(values) - matrix.nnz
    if repeats:
        _log.warning("%d of %d rows repeat a user and item; their values were added up", repeats, len(values))
    return canonical_csr(matrix)
