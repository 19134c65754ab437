"""The map between the user's own ids and the numbers that a model works with."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from recoder._checks import check_unknown
from recoder.data.raw_ids import RawId, numbers_of, plain_ids
from recoder.data.texts import pack_texts, unpack_arrow
from recoder.errors import (
    DataError,
    DataTypeError,
    FileFormatError,
    RecoderError,
    UnknownIdError,
)

__all__ = ["IdMap"]

_NEXT_STEP = 'leave them out or pass unknown="drop"'


class IdMap:
    """Raw ids, all whole numbers or all strings, and their indices 0 to n - 1. It never changes.

    Args:
        raw_ids: the ids in the order of their indices: a sequence, a numpy or Arrow array, or a data frame's
            column; or a dict from id to index, as ``to_dict`` returns.

    Attributes:
        ids: an Arrow array, int64 or large_string: ``ids[i]`` is the raw id of index ``i``.

    Raises:
        DataTypeError: if the ids are neither all whole numbers nor all strings, or have no order, as those of a set.
        DataError: if an id is missing, stands there twice or is beyond int64, or a dict's indices are not 0 to n - 1.
    """

    ids: pa.Array

    def __init__(self, raw_ids: Any) -> None:
        given = _arrow(raw_ids)
        missing = given.null_count
        ids = given if missing else plain_ids(given, "the list of ids")
        missing = missing or ids.null_count  # what Arrow does not count where the null is a category
        if missing:
            raise DataError(f"the list of ids holds {missing} missing ones; leave them out")
        repeats = len(ids) - len(ids.unique())
        if repeats:
            counts = pc.value_counts(ids)
            example = counts.field("values")[pc.index(pc.greater(counts.field("counts"), 1), True).as_py()]
            raise DataError(
                f"{repeats} of {len(ids)} ids stand there more than once (such as {example.as_py()!r}); "
                "an id has one index: leave the repeats out"
            )
        self.ids = ids

    def indices(self, raw_ids: Iterable[RawId], unknown: str = "error") -> npt.NDArray[np.int64]:
        """Returns the indices of these ids: int64, in their order.

        Args:
            raw_ids: ids, known or not.
            unknown: what to do with ids that the map does not hold: ``"error"``, or ``"drop"`` them, so that
                there are fewer indices than ids.

        Raises:
            UnknownIdError: if the map does not hold all of them and ``unknown`` is ``"error"``.
            ConfigError: if ``unknown`` is neither.
            DataTypeError: if ``raw_ids`` is a single id, or holds something that cannot be one, such as a list, a
                bool or a float; where unknown ones are dropped, also a string where ids are numbers, and the reverse.
        """
        places = self.places(raw_ids, unknown)
        return places[places >= 0]

    def places(
        self, raw_ids: Iterable[RawId], unknown: str = "error", *, kind: str = "ids", next_step: str = _NEXT_STEP
    ) -> npt.NDArray[np.int64]:
        """Returns what ``indices`` does, but -1 where an id is dropped: int64, one for each id.

        Args:
            raw_ids: as in ``indices``, like the following.
            unknown: ``"error"`` or ``"drop"``.
            kind: what to call the ids in an error.
            next_step: what to do about those that are not known.

        Raises:
            UnknownIdError, ConfigError, DataTypeError: as ``indices``.
        """
        check_unknown(unknown)
        if isinstance(raw_ids, str | bytes) or not isinstance(raw_ids, Iterable):
            raise DataTypeError(f"pass a list of ids, not the single {raw_ids!r}")
        # Python's own objects: Arrow's scalars hash otherwise, numpy's slowly
        if isinstance(raw_ids, pa.Array | pa.ChunkedArray):
            raw_ids = raw_ids.to_pylist()
        elif isinstance(raw_ids, np.ndarray):
            raw_ids = raw_ids.tolist()
        listed = list(raw_ids)
        example = f", a known one is {self.ids[0].as_py()!r}" if len(self) else ""
        self._check_types(listed, kind, example, of_this_map=unknown == "drop")
        places = np.fromiter((self._index.get(raw_id, -1) for raw_id in listed), np.int64, len(listed))
        absent = np.flatnonzero(places < 0)
        if len(absent) and unknown == "error":
            few = ", ".join(repr(listed[i]) for i in absent[:3])
            raise UnknownIdError(
                f"{len(absent)} of {len(listed)} {kind} are not among the {len(self)} known "
                f"(such as {few}{example}); {next_step}"
            )
        return places

    def _check_types(self, listed: list[Any], kind: str, example: str, *, of_this_map: bool) -> None:
        """Checks what could be looked up: True and 1.0 would be found as 1, and "1" be dropped as unknown."""
        own = str if pa.types.is_large_string(self.ids.type) else int
        for found in set(map(type, listed)):
            if not issubclass(found, int | str | np.integer) or issubclass(found, bool):
                said, hint = "is no id: an id is a whole number or a string", "pass a flat list of ids"
                if issubclass(found, bool | np.bool_):
                    hint = "of a mask, pass the ids where it is True"
                elif issubclass(found, float | np.floating):
                    hint = "cast whole numbers that were read as floats to int64, and leave missing ones out"
            elif of_this_map and len(self) and issubclass(found, str) != (own is str):
                said, hint = f"cannot be known: ids are {'strings' if own is str else 'whole numbers'}", "convert them"
            else:
                continue
            wrong = next(raw_id for raw_id in listed if type(raw_id) is found)
            raise DataTypeError(f"among the {kind} stands {wrong!r}, which {said}{example}; {hint}")

    def raw_ids(self, indices: npt.ArrayLike) -> list[Any]:
        """Returns the raw ids, str or int, at these indices.

        Raises:
            UnknownIdError: if an index is not in 0 to n - 1.
        """
        wanted = np.atleast_1d(np.asarray(indices))
        if not wanted.size:
            return []
        if wanted.dtype.kind not in "iu" or wanted.ndim != 1:
            raise DataTypeError(f"indices are a list of ints, not {wanted.ndim}-dimensional {wanted.dtype}")
        outside = wanted[(wanted < 0) | (wanted >= len(self))]
        if len(outside):
            raise UnknownIdError(f"index {outside[0]} is outside this map's {len(self)} ids (0 to {len(self) - 1})")
        raw: list[Any] = self.ids.take(pa.array(wanted)).to_pylist()
        return raw

    def to_dict(self) -> dict[Any, int]:
        """Returns a new dict from raw id to index."""
        return numbers_of(self.ids)

    @cached_property
    def _index(self) -> dict[Any, int]:
        # made at the first look-up: an Arrow array alone takes a fraction of its memory
        return self.to_dict()

    def to_arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Returns the ids as arrays: ``int64``, or ``bytes`` (uint8, UTF-8) and ``offsets`` (int64)."""
        if pa.types.is_int64(self.ids.type):
            return {"int64": self.ids.to_numpy().copy()}
        return pack_texts(self.ids)

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, npt.NDArray[Any]]) -> IdMap:
        """Returns the map that ``to_arrays`` took apart; the arrays are copied.

        Raises:
            FileFormatError: if the arrays do not describe a map.
        """
        names = sorted(arrays)
        if names == ["int64"]:
            ids = pa.array(_checked(arrays["int64"], np.int64, "int64").copy())
        elif names == ["bytes", "offsets"]:
            ids = unpack_arrow(arrays, "the stored id map")
        else:
            raise FileFormatError(
                f"an id map is stored as int64, or as bytes and offsets, not as {names}; save it again"
            )
        try:
            return cls(ids)
        except RecoderError as error:
            raise FileFormatError(f"the stored id map is damaged: {error}") from error

    def __len__(self) -> int:
        return len(self.ids)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.ids.to_pylist())

    def __contains__(self, raw_id: object) -> bool:
        is_id = isinstance(raw_id, int | str | np.integer) and not isinstance(raw_id, bool)
        return is_id and raw_id in self._index

    def __eq__(self, other: object) -> bool:
        return self.ids.equals(other.ids) if isinstance(other, IdMap) else NotImplemented

    def __hash__(self) -> int:
        return hash((len(self.ids), str(self.ids[0]) if len(self.ids) else ""))

    def __reduce__(self) -> tuple[type[IdMap], tuple[pa.Array]]:
        return IdMap, (self.ids,)  # without the dict, which can be made again

    def __repr__(self) -> str:
        few = ", ".join(repr(raw_id) for raw_id in self.ids[:3].to_pylist())
        return f"IdMap({len(self)} ids: {few}{', ...' if len(self) > 3 else ''})"


def _arrow(raw_ids: Any) -> pa.Array:
    if isinstance(raw_ids, str | bytes) or not isinstance(raw_ids, Iterable):
        raise DataTypeError(f"pass a list of ids, not {type(raw_ids).__name__}")
    if isinstance(raw_ids, set | frozenset):
        raise DataTypeError(f"a {type(raw_ids).__name__} of ids has no order; pass a list, in that of their indices")
    if isinstance(raw_ids, Mapping):
        raw_ids = _by_index(raw_ids)
    if not isinstance(raw_ids, pa.Array | pa.ChunkedArray):
        # Arrow would not copy an array, which may change later
        listed = raw_ids.copy() if isinstance(raw_ids, np.ndarray) else list(raw_ids)
        if not len(listed):
            return pa.array([], pa.int64())
        try:
            raw_ids = pa.array(listed)
        except UnicodeError as error:
            raise DataTypeError(f"the list of ids holds text that is not Unicode ({error}); repair it") from error
        except (pa.ArrowException, OverflowError) as error:
            raise DataTypeError(
                f"ids are all whole numbers of 64 bits or all strings ({error}); turn them into strings"
            ) from error
    return raw_ids.combine_chunks() if isinstance(raw_ids, pa.ChunkedArray) else raw_ids


def _by_index(ids: Mapping[Any, Any]) -> list[Any]:
    """Returns the ids of a dict from id to index in the order of the indices."""
    in_order: list[Any] = [None] * len(ids)
    is_free = [True] * len(ids)
    for raw_id, index in ids.items():
        is_whole = isinstance(index, int | np.integer) and not isinstance(index, bool)
        if not is_whole or not 0 <= index < len(ids) or not is_free[index]:
            raise DataError(
                f"a dict of ids gives each an index of its own, 0 to {len(ids) - 1}, and this one gives {raw_id!r} "
                f"{index!r}; pass the list of ids instead"
            )
        in_order[index], is_free[index] = raw_id, False
    return in_order


def _checked(array: npt.NDArray[Any], dtype: type[np.generic], name: str) -> npt.NDArray[Any]:
    if not isinstance(array, np.ndarray) or array.dtype != dtype or array.ndim != 1:
        raise FileFormatError(f"the stored id map is damaged: {name} is not a list of {np.dtype(dtype)}")
    return array
