"""Reading interactions from data frames: pandas, polars, pyarrow and whatever else narwhals understands.

Columns become Arrow arrays, without a copy where their memory allows it, and no loop in Python runs over the rows.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import narwhals as nw
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from narwhals.typing import IntoFrame
from scipy import sparse

from recoder._checks import check_unknown
from recoder.data.matrices import canonical_csr
from recoder.data.raw_ids import Codes, RawId, number_ids, numbers_of
from recoder.errors import ConfigError, DataError, DataTypeError, EmptyDataError, UnknownIdError

__all__ = [
    "Numbers",
    "check_names",
    "count_once",
    "csr_from_pairs",
    "dataframe_to_csr_matrix",
    "number_columns",
    "read_columns",
    "read_weights",
    "refuse_missing",
    "refuse_weights",
    "sum_pairs",
    "tell_of_repeats",
    "tell_of_zeros",
]

_log = logging.getLogger("recoder.data")

Numbers = npt.NDArray[np.int32] | npt.NDArray[np.int64]


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
    pair of user and item are added up, and how many there were is logged as a warning, as are pairs whose value is 0:
    they are no interactions.

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
    check_unknown(unknown)
    columns = read_columns(dataframe, [user_col, item_col, inter_col])
    values = read_weights(columns[inter_col], inter_col)
    items: Numbers
    users: Numbers
    (items, item_ids), (users, user_ids) = number_columns(columns, [item_col, user_col])
    num_items, num_users = len(item_ids), len(user_ids)
    if item_id_map is not None:
        items, num_items = _look_up(items, item_ids, item_col, item_id_map, "item_id_map", unknown)
    if user_id_map is not None:
        users, num_users = _look_up(users, user_ids, user_col, user_id_map, "user_id_map", unknown)
    if unknown == "drop":
        users, items, values = _known(users, items, values)

    with ThreadPoolExecutor(1) as thread:  # scipy sorts while Python makes its dicts
        summing = thread.submit(sum_pairs, users, items, values, (num_users, num_items))
        if item_id_map is None:
            item_id_map = numbers_of(item_ids)
        if user_id_map is None:
            user_id_map = numbers_of(user_ids)
        summed = summing.result()
    matrix = canonical_csr(summed)
    tell_of_zeros(summed.nnz - matrix.nnz, summed.nnz)
    return matrix, item_id_map, user_id_map


def read_columns(dataframe: IntoFrame, names: list[str], *, may_miss: str | None = None) -> dict[str, pa.ChunkedArray]:
    """Returns the named columns as Arrow arrays; only in column ``may_miss`` may values be missing.

    Raises:
        DataTypeError: if it is no data frame, or a column mixes types.
        ConfigError: if a column does not exist, or is not named by a string.
        EmptyDataError: if there are no rows.
        DataError: if values are missing.
    """
    check_names(names)
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
    eager = frame.collect() if isinstance(frame, nw.LazyFrame) else frame
    if not len(eager):
        raise EmptyDataError("the data frame has no rows; there must be at least one interaction")
    with ThreadPoolExecutor(len(eager.columns)) as threads:
        arrays = threads.map(lambda name: _arrow(eager.get_column(name), name), eager.columns)
        columns = dict(zip(eager.columns, arrays, strict=True))
    for name, column in columns.items():
        if name != may_miss:
            _check_complete(column, name)
    return columns


def check_names(names: Iterable[Any]) -> None:
    """Checks the names of columns.

    Raises:
        ConfigError: if one is no string.
    """
    for name in names:
        if not isinstance(name, str):
            raise ConfigError(
                f"a column is named {name!r}, which is no string; pass the column's name, and give those of a frame "
                "that has numbers instead names first: frame.rename(columns=str)"
            )


def _check_complete(array: pa.ChunkedArray, name: str) -> None:
    missing = array.null_count
    if pa.types.is_floating(array.type):
        missing = pc.sum(pc.is_null(array, nan_is_null=True)).as_py()
    elif pa.types.is_dictionary(array.type):  # a row without a category counts already, one of a null category not
        with_null = (chunk for chunk in array.chunks if chunk.dictionary.null_count)
        missing += sum(pc.sum(pc.is_null(chunk.dictionary).take(chunk.indices)).as_py() or 0 for chunk in with_null)
    refuse_missing(missing, name)


def refuse_missing(number: int, name: str) -> None:
    """Checks that no value of a column is missing.

    Raises:
        DataError: if some are.
    """
    if number:
        raise DataError(f"column {name!r} holds {number} missing values (null or NaN); drop these rows or fill them")


def _arrow(column: nw.Series[Any], name: str) -> pa.ChunkedArray:
    try:
        library = column.implementation
        if library.is_pyarrow() or (library.is_polars() and column.dtype == nw.String):
            return pa.chunked_array(column)  # as it is: to_arrow joins the chunks of pyarrow, converts polars' strings
        array = column.to_arrow()
    except UnicodeError as error:
        raise DataTypeError(f"column {name!r} holds text that is not Unicode ({error}); repair it") from error
    except (pa.ArrowException, OverflowError) as error:
        raise DataTypeError(f"column {name!r} does not hold values of one type ({error}); cast it to one") from error
    return array if isinstance(array, pa.ChunkedArray) else pa.chunked_array([array])


def read_weights(column: pa.ChunkedArray, name: str) -> npt.NDArray[np.float32]:
    """Returns a column of interaction values as float32.

    Raises:
        DataTypeError: if they are not numbers or booleans.
        DataError: if one is infinite as float32, or negative.
    """
    kind = column.type
    if pa.types.is_dictionary(kind):
        return read_weights(column.cast(kind.value_type), name)
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
        values: npt.NDArray[np.float32] = column.to_numpy().astype(np.float32, copy=False)
    if len(values) and not 0 <= values.min() <= values.max() < np.inf:
        for bad, what in ((np.isinf(values), "infinite as float32"), (values < 0, "negative")):
            if bad.any():
                refuse_weights(int(bad.sum()), values[bad][0], name, what)
    return values


def refuse_weights(number: int, first: np.float32, name: str, what: str) -> None:
    """Refuses a column of weights for what some of them are.

    Raises:
        DataError: always.
    """
    raise DataError(
        f"column {name!r} holds {number} values that are {what} (the first is {first}); "
        "drop these rows or map them to other values"
    )


def number_columns(columns: Mapping[str, pa.ChunkedArray], names: list[str]) -> list[tuple[Codes, pa.Array]]:
    """Returns what ``number_ids`` gives for each of these columns, each made in a thread of its own."""
    with ThreadPoolExecutor(len(names)) as threads:
        return list(threads.map(lambda name: number_ids(columns[name], f"column {name!r}"), names))


def _look_up(
    codes: Codes, ids: pa.Array, column: str, id_map: Mapping[Any, int], map_name: str, unknown: str
) -> tuple[Numbers, int]:
    """Returns each row's number in the map, -1 where it lacks its id and that is allowed, and the size it needs."""
    _check_map(id_map, map_name)
    raw_ids: list[RawId] = ids.to_pylist()
    numbers = np.fromiter((id_map.get(raw_id, -1) for raw_id in raw_ids), np.int64, len(raw_ids))
    absent = np.flatnonzero(numbers < 0)
    if len(absent) and unknown == "error":
        few = ", ".join(repr(raw_ids[i]) for i in absent[:3])
        example = next(iter(id_map))
        raise UnknownIdError(
            f"{len(absent)} of {len(raw_ids)} ids in column {column!r} are not in {map_name} (such as {few}; "
            f'the map holds {len(id_map)}, such as {example!r}); pass unknown="drop" to leave them out'
        )
    return numbers[codes], int(max(id_map.values())) + 1


def _known(
    users: Numbers, items: Numbers, values: npt.NDArray[np.float32]
) -> tuple[Numbers, Numbers, npt.NDArray[np.float32]]:
    """Returns the rows whose numbers are both known."""
    known = (items >= 0) & (users >= 0)
    if known.all():
        return users, items, values
    _log.info("%d of %d rows dropped: their ids are not in the given maps", (~known).sum(), len(known))
    if not known.any():
        raise EmptyDataError(
            f"none of the {len(known)} rows has ids that the given maps hold; check that the maps belong to this data"
        )
    return users[known], items[known], values[known]


def _check_map(id_map: Mapping[Any, int], map_name: str) -> None:
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


def csr_from_pairs(
    users: Numbers, items: Numbers, values: npt.NDArray[np.float32], shape: tuple[int, int]
) -> sparse.csr_matrix:
    """Returns the matrix of the values, columns sorted, with those of a repeated pair added up."""
    coo = sparse.coo_matrix((values, (users, items)), shape=shape)
    coo.has_canonical_format = True  # not so, but it keeps scipy from sorting every column
    csr = coo.tocsc().tocsr()  # two counting sorts, linear, leave the columns of each row in order
    csr.sum_duplicates()
    return csr


def sum_pairs(
    users: Numbers, items: Numbers, values: npt.NDArray[np.float32], shape: tuple[int, int]
) -> sparse.csr_matrix:
    """Returns the matrix of the values, zeros included; those of a repeated pair are added up, with a warning."""
    matrix = csr_from_pairs(users, items, values, shape)
    tell_of_repeats(len(values) - matrix.nnz, len(values), are_summed=True)
    return matrix


def count_once(users: Codes, items: Codes, shape: tuple[int, int]) -> sparse.csr_matrix:
    """Returns a matrix of 1 for each pair, however often it stands there."""
    ones = np.ones(len(users), np.float32)
    matrix = csr_from_pairs(users, items, ones, shape)
    tell_of_repeats(len(users) - matrix.nnz, len(users), are_summed=False)
    matrix.data[:] = 1
    return matrix


def tell_of_zeros(number: int, of: int) -> None:
    """Logs how many pairs of user and item have the weight 0, if any do."""
    if number:
        _log.warning("%d of %d pairs of user and item have the weight 0: they are no interactions", number, of)


def tell_of_repeats(number: int, of: int, *, are_summed: bool) -> None:
    """Logs how many rows repeat a pair of user and item, if any do."""
    if number and are_summed:
        _log.warning("%d of %d rows repeat a user and item; their values were added up", number, of)
    elif number:
        _log.info("%d of %d rows repeat a user and item; each pair counts once", number, of)
