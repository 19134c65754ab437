"""What a report is made of: sections of tiles, charts, tables and people; the template escapes every text in them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = [
    "COLOURS",
    "MODEL",
    "POPULAR",
    "Cell",
    "Figure",
    "Person",
    "Section",
    "Table",
    "Tile",
    "percent",
    "plain",
    "span",
]

COLOURS = range(6)
"""All there are; the style sheet says which."""

MODEL, POPULAR = 0, 1
"""Those of the model and of most-popular in every chart."""


@dataclass(frozen=True)
class Tile:
    """A number that stands out.

    Attributes:
        label: what it is.
        value: the number.
        note: what to know of it.
    """

    label: str
    value: str
    note: str = ""


@dataclass(frozen=True)
class Figure:
    """A chart.

    Attributes:
        title: what it shows.
        svg: the picture, the one text that is not escaped again.
        note: how to read it.
        legend: colours and the names of what has them; empty where there is one series.
        is_wide: it takes the whole width.
    """

    title: str
    svg: str
    note: str = ""
    legend: Sequence[tuple[int, str]] = ()
    is_wide: bool = False


@dataclass(frozen=True)
class Cell:
    """A number in a table, and what stands below it in small letters."""

    text: str
    note: str = ""


@dataclass(frozen=True)
class Table:
    """Rows under a head; the first column, of texts, names the rows."""

    caption: str
    head: Sequence[str]
    rows: Sequence[tuple[str, Sequence[Cell]]]


@dataclass(frozen=True)
class Person:
    """A user.

    Attributes:
        name: the user's id.
        summary: in a few words.
        history: what they have, the first of it.
        num_more: how much more they have.
        recommended: items, best first, each with whether it is a hit.
    """

    name: str
    summary: str
    history: Sequence[str]
    num_more: int
    recommended: Sequence[tuple[str, bool]]


@dataclass(frozen=True)
class Section:
    """A part of the page.

    Attributes:
        anchor: its name in links.
        title: its heading.
        lead: a sentence or two below it.
        tiles: as said there, like the following.
        figures: charts.
        tables: tables.
        people: users.
    """

    anchor: str
    title: str
    lead: str = ""
    tiles: Sequence[Tile] = ()
    figures: Sequence[Figure] = ()
    tables: Sequence[Table] = ()
    people: Sequence[Person] = ()


def percent(share: float) -> str:
    """Returns a share as in ``34.1 %``."""
    return f"{100 * share:.3g} %" if share < 0.9995 else "100 %"


def plain(number: float) -> str:
    """Returns a number as in ``1,234`` or ``0.25``."""
    return f"{number:,}" if isinstance(number, int) else f"{number:,.4g}"


def span(low: int, high: int) -> str:
    """Returns a range of whole numbers as in ``4-7``, or the only one."""
    return str(low) if low == high else f"{low}-{high}"
