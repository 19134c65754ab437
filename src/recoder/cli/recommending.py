"""``recoder recommend``: for users who were typed, or for those of a file of any length."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from recoder.api.fitted import FittedModel
from recoder.cli.answers import check_knows_users, id_types, typed_ids, with_what_weighs
from recoder.cli.config import DataConfig
from recoder.cli.histories import whole_histories
from recoder.cli.output import is_watched, tell
from recoder.cli.reading import data_that_counts, read_table, resolved, stream_tables
from recoder.data import IdMap, Interactions
from recoder.data.table_files import write_tables
from recoder.errors import ConfigError, EmptyDataError

__all__ = ["Question", "recommend_to_file", "recommend_to_typed"]

_USERS_AT_ONCE = 20_000
_ROWS_AT_ONCE = 200_000


@dataclass(frozen=True)
class Question:
    """What is asked of each user.

    Attributes:
        path: of the model.
        fitted: the model.
        k: how many items.
        options: further arguments of ``FittedModel.recommend``.
    """

    path: Path
    fitted: FittedModel
    k: int
    options: dict[str, Any]

    @property
    def keeps_seen(self) -> bool:
        """Whether what a user has may be recommended."""
        return not self.options.get("exclude_seen", True)

    def answer(self, **whom: Any) -> pa.Table:
        """Returns the rows of ``FittedModel.recommend``."""
        return self.fitted.recommend(k=self.k, **whom, **self.options)

    def with_items(self, files: Mapping[str, DataConfig], *, may_have_another_name: bool) -> Question:
        """Returns the question about other items: those in the file ``candidates`` alone, or all but in ``exclude``.

        Args:
            files: by these names.
            may_have_another_name: whether the name of their column may be that of another file: if they have none, it
                is found by its name.
        """
        listed = {
            name: _items(data, self.fitted, may_have_another_name=may_have_another_name) for name, data in files.items()
        }
        return Question(self.path, self.fitted, self.k, {**self.options, **listed})


def recommend_to_typed(question: Question, users: list[str], histories: list[str]) -> pa.Table:
    """Returns recommendations for some users of the model, or for histories whose items stand between commas.

    Raises:
        RecoderError: as ``FittedModel.recommend``.
    """
    fitted = question.fitted
    if users:
        check_knows_users(question.path, fitted, may_lack_histories=question.keeps_seen)
        return question.answer(users=typed_ids(users, fitted.interactions.user_ids))
    listed = [[item.strip() for item in history.split(",") if item.strip()] for history in histories]
    return question.answer(histories=[typed_ids(items, fitted.item_ids) for items in listed])


def recommend_to_file(question: Question, data: DataConfig | None, out: Path) -> dict[str, Any]:
    """Writes recommendations for the users of a file, or all of the model's, and returns what it wrote.

    Users and answers are never in memory all together.

    Args:
        question: what is asked.
        data: the file: of users, who are then in the model; or if it has a column of items of histories. None: all
            users of the model.
        out: the file to write.

    Raises:
        EmptyDataError: if there is nobody to recommend to.
        RecoderError, OSError: as reading, ``FittedModel.recommend`` and writing.
    """
    asks = _whom(question, data, out.absolute())
    num_users = 0

    def tables() -> Iterator[pa.Table]:
        nonlocal num_users
        with _progress() as progress:
            task = progress.add_task("recommending", total=None)
            for asked in asks:
                answer = question.answer(**asked)
                number = asked["users"] if "users" in asked else asked["histories"].user_ids
                num_users += len(number)
                progress.update(task, completed=num_users)
                yield answer

    rows = write_tables(out, tables())
    return {"file": str(out), "users": num_users, "rows": rows}


def _whom(question: Question, data: DataConfig | None, out: Path) -> Iterator[dict[str, Any]]:
    """Returns whom to ask about, some thousands of users at a time, after a check that they can be."""
    if data is not None:
        data = resolved(data, required=["user"])
        if data.item:
            data = with_what_weighs(data, question.fitted)
            return _histories(question.fitted, data_that_counts(data), out)
    check_knows_users(question.path, question.fitted, may_lack_histories=question.keeps_seen)
    known = question.fitted.interactions.user_ids
    return _everybody(known) if data is None else _named(question.fitted, data)


def _everybody(known: IdMap) -> Iterator[dict[str, Any]]:
    for start in range(0, len(known), _USERS_AT_ONCE):
        yield {"users": known.ids.slice(start, _USERS_AT_ONCE)}


def _named(fitted: FittedModel, data: DataConfig) -> Iterator[dict[str, Any]]:
    """Yields the users of a file, each once."""
    known = fitted.interactions.user_ids
    is_asked_U = np.zeros(len(known), dtype=bool)
    num_unknown = 0
    for table in stream_tables(data, rows_at_once=_ROWS_AT_ONCE, id_types=id_types(fitted, of_known_users=True)):
        users = table.column(data.user).unique()
        rows = known.indices(users, unknown="drop")
        num_unknown += len(users) - len(rows)
        rows = rows[~is_asked_U[rows]]
        is_asked_U[rows] = True
        for start in range(0, len(rows), _USERS_AT_ONCE):
            yield {"users": known.ids.take(pa.array(rows[start : start + _USERS_AT_ONCE]))}
    if not is_asked_U.any():
        raise EmptyDataError(f"no user in {data.path} is in the model{_example(known)}; is it the right column?")
    if num_unknown:
        tell(f"{num_unknown:,} ids in {data.path} are not in the model; they are left out")


def _histories(fitted: FittedModel, data: DataConfig, out: Path) -> Iterator[dict[str, Any]]:
    known = fitted.item_ids
    num_unknown = num_all = 0
    for table in whole_histories(data, out, id_types=id_types(fitted, of_known_users=False)):
        found = Interactions.from_frame(table, user=str(data.user), item=str(data.item), weight=data.weight or None)
        if data.min_weight > 0:  # who has nothing left is still asked about
            found = found.select_interactions(found.matrix.data >= data.min_weight)
        if data.binary:
            found = found.binarize()
        is_known = np.fromiter((item in known for item in found.item_ids.ids.to_pylist()), bool, found.num_items)
        num_unknown += int((~is_known[found.matrix.indices]).sum())
        num_all += found.matrix.nnz
        for start in range(0, found.num_users, _USERS_AT_ONCE):
            users = np.arange(start, min(start + _USERS_AT_ONCE, found.num_users))
            yield {"histories": found.select_users(users), "unknown": "drop"}
    if data.min_weight > 0 and not num_all:
        tell(f"no interaction in {data.path} weighs at least {data.min_weight:g}: everybody gets what is popular")
    if num_unknown and num_unknown == num_all:
        raise EmptyDataError(
            f"none of the {num_all:,} interactions in {data.path} is with an item of the model{_example(known)}; "
            "is it the right column?"
        )
    if num_unknown:
        tell(f"{num_unknown:,} of {num_all:,} interactions are with items that the model does not know: left out")


def _example(known: IdMap) -> str:
    return f", such as {known.ids[0].as_py()!r}" if len(known) else ""


def _items(data: DataConfig, fitted: FittedModel, *, may_have_another_name: bool) -> list[Any]:
    try:
        data = resolved(data, required=["item"])
    except ConfigError as error:
        if not may_have_another_name:
            raise
        try:
            data = resolved(replace(data, item=None), required=["item"])
        except ConfigError:
            raise error from None
    known = fitted.item_ids
    table = read_table(data, id_types=id_types(fitted, of_known_users=False))
    listed: list[Any] = table.column(data.item).drop_null().unique().to_pylist()
    items = [item for item in listed if item in known]
    if len(items) < len(listed):
        tell(f"{len(listed) - len(items):,} of {len(listed):,} items in {data.path} are not in the model")
    if not items:
        raise EmptyDataError(f"{data.path} names no item of the model")
    return items


def _progress() -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("users"))
    shown = Console(file=sys.stderr)
    return Progress(*columns, TimeElapsedColumn(), console=shown, transient=True, disable=not is_watched())
