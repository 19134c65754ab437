"""``recoder doctor --plan``: what each recipe would take, before anything is trained."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from recoder._memory import available_bytes
from recoder.cli.config import DataConfig
from recoder.cli.output import is_watched, say
from recoder.cli.planning import Estimate, estimate
from recoder.cli.reading import resolved, to_train_on
from recoder.recipes import RECIPES, recipe

__all__ = ["plan_for", "print_plan"]

NOTE = "estimates, from a few steps on this machine: a time may be wrong by a factor of three"


def plan_for(data: DataConfig, names: Sequence[str]) -> dict[str, Any]:
    """Returns estimates as JSON values; progress is shown where somebody is looking.

    Args:
        data: what would be learnt from.
        names: of recipes; empty: all.

    Raises:
        ConfigError: if there is no such recipe.
        RecoderError, OSError: as reading the data.
    """
    for name in names:
        recipe(name)
    interactions = to_train_on(replace(resolved(data), binary=True))  # as the estimates are made
    names = names or tuple(RECIPES)
    with Progress(console=Console(file=sys.stderr), transient=True, disable=not is_watched()) as progress:
        estimates = [estimate(name, interactions.matrix) for name in progress.track(names, description="measuring")]
    return {
        "file": data.path,
        "users": interactions.num_users,
        "items": interactions.num_items,
        "interactions": int(interactions.matrix.nnz),
        "free_memory": available_bytes(),
        "note": NOTE,
        "recipes": [each.to_json() for each in estimates],
    }


def print_plan(console: Console, plan: dict[str, Any]) -> None:
    """Prints estimates for people."""
    free = plan["free_memory"]
    say(
        console,
        f"{plan['users']:,} users, {plan['items']:,} items, {plan['interactions']:,} interactions; "
        + ("free memory unknown" if free is None else f"{_bytes(free)} free"),
    )
    table = Table("recipe", "memory", "training", "")
    table.columns[1].justify = table.columns[2].justify = "right"
    for each in (Estimate(**values) for values in plan["recipes"]):
        seconds = "-" if each.seconds is None else _duration(each.seconds)
        table.add_row(each.recipe, _bytes(each.memory), seconds, "" if each.fits is not False else "does not fit")
    console.print(table)
    say(console, plan["note"])


def _bytes(number: int) -> str:
    return f"{number / 2**30:.1f} GiB" if number >= 2**30 else f"{number / 2**20:.0f} MiB"


def _duration(seconds: float) -> str:
    """Returns a duration with two digits, which is all that an estimate has."""
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{float(f'{seconds / length:.2g}'):g} {unit}"
    return "under 0.1 s" if seconds < 0.1 else f"{float(f'{seconds:.2g}'):g} s"
