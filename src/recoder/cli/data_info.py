"""``recoder data info``: what there is in a file of interactions."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timezone
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from rich.console import Console
from rich.table import Table

from recoder.cli.columns import ROLES
from recoder.cli.config import DataConfig
from recoder.cli.output import say
from recoder.cli.reading import check_times, is_dataset_name, read_interactions, read_table
from recoder.cli.sparklines import log_histogram, sparkline, time_histogram
from recoder.data import Interactions
from recoder.errors import DataTypeError, EmptyDataError

__all__ = ["Summary", "print_summary", "summary_of"]

_QUANTILES = (0, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99, 1)
_TOP_SHARES = (0.01, 0.1, 0.2)
_FEW = 5
_TIME_BINS = 40


@dataclass(frozen=True)
class Summary:
    """What there is.

    Attributes:
        data: where it is.
        interactions: different pairs of user and item, of weight 1, or as a public data set has them.
        missing: number of rows without a value, by role; None where the file's rows are not known.
        rows: of the file; None likewise.
        weights: of the rows; None where there are none.
    """

    data: DataConfig
    interactions: Interactions
    missing: dict[str, int] | None = None
    rows: int | None = None
    weights: npt.NDArray[np.float64] | None = None

    def to_json(self) -> dict[str, Any]:
        """Returns it as JSON values."""
        data, matrix = self.interactions, self.interactions.matrix
        counts_U, counts_N = _counts(data)
        times = data.times
        return {
            "file": self.data.path,
            "columns": {role: name for role in ROLES if (name := getattr(self.data, role))},
            "rows": self.rows,
            "missing": self.missing,
            "repeated_pairs": self.repeated_pairs,
            "users": data.num_users,
            "items": data.num_items,
            "interactions": int(matrix.nnz),
            "density": matrix.nnz / (data.num_users * data.num_items),
            "per_user": _quantiles(counts_U),
            "per_item": _quantiles(counts_N),
            "long_tail": {
                "top_items": {f"{share:.0%}": _share_of_top(counts_N, share) for share in _TOP_SHARES},
                f"items_below_{_FEW}": float((counts_N < _FEW).mean()),
            },
            "weights": None if self.weights is None else _spread(self.weights),
            "times": None if times is None else {"first": _moment(times.min()), "last": _moment(times.max())},
        }

    @property
    def repeated_pairs(self) -> int | None:
        """Rows whose user and item stand in another one too, but for one of them; None where rows are not known."""
        if self.rows is None or self.missing is None:
            return None
        return self.rows - self.missing["rows"] - int(self.interactions.matrix.nnz)


def summary_of(data: DataConfig) -> Summary:
    """Returns what there is in a file; rows in which a value is missing count as such, and for nothing else.

    Args:
        data: as ``resolved`` returns it.

    Raises:
        EmptyDataError: if a value is missing in every row.
        RecoderError, OSError: as ``read_interactions``.
    """
    if is_dataset_name(str(data.path)):
        found = read_interactions(data)
        return Summary(data, found, weights=found.matrix.data.astype(np.float64))
    table = read_table(data)
    needed = {role: name for role in ("user", "item", "weight", "time") if (name := getattr(data, role))}
    absent = {role: pc.is_null(table.column(name), nan_is_null=True) for role, name in needed.items()}
    is_absent = np.zeros(len(table), dtype=bool)
    for column in absent.values():
        is_absent |= column.to_numpy()
    whole = table.filter(pa.array(~is_absent))
    if not len(whole):
        raise EmptyDataError(f"{data.path} has no row in which {', '.join(needed.values())} are all there")
    check_times(whole, data)
    missing = {role: int(pc.sum(column).as_py()) for role, column in absent.items()}
    if data.title:
        missing["title"] = table.column(data.title).null_count
    return Summary(
        replace(data),
        Interactions.from_frame(whole, user=str(data.user), item=str(data.item), time=data.time or None),
        missing={**missing, "rows": int(is_absent.sum())},
        rows=len(table),
        weights=_weights(whole.column(data.weight), data.weight) if data.weight else None,
    )


def print_summary(console: Console, summary: Summary) -> None:
    """Prints it for people."""
    values, data = summary.to_json(), summary.interactions
    counts_U, counts_N = _counts(data)
    facts = Table.grid(padding=(0, 2))
    facts.add_row("users", f"{data.num_users:,}")
    facts.add_row("items", f"{data.num_items:,}")
    facts.add_row("interactions", f"{data.matrix.nnz:,} (density {values['density']:.3%})")
    if summary.rows is not None and summary.missing is not None:
        facts.add_row("rows", f"{summary.rows:,}, of which {_defects(summary)}")
    if values["weights"] is not None:
        facts.add_row("weights", _weights_text(values["weights"]))
    tops = ", ".join(f"{part:.0%} to the top {top}" for top, part in values["long_tail"]["top_items"].items())
    facts.add_row("long tail", f"of interactions, {tops} of items;")
    facts.add_row("", f"{values['long_tail'][f'items_below_{_FEW}']:.0%} of items have fewer than {_FEW}")
    if data.times is not None:
        facts.add_row("time", f"{values['times']['first']} to {values['times']['last']}")
        facts.add_row("", f"{sparkline(time_histogram(data.times, _TIME_BINS))}  interactions by time")
    for kind, counts in (("users", counts_U), ("items", counts_N)):
        facts.add_row("", f"{sparkline(log_histogram(counts))}  {kind} with 1, 2-3, 4-7, ... interactions")
    say(console, str(summary.data.path))
    console.print(facts)
    console.print()
    console.print(_activity(counts_U, counts_N))


def _activity(counts_U: npt.NDArray[np.int64], counts_N: npt.NDArray[np.int64]) -> Table:
    table = Table("interactions", *("min", "10 %", "25 %", "median", "75 %", "90 %", "99 %", "max"))
    for column in table.columns[1:]:
        column.justify = "right"
    for name, counts in (("per user", counts_U), ("per item", counts_N)):
        quantiles = np.quantile(counts, _QUANTILES, method="inverted_cdf")
        table.add_row(name, *(f"{value:.0f}" for value in quantiles))
    return table


def _counts(data: Interactions) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Returns the numbers of interactions of the users, and of the items, that have any."""
    counts_U = np.diff(data.matrix.indptr).astype(np.int64)
    counts_N = np.bincount(data.matrix.indices, minlength=data.num_items)
    return counts_U[counts_U > 0], counts_N[counts_N > 0]


def _defects(summary: Summary) -> str:
    missing = dict(summary.missing or {})
    lacking = [f"{count:,} without {role}" for role, count in missing.items() if count and role != "rows"]
    repeats = summary.repeated_pairs or 0
    return ", ".join([*lacking, f"{repeats:,} repeat a pair" if repeats else "none repeats a pair"])


def _weights_text(values: dict[str, Any]) -> str:
    odd = [f"{values[name]:,} {name}" for name in ("zero", "negative", "infinite") if values[name]]
    spread = [f"{values['min']:g} to {values['max']:g}, median {values['median']:g}"] if "min" in values else []
    return ", ".join([*spread, *odd])


def _quantiles(counts: npt.NDArray[np.int64]) -> dict[str, float]:
    values = np.quantile(counts, _QUANTILES, method="inverted_cdf")
    names = ("min", "q10", "q25", "median", "q75", "q90", "q99", "max")
    return {name: int(value) for name, value in zip(names, values, strict=True)} | {"mean": float(counts.mean())}


def _share_of_top(counts_N: npt.NDArray[np.int64], share: float) -> float:
    """Returns the part of all interactions that the items with the most have; at least one item."""
    top = np.sort(counts_N)[::-1][: max(1, round(share * len(counts_N)))]
    return float(top.sum() / counts_N.sum())


def _weights(column: pa.ChunkedArray, name: str) -> npt.NDArray[np.float64]:
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    kind = column.type
    if pa.types.is_boolean(kind):
        column = column.cast(pa.uint8())
    elif not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)):
        raise DataTypeError(
            f"column {name!r} holds {kind}; weights are numbers: choose another --weight, or '' for none"
        )
    weights: npt.NDArray[np.float64] = column.cast(pa.float64()).to_numpy()
    return weights


def _spread(weights: npt.NDArray[np.float64]) -> dict[str, Any]:
    finite = weights[np.isfinite(weights)]
    numbers: dict[str, Any] = {}
    if len(finite):
        numbers = {"min": float(finite.min()), "median": float(np.median(finite)), "max": float(finite.max())}
    odd = {"zero": weights == 0, "negative": weights < 0, "infinite": np.isinf(weights)}
    return numbers | {name: int(is_so.sum()) for name, is_so in odd.items()}


def _moment(seconds: Any) -> str:
    try:
        return datetime.fromtimestamp(int(seconds), timezone.utc).isoformat(timespec="seconds").replace("+00:00", "Z")
    except (OverflowError, ValueError, OSError):  # milliseconds taken for seconds, say
        return f"second {int(seconds)}"
