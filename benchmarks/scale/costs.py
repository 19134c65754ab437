"""What sharing the items costs: the numbers that a step sends, and the memory that each of two processes needs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.scale.running import run
from benchmarks.scale.worker import WARM_UP_STEPS, make_data
from benchmarks.speed.lines import markdown_table
from benchmarks.synthetic import Shape

__all__ = ["measure"]

FULL = {"sizes": (20_000, 200_000, 2_000_000), "batch": 500, "factors": 64}
QUICK = {"sizes": (2_000,), "batch": 50, "factors": 8}

WORKS: tuple[tuple[str, dict[str, Any]], ...] = tuple(
    (f"{model}, {loss}, {'sampled' if sampling else 'all items (Gram)'}", work)
    for model in ("autoencoder", "factorization")
    for loss, sampling in (("logistic", True), ("logloss", True), ("mse", True), ("mse", False))
    for work in [{"model": model, "loss": loss, "sampling": sampling}]
)

_SECTION = """\
## What processes that share the items send and hold

Numbers that each of two processes hands to exchanges in a step, counted as it trains: batches of B = {batch} users, D =
{factors} factors, adam. In brackets the memory of the parameters and the optimizer's state of each of the two, as a
part of that of one process alone.

{table}

2BD is {two_factors:,}, and 2BD + 4B is {limit:,}.
"""


def measure(folder: Path, quick: bool) -> str:
    """Returns a section of the page.

    Args:
        folder: for files.
        quick: tiny sizes, to try the program.
    """
    chosen: dict[str, Any] = QUICK if quick else FULL
    batch, factors = chosen["batch"], chosen["factors"]
    base = {"users": (WARM_UP_STEPS + 3) * batch, "batch": batch, "factors": factors, "threads": 1}
    found: dict[str, list[str]] = {name: [name] for name, _ in WORKS}
    for size in chosen["sizes"]:
        data = folder / f"{size}.npz"
        make_data(data, Shape(base["users"], size))
        task = {**base, "data": str(data), "tries": [work for _, work in WORKS]}
        two = run("benchmarks.scale.worker", {**task, "parallel": "items"}, 2)
        one = run("benchmarks.scale.worker", {**task, "parallel": None})
        for (name, _), shared, alone in zip(WORKS, two["tries"], one["tries"], strict=True):
            found[name].append(f"{shared['sent']:,.0f} ({shared['held_mib'] / alone['held_mib']:.3f})")
    headings = ("work", *(f"{size:,} items" for size in chosen["sizes"]))
    table = markdown_table(headings, found.values(), num_text_columns=1)
    two_factors = 2 * batch * factors
    return _SECTION.format(
        batch=batch, factors=factors, table=table.rstrip(), two_factors=two_factors, limit=two_factors + 4 * batch
    )
