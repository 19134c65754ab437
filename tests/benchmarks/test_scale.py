"""The scale benchmark runs, on tiny sizes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from benchmarks.__main__ import main
from benchmarks.scale import cli
from benchmarks.scale.cli import PARTS
from benchmarks.scale.namespaces import why_not

SHOWN = {
    "throughput": "medians of 1 rounds",
    "costs": "2BD is 800, and 2BD + 4B is 1,000.",
    "giant": "The step over 200,000 items takes",
    "kills": "4 epochs of 5 steps",
    "hosts": "Half of the 8 predictions are within",
    "model": "| 100,000,000, items |",
}

N = r"([0-9.,]+)"
MEASURED = {
    "throughput": (1, rf"autoencoder, logistic, sampled \| {N} ms \| {N} ms \([^|]+\) \| {N} ms \([^|]+\)"),
    # the numbers that the last line gives, in hundreds, and half of the memory
    "costs": (8, r"(?:autoencoder|factorization), [^|]+ \| (800|900|1,000) \((0\.50\d)\)"),
    "giant": (4, rf"(?:[12]00,000 items(?:, moments in bf16)?|the same, loaded) \| {N} \|.+\| {N}"),
    "kills": (2, rf"(?:items|users) \| 1 \| none \| none \| {N} \| {N}"),
    "hosts": (8, rf"2 \| 200 Mbit/s, 1 ms each way \| (?:items|users) \| [^|]+ \| \d+ \| {N} \| {N} \| {N} \|.+"),
    "model": (12, rf"(?:items|users|items\+users), 100? Gbit/s, [25]0 µs \| {N} \|.+"),
}
"""Of each part how many lines its tables have with which cells; the numbers in them are positive."""


def run(folder: Path, *parts: str) -> str:
    """The page after these parts."""
    page = folder / "SCALE.md"
    options = ["--quick", "--folder", str(folder), "--page", str(page), "--results", str(folder / "results")]
    assert main(["scale", *options, *(word for part in parts for word in ("--only", part))]) == 0
    assert sorted(path.name for path in folder.iterdir()) == ["SCALE.md", "results"]
    return page.read_text()


@pytest.mark.slow
@pytest.mark.parametrize("part", SHOWN)
def test_each_part_writes_its_section(warm: None, tmp_path: Path, part: str) -> None:
    text = run(tmp_path, part)
    assert text.count("\n## ") == 1
    assert "Measured on 20" in text
    reason = why_not() if part == "hosts" else None
    if reason is not None:
        assert f"Not measured here: {reason}." in text
        return
    assert SHOWN[part] in text
    number, cells = MEASURED[part]
    lines = [match for line in text.splitlines() if (match := re.fullmatch(rf"\| {cells} \|", line))]
    assert len(lines) == number, text
    assert all(float(found.replace(",", "")) > 0 for line in lines for found in line.groups()), text


def test_every_part_is_tried() -> None:
    assert {*SHOWN, "large"} == PARTS.keys()  # which test_large.py tries, smaller


def test_the_page_keeps_the_sections_of_other_parts_in_their_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(PARTS, "kills", lambda folder, quick: "## Of kills\n")
    results = tmp_path / "results"
    results.mkdir()
    for part in ("model", "giant"):
        (results / f"{part}.md").write_text(f"## Of {part}\n")
    text = run(tmp_path, "kills")
    headings = [line for line in text.splitlines() if line.startswith(("## ", "<!--"))]
    assert headings == ["## Of giant", "## Of kills", "<!-- the cost model -->", "## Of model"]


@pytest.mark.parametrize("named", [(), ("page",), ("results",)])
def test_numbers_of_tiny_sizes_are_not_put_where_they_are_published(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: tuple[str, ...]
) -> None:
    monkeypatch.setitem(PARTS, "kills", lambda folder, quick: "## Of kills\n")
    monkeypatch.setattr(cli, "PROJECT", tmp_path)
    places = [word for name in named for word in (f"--{name}", str(tmp_path / name))]
    assert main(["scale", "--only", "kills", "--quick", *places]) == 0
    assert sorted(path.name for path in (tmp_path / "benchmarks").iterdir()) == ["out"]
    written = {tmp_path / name for name in named} | set((tmp_path / "benchmarks" / "out" / "quick").iterdir())
    assert len(written) == 2
    assert main(["scale", "--only", "kills"]) == 0
    assert "## Of kills" in (tmp_path / "benchmarks" / "SCALE.md").read_text()
    assert (tmp_path / "benchmarks" / "scale" / "results" / "kills.md").exists()
