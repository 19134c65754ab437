"""What came of a training or an evaluation, for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table

from recoder.cli.output import say

__all__ = ["print_metrics", "print_training"]


def print_training(console: Console, done: Mapping[str, Any]) -> None:
    """Prints what ``train_model`` returned."""
    say(console, f"{done['users']:,} users, {done['items']:,} items, {done['interactions']:,} interactions to train on")
    # a closed form has no epochs, and no loss
    epochs = "solved" if done["loss"] is None else f"{done['epochs']} epochs"
    loss = "" if done["loss"] is None else f", loss {done['loss']:.4f}"
    best = f"; the best was epoch {done['best_epoch']}" if done["best_epoch"] != done["epochs"] else ""
    say(console, f"{done['recipe']}: {epochs} in {done['seconds']:.1f} s{loss}{best}")
    print_metrics(console, {name: done[name] for name in ("validation", "test") if done[name] is not None})
    say(console, f"the model is in {done['model']}")


def print_metrics(console: Console, judged: Mapping[str, Mapping[str, Any]]) -> None:
    """Prints means with standard errors, a column for each group of users.

    Args:
        console: where to.
        judged: by the group's name, the number of ``users`` and by metric ``mean`` and ``stderr``.
    """
    if not judged:
        return
    table = Table("metric")
    for name, group in judged.items():
        table.add_column(f"{name}, {group['users']:,} users", justify="right")
    for metric in next(iter(judged.values()))["metrics"]:
        table.add_row(metric, *(_cell(group["metrics"].get(metric)) for group in judged.values()))
    console.print(table)


def _cell(value: Mapping[str, Any] | None) -> str:
    if value is None or value["mean"] is None:
        return "-"
    return f"{value['mean']:.4f}" + ("" if value["stderr"] is None else f" ± {value['stderr']:.4f}")
