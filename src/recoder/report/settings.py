"""How the model was made, enough to make it again."""

from __future__ import annotations

import json
from typing import Any

from recoder.api.fitted import FittedModel
from recoder.report.parts import Cell, Section, Table

__all__ = ["settings_section"]


def settings_section(model: FittedModel) -> Section:
    """Returns the arguments of the model and of its training; those that a file cannot hold are missing."""
    recoder, about = model.recoder, model.about
    tables = [_table(type(recoder.model).__name__, {**recoder.model.model_params(), **about.model})]
    training: dict[str, Any] = {**about.recoder, **about.train}
    if not recoder.model.is_solved:
        training = {"optimizer_type": recoder.optimizer_type, **training}
        if isinstance(recoder.loss, str):
            training = {"loss": recoder.loss, "loss_params": recoder.loss_params, **training}
    tables.append(_table("Training", {"seed": recoder.seed, **training}))
    return Section("settings", "Settings", tables=[table for table in tables if table.rows])


def _table(caption: str, settings: dict[str, Any]) -> Table:
    told = {name: value for name, value in settings.items() if value not in (None, {})}
    rows = [(name, [Cell(value if isinstance(value, str) else json.dumps(value))]) for name, value in told.items()]
    return Table(caption, ["argument", "value"], rows)
