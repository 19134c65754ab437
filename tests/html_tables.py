"""Reading the tables in a piece of HTML back."""

from __future__ import annotations

from html.parser import HTMLParser


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.captions: list[str] = []
        self.tags: list[str] = []
        self.bold: list[str] = []
        self._text: list[str] = []
        self._is_bold = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self._text = []
        self._is_bold = "font-weight:bold" in (dict(attrs).get("style") or "")
        if tag == "tr":
            self.rows.append([])

    def handle_data(self, data: str) -> None:
        self._text.append(data)

    def handle_endtag(self, tag: str) -> None:
        text = "".join(self._text)
        if tag in ("td", "th"):
            self.rows[-1].append(text)
        if tag == "td" and self._is_bold:
            self.bold.append(text)
        if tag == "caption":
            self.captions.append(text)


def read_html(html: str) -> _Reader:
    """Returns the rows of all tables, their captions, the tags, and which cells are bold."""
    reader = _Reader()
    reader.feed(html)
    reader.close()
    return reader
