"""Reading a report back."""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path

VOID = ("meta", "link", "br")


@dataclass
class Part:
    """A section: its headings, the tiles by label, tables by heading, and all its text."""

    headings: list[str] = field(default_factory=list)
    tiles: dict[str, str] = field(default_factory=dict)
    tables: dict[str, list[list[str]]] = field(default_factory=dict)
    charts: list[str] = field(default_factory=list)
    lists: list[list[str]] = field(default_factory=list)
    text: str = ""


class Page(HTMLParser):
    """A page, taken apart; a tag that is not closed, or closed twice, is an AssertionError."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.html = html
        self.parts: dict[str, Part] = {"": Part()}
        self.levels: list[int] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.titles: list[str] = []
        self._open: list[str] = []
        self._part = self.parts[""]
        self._text = ""
        self._label = ""
        self.feed(html)
        self.close()
        assert not self._open, self._open

    def handle_starttag(self, tag, attrs):
        given = {name: value or "" for name, value in attrs}
        self.tags.append((tag, given))
        if tag not in VOID:
            self._open.append(tag)
        if "id" in given:
            self.ids.append(given["id"])
        if tag == "a":
            self.links.append(given["href"])
        if tag == "section":
            self._part = self.parts.setdefault(given["id"], Part())
        if tag == "table":
            self._part.tables[self._part.headings[-1]] = []
        if tag == "tr":
            self._rows().append([])
        if tag in ("ul", "ol"):
            self._part.lists.append([])
        if tag == "svg":
            self._part.charts.append(given["aria-label"])
        self._text = self._text + " " if tag == "small" else ("" if tag not in ("span", "b") else self._text)

    def handle_endtag(self, tag):
        assert self._open.pop() == tag, tag
        text = " ".join(self._text.split())
        if tag in ("h1", "h2", "h3", "h4"):
            self.levels.append(int(tag[1]))
            if tag in ("h1", "h2", "h3"):
                self._part.headings.append(text)
        if tag in ("td", "th"):
            self._rows()[-1].append(text)
        if tag == "li":
            self._part.lists[-1].append(text)
        if tag == "dt":
            self._label = text
        if tag in ("b", "dd") and "dd" in (tag, *self._open):
            self._part.tiles.setdefault(self._label, text)
        if tag == "title":
            self.titles.append(text)

    def handle_data(self, data):
        self._text += data
        self._part.text += data

    def _rows(self):
        return list(self._part.tables.values())[-1]


def read(path: str | Path) -> Page:
    return Page(Path(path).read_text(encoding="utf-8"))
