from __future__ import annotations

import base64
import re

from hypothesis import given
from hypothesis import strategies as st

from html_tables import read_html
from recoder._html import html_image, html_table

# what a parser gives back as it was: it turns other ends of lines and zero bytes into something else
TEXT = st.text(st.characters(blacklist_characters="\r\0", blacklist_categories=["Cs"]))


@given(st.lists(st.lists(TEXT, min_size=2, max_size=2), min_size=1), TEXT)
def test_every_text_stands_in_the_table_as_it_was(rows, caption):
    found = read_html(html_table(["<b>", "&"], rows, caption=caption))
    assert found.rows == [["<b>", "&"], *rows]
    assert found.captions == ([caption] if caption else [])
    assert set(found.tags) <= {"table", "caption", "thead", "tbody", "tr", "th", "td"}


def test_markup_in_a_cell_stays_text():
    found = read_html(html_table(["title"], [["<script>alert('x')</script>"]]))
    assert "script" not in found.tags
    assert found.rows[1] == ["<script>alert('x')</script>"]


def test_text_is_to_the_left_numbers_are_to_the_right_and_no_colour_is_set():
    html = html_table(["name", "title", "n"], [["a", "b", "1"]], num_text_columns=2)
    assert re.findall(r"<td style=\"text-align:(\w+)", html) == ["left", "left", "right"]
    assert "color" not in html
    assert "background" not in html


def test_rows_that_stand_out_are_bold():
    assert read_html(html_table(["n"], [["1"], ["2"], ["3"]], bold=[1])).bold == ["2"]


def test_a_picture_is_whole_in_its_tag():
    html = html_image(b"<svg/>", 'a "quoted" <name>')
    assert base64.b64decode(re.search(r"base64,([^\"]*)\"", html).group(1)) == b"<svg/>"
    assert read_html(html).tags == ["img"]
