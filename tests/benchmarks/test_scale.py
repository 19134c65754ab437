"""The scale benchmark runs, on tiny sizes."""

from __future__ import annotations

from pathlib import Path

import pytest
from benchmarks.__main__ import main
from benchmarks.scale import cli
from benchmarks.scale.cli import PARTS

SHOWN = {
    "throughput": "| autoencoder, logistic, sampled |",
    "costs": "2BD is 800, and 2BD + 6B is 1,100.",
    "giant": "The step over 200,000 items takes",
    "kills": "| items | 3 | none | none |",
    "hosts": "## Hosts with a link between them",
    "model": "| 100,000,000, items |",
}


def run(folder: Path, *parts: str) -> str:
    """The page after these parts."""
    page = folder / "SCALE.md"
    options = ["--quick", "--folder", str(folder), "--page", str(page), "--results", str(folder / "results")]
    assert main(["scale", *options, *(word for part in parts for word in ("--only", part))]) == 0
    assert sorted(path.name for path in folder.iterdir()) == ["SCALE.md", "results"]
    return page.read_text()


@pytest.mark.slow
@pytest.mark.parametrize("part", SHOWN)
def test_each_part_writes_its_section(tmp_path: Path, part: str) -> None:
    text = run(tmp_path, part)
    assert SHOWN[part] in text
    assert text.count("\n## ") == 1
    assert "Measured on 20" in text


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
