"""Asking a model in ids that were typed, and showing what it answers."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
from rich.console import Console
from rich.table import Table
from rich.text import Text

import recoder
from recoder.api.fitted import FittedModel
from recoder.cli.config import DataConfig, changed
from recoder.cli.output import tell
from recoder.cli.training import config_in
from recoder.data import IdMap
from recoder.errors import FileFormatError, NotInitializedError, UnknownIdError

__all__ = [
    "as_trained",
    "check_knows_users",
    "check_model_file",
    "id_types",
    "load_model",
    "print_answers",
    "typed_ids",
]


def load_model(path: Path) -> FittedModel:
    """Returns the model of a file, to answer in Arrow tables.

    Raises:
        FileFormatError, FileNotFoundError and others: as ``recoder.load``.
    """
    check_model_file(path)
    return recoder.load(path, library="pyarrow")


def check_model_file(path: Path) -> None:
    """Checks that a file may be a model's, as far as its first bytes tell.

    Raises:
        FileFormatError: if it is something else.
        FileNotFoundError: if there is no such file.
    """
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}; recoder train writes models, and checkpoints beside them")
    with path.open("rb") as file:
        start = file.read(9)
    # JSON after its length; a file of recoder 0.4, which Recoder says more of, is an archive or a pickle
    if start[8:] != b"{" and not start.startswith((b"PK", b"\x80")):
        raise FileFormatError(f"{path} is no model file; recoder train writes one from interactions")


def as_trained(fitted: FittedModel) -> DataConfig:
    """Returns what a model's file says of the weights and ids that it learnt from."""
    config = config_in(fitted.about.more)
    if config is None:
        return DataConfig(binary=not fitted.about.with_weights)
    data = config.data
    return DataConfig(min_weight=data.min_weight, binary=data.binary, text_ids=data.text_ids)


def with_what_weighs(data: DataConfig, fitted: FittedModel) -> DataConfig:
    """Returns the same, but that every interaction counts 1 where a file has no weights and a model learnt from some.

    A model that ``recoder train`` made knows that weights are to count, and asks for them.
    """
    if data.binary or data.weight or config_in(fitted.about.more) is not None:
        return data
    tell(f"{data.path} has no column that is named like weights, which the model learnt from: each row counts 1")
    return changed(data, {"binary": True})


def id_types(fitted: FittedModel, *, of_known_users: bool) -> dict[str, pa.DataType]:
    """Returns the types that the ids of a file are to be read as, by role, so that they meet those of a model.

    Args:
        fitted: the model.
        of_known_users: whether the file's users are looked up in the model. Where they are others, they are read as
            text if those of the model are, which loses nothing.
    """
    types = {"item": fitted.item_ids.ids.type}
    users = fitted.interactions.user_ids
    if len(users) and (of_known_users or not pa.types.is_integer(users.ids.type)):
        types["user"] = users.ids.type
    return types


def typed_ids(texts: Sequence[str], ids: IdMap) -> list[Any]:
    """Returns ids as the model has them: text, or whole numbers.

    Args:
        texts: as typed.
        ids: of the model's users or items.

    Raises:
        UnknownIdError: if one is no whole number where all ids are, or the model does not know it.
    """
    typed: list[Any] = list(texts)
    if pa.types.is_integer(ids.ids.type):
        for text in texts:
            if not re.fullmatch(r"-?\d+", text.strip()):
                raise UnknownIdError(f"{text!r} is no id of this model, whose ids are whole numbers")
        typed = [int(text) for text in texts]
    unknown = [text for text, each in zip(texts, typed, strict=True) if each not in ids]
    if unknown:
        raise UnknownIdError(
            f"{len(unknown)} of {len(texts)} ids are not among the {len(ids)} known (such as {unknown[0]!r}); "
            "leave them out"
        )
    return typed


def check_knows_users(path: Path, fitted: FittedModel, *, may_lack_histories: bool = False) -> None:
    """Checks that a model can be asked for its users by their ids.

    Args:
        path: of the model.
        fitted: the model.
        may_lack_histories: whether a model that looks users up can answer without, as where what they have may be
            recommended.

    Raises:
        NotInitializedError: if its file holds no histories.
    """
    looks_up = not fitted.recoder.model.folds_in_users and len(fitted.interactions.user_ids) > 0
    if not fitted.has_histories and not (may_lack_histories and looks_up):
        raise NotInitializedError(
            f"{path} holds no histories of users, so it cannot answer for their ids; give histories, "
            "or train it with --histories"
        )


def print_answers(
    console: Console, answers: pa.Table, headings: Mapping[str, str], *, asked: str | None = None
) -> None:
    """Prints rows for people.

    Args:
        console: where to.
        answers: the rows.
        headings: of the columns to show, by their names.
        asked: the column that says what was asked; there is a line between different questions.
    """
    if not len(answers):
        tell("there is no answer: no item is left to choose from")
        return
    shown = [name for name in headings if name in answers.column_names]
    table = Table(*(headings[name] for name in shown))
    for name, column in zip(shown, table.columns, strict=True):
        column.justify = "right" if name in ("score", "score_drop", "rank") else "left"
        column.overflow = "fold"  # half an id is none
    rows = answers.select(shown).to_pylist()
    for before, row in zip([None, *rows], rows, strict=False):
        if asked is not None and before is not None and before[asked] != row[asked]:
            table.add_section()
        table.add_row(*(Text(f"{cell:.4f}" if isinstance(cell, float) else str(cell)) for cell in row.values()))
    console.print(table)
