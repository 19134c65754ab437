"""Small tables and pictures for notebooks; without colours, so that they read well on any background."""

from __future__ import annotations

import base64
from collections.abc import Collection, Sequence
from html import escape

__all__ = ["html_image", "html_table"]


def html_table(
    head: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    caption: str = "",
    num_text_columns: int = 1,
    bold: Collection[int] = (),
) -> str:
    """Returns a table as HTML; what stands in it is shown as it is, markup too.

    Args:
        head: what stands above the columns.
        rows: a text for each cell.
        caption: what stands above the table.
        num_text_columns: so many columns are set to the left, the others, of numbers, to the right.
        bold: the numbers of rows that stand out.
    """
    lines = ['<table style="border-collapse:collapse;font-variant-numeric:tabular-nums">']
    if caption:
        lines.append(f'<caption style="caption-side:top;text-align:left;padding:.3em 0">{escape(caption)}</caption>')
    lines.append(f"<thead>{_row('th', head, num_text_columns, is_bold=True)}</thead><tbody>")
    lines += [_row("td", row, num_text_columns, is_bold=number in bold) for number, row in enumerate(rows)]
    return "\n".join([*lines, "</tbody></table>"])


def html_image(svg: bytes, description: str) -> str:
    """Returns a picture as HTML that holds it whole."""
    data = base64.b64encode(svg).decode("ascii")
    return f'<img src="data:image/svg+xml;base64,{data}" alt="{escape(description)}" style="max-width:100%">'


def _row(tag: str, cells: Sequence[str], num_text_columns: int, *, is_bold: bool) -> str:
    weight = "bold" if is_bold else "normal"
    parts = []
    for column, cell in enumerate(cells):
        side = "left" if column < num_text_columns else "right"
        style = f"text-align:{side};font-weight:{weight};padding:.2em .8em .2em 0"
        parts.append(f'<{tag} style="{style}">{escape(cell)}</{tag}>')
    return f"<tr>{''.join(parts)}</tr>"
