"""What a notebook shows of a history."""

from __future__ import annotations

import io
import math
from typing import TYPE_CHECKING

from recoder._html import html_image, html_table
from recoder.errors import MissingDependencyError
from recoder.metrics.per_metric import margin_text

if TYPE_CHECKING:
    from recoder.training.history import EpochRecord, History

__all__ = ["history_html"]

_FIRST, _LAST = 3, 9
"""Epochs that are shown of a long history, and the best besides."""


def history_html(history: History) -> str:
    """Returns a table of the epochs, the first and the last of many, and where matplotlib is there the curves."""
    if not history:
        return html_table(["epoch"], [], caption="no epoch yet")
    has_validation = any(record.val_loss is not None for record in history)
    metrics = list(dict.fromkeys(name for record in history for name in record.metrics))
    head = ["epoch", "loss", *(["val_loss"] if has_validation else []), *metrics, "lr", "seconds"]
    rows, bold, before = [], [], 0
    for place, record in enumerate(history):
        is_best = record.epoch == history.best_epoch
        if not (place < _FIRST or place >= len(history) - _LAST or is_best):
            continue
        if place > before:
            rows.append(["…", *[""] * (len(head) - 1)])
        if is_best:
            bold.append(len(rows))
        rows.append(_cells(record, metrics, has_validation=has_validation))
        before = place + 1
    caption = "" if history.best_epoch is None else f"the model has the weights of epoch {history.best_epoch}"
    return html_table(head, rows, caption=caption, num_text_columns=0, bold=bold) + _curves(history)


def _cells(record: EpochRecord, metrics: list[str], *, has_validation: bool) -> list[str]:
    val_loss = "" if record.val_loss is None else f"{record.val_loss:.4f}"
    return [
        str(record.epoch),
        "" if math.isnan(record.loss) else f"{record.loss:.4f}",
        *([val_loss] if has_validation else []),
        *(_with_error(record, name) for name in metrics),
        f"{record.lr:.3g}" if record.lr else "",
        f"{record.seconds:.1f}",
    ]


def _with_error(record: EpochRecord, metric: str) -> str:
    if metric not in record.metrics:
        return ""
    return f"{record.metrics[metric]:.4f} {margin_text(record.error_of(metric))}".rstrip()


def _curves(history: History) -> str:
    if len(history) < 2:
        return ""
    try:
        figure = history.plot()
    except MissingDependencyError:
        return ""
    svg = io.BytesIO()
    figure.savefig(svg, format="svg")
    return f"<div>{html_image(svg.getvalue(), 'losses and metrics per epoch')}</div>"
