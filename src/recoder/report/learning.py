"""How the training went."""

from __future__ import annotations

import math

from recoder.api.fitted import FittedModel
from recoder.metrics.per_metric import margin_text
from recoder.report.charts import Line, line_chart
from recoder.report.parts import COLOURS, MODEL, POPULAR, Figure, Section, Tile
from recoder.training.history import History

__all__ = ["training_section"]

_COLOURS = [colour for colour in COLOURS if colour != POPULAR]
"""Of metrics: that of most-popular stays its own."""


def training_section(model: FittedModel) -> Section | None:
    """Returns the curves of a training by epochs, a sentence on one without, or None where nothing is known of it."""
    history = model.recoder.history
    if not history:
        return None
    seconds = sum(record.seconds for record in history)
    last = history.of_weights
    tiles = [Tile("training time", _duration(seconds))]
    if model.recoder.model.is_solved:
        lead = "The model is computed at once from all interactions: there are no epochs, and so no curves."
    else:
        lead = "Validation users are not trained on; ± and the bands are one standard error." * bool(last.metrics)
        tiles.insert(0, Tile("epochs", str(history[-1].epoch)))
    if history.best_epoch is not None:
        tiles.append(Tile("weights of epoch", str(history.best_epoch), "the best on validation users"))
    for name, mean in last.metrics.items():
        tiles.append(Tile(f"{name}, validation", f"{mean:.4f}", margin_text(last.error_of(name))))
    return Section("training", "Training", lead, tiles, _figures(history) if len(history) > 1 else [])


def _figures(history: History) -> list[Figure]:
    epochs = [float(record.epoch) for record in history]
    marks = [] if history.best_epoch is None else [(float(history.best_epoch), "best")]
    figures = [_loss("Training loss", epochs, [record.loss for record in history], marks)]
    validated = [record for record in history if record.val_loss is not None]
    if len(validated) > 1:
        losses = [record.val_loss or 0.0 for record in validated]
        figures.append(_loss("Validation loss", [float(record.epoch) for record in validated], losses, marks))
    names = list(dict.fromkeys(name for record in history for name in record.metrics))
    if names:
        figures.append(_metrics(history, names, marks))
    return [figure for figure in figures if figure.svg]


def _loss(title: str, epochs: list[float], losses: list[float], marks: list[tuple[float, str]]) -> Figure:
    if not any(map(math.isfinite, losses)):
        return Figure(title, "")
    svg = line_chart(
        [Line(MODEL, epochs, losses)],
        description=f"{title} over {len(losses)} epochs: from {losses[0]:.4g} to {losses[-1]:.4g}",
        x_label="epoch",
        y_label="mean per user",
        marks=marks,
    )
    return Figure(title, svg)


def _metrics(history: History, names: list[str], marks: list[tuple[float, str]]) -> Figure:
    lines, legend, said = [], [], []
    if not any(math.isfinite(record.metrics.get(name, math.nan)) for record in history for name in names):
        return Figure("Validation metrics", "")
    for place, name in enumerate(names):
        records = [record for record in history if name in record.metrics]
        colour = _COLOURS[place % len(_COLOURS)]
        means = [record.metrics[name] for record in records]
        errors = [record.error_of(name) for record in records]
        lines.append(Line(colour, [float(record.epoch) for record in records], means, errors))
        legend.append((colour, name))
        said.append(f"{name} from {means[0]:.4f} to {means[-1]:.4f}")
    svg = line_chart(
        lines,
        description=f"Metrics of validation users: {', '.join(said)}",
        x_label="epoch",
        y_label="mean over users",
        from_zero=True,
        marks=marks,
    )
    return Figure("Validation metrics", svg, legend=legend)


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
