"""Items as places on a map: near to one another where the model sees them alike.

Sizes: N items, M of them on the map, D factors.
"""

from __future__ import annotations

from dataclasses import dataclass
from html import escape

import numpy as np

from recoder.api.fitted import FittedModel
from recoder.metrics.ranking import FloatArray, IntArray
from recoder.report.charts import picture
from recoder.report.parts import Figure, Section

__all__ = ["map_section"]

_ITEMS = 300
_WIDTH, _HEIGHT = 1000, 680
_MARGIN = 24


@dataclass(frozen=True)
class _Lettering:
    """Labels for one width of the screen: the size of letters, how many labels at most, and how long they may be."""

    name: str
    size: int
    most: int
    longest: int


_LETTERINGS = (_Lettering("wide", 14, 28, 34), _Lettering("narrow", 30, 9, 22))


def map_section(model: FittedModel) -> Section | None:
    """Returns the most popular items, projected to two dimensions.

    Returns:
        None where there are no titles, no counts, or no factors of at least two dimensions and three items.
    """
    titles, counts_N = model.interactions.titles, model.item_counts
    if titles is None or not model.recoder.model.is_factorized or not counts_N.any():
        return None
    popular = np.argsort(-counts_N, kind="stable")[:_ITEMS]
    popular = popular[counts_N[popular] > 0]
    factors_ND = model.recoder.model.item_factors()[0].detach()
    if factors_ND.shape[1] < 2 or len(popular) < 3:
        return None
    places_M2 = _projected(factors_ND[popular].float().cpu().numpy().astype(np.float64))
    named = [titles[item] for item in popular.tolist()]
    svg = _drawn(places_M2, named, counts_N[popular])
    note = (
        f"The {len(popular)} most popular items; larger is more popular. Point at one for its title. The two axes are "
        "those along which the directions of their factors differ most; near ones may still differ in others."
    )
    figure = Figure("Items that the model sees alike are near to one another", svg, note, is_wide=True)
    return Section("map", "Map of the items", figures=[figure])


def _projected(factors_MD: FloatArray) -> FloatArray:
    """Returns the first two principal components of the directions of factors: ``[M, 2]``."""
    norms_M = np.linalg.norm(factors_MD, axis=1, keepdims=True)
    units_MD = factors_MD / np.maximum(norms_M, np.finfo(np.float64).tiny)
    left, values, _ = np.linalg.svd(units_MD - units_MD.mean(axis=0), full_matrices=False)
    places: FloatArray = left[:, :2] * values[:2]
    # the sign of a component is no one's choice: the most popular item stands to the left and above
    return places * np.where(places[0] > 0, -1.0, 1.0)


def _drawn(places_M2: FloatArray, titles: list[str], counts_M: IntArray) -> str:
    size = np.array([_WIDTH, _HEIGHT])
    # a few far-off items must not press the others together
    low, high = np.quantile(places_M2, [0.01, 0.99], axis=0)
    shares = np.clip((places_M2 - low) / np.maximum(high - low, 1e-12), 0, 1)
    at_M2 = _MARGIN + shares * (size - 2 * _MARGIN)
    radii = 3 + 7 * np.sqrt(counts_M / counts_M.max())
    dots = [
        f'<circle class="spot" cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}"><title>{escape(title)}</title></circle>'
        for (x, y), radius, title in zip(at_M2, radii, titles, strict=True)
    ]
    labels = [_labels(lettering, at_M2, radii, titles) for lettering in _LETTERINGS]
    some = ", ".join(titles[:5])
    description = f"Map of {len(titles)} items by the two main directions of their factors, among them {some}"
    return picture(['<g class="s0">', *reversed(dots), "</g>", *labels], description, width=_WIDTH, height=_HEIGHT)


def _labels(lettering: _Lettering, at_M2: FloatArray, radii: FloatArray, titles: list[str]) -> str:
    """Returns titles beside their dots, the most popular first, none over another."""
    taken: list[tuple[float, float, float, float]] = []
    texts = []
    for (x, y), radius, title in zip(at_M2.tolist(), radii.tolist(), titles, strict=True):
        short = title if len(title) <= lettering.longest else title[: lettering.longest - 1].rstrip() + "…"
        width, height = 0.56 * lettering.size * len(short), 1.1 * lettering.size
        to_right = x + radius + 4 + width <= _WIDTH
        left = x + radius + 4 if to_right else x - radius - 4 - width
        box = (left, y - height / 2, left + width, y + height / 2)
        if left < 0 or any(_overlap(box, other) for other in taken):
            continue
        taken.append(box)
        anchor, at = ("start", left) if to_right else ("end", left + width)
        baseline = min(max(y, height / 2), _HEIGHT - height / 2) + 0.35 * lettering.size
        texts.append(
            f'<text x="{at:.1f}" y="{baseline:.1f}" text-anchor="{anchor}" aria-hidden="true">{escape(short)}</text>'
        )
        if len(texts) == lettering.most:
            break
    return f'<g class="labels {lettering.name}" font-size="{lettering.size}">{"".join(texts)}</g>'


def _overlap(one: tuple[float, float, float, float], other: tuple[float, float, float, float]) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]
