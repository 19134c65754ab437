from __future__ import annotations

import re
from pathlib import Path

import pytest
from matplotlib.image import imread

from browser import Browser


@pytest.fixture
def browser(tmp_path):
    return Browser(tmp_path)


@pytest.fixture(scope="module")
def page(page_file):
    return Path(page_file).read_text(encoding="utf-8")


@pytest.mark.parametrize("width", [390, 1280])
def test_the_page_need_not_be_scrolled_to_the_side(browser, page, width):
    assert browser.widths(page, width) == (width, width)


def test_what_is_too_wide_would_be_noticed(browser, page):
    wide = page.replace("</main>", '<div style="width:700px">wide</div></main>')
    assert browser.widths(wide, 390)[1] > 390


def test_the_page_is_light_or_dark_as_the_reader_likes_it(browser, page):
    light, dark = (imread(browser.screenshot(page, 1280, dark=is_dark))[..., :3].mean() for is_dark in (False, True))
    assert light > 0.85
    assert dark < 0.25


def test_the_page_fills_a_phone(browser, page):
    picture = imread(browser.screenshot(page, 390))[:, :390, :3]
    ink = picture.mean(axis=2) < 0.5
    assert ink[:, :195].any()
    assert ink[:, 195:].any()
    assert not ink[:, 386:].any()


def colours(css: str) -> dict[str, str]:
    return dict(re.findall(r"--(\w[\w-]*): (#[0-9a-f]{6})", css))


def luminance(colour: str) -> float:
    channels = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    low, high = sorted([luminance(one), luminance(other)])
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_contrast_is_that_of_wcag_aa(page, theme):
    light, dark = (colours(block) for block in re.findall(r":root \{([^}]*)\}", page))
    chosen = light if theme == "light" else dark
    assert len(chosen) > 10
    assert light.keys() == dark.keys()
    for ground in ("page", "card"):
        for ink in ("text", "muted", "accent", "hit"):
            assert contrast(chosen[ink], chosen[ground]) >= 4.5, (ink, ground)
        for number in range(6):
            assert contrast(chosen[f"s{number}"], chosen[ground]) >= 3, number
