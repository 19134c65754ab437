"""The scale benchmark runs, on tiny sizes."""

from __future__ import annotations

from pathlib import Path

import pytest
from benchmarks.__main__ import main


@pytest.mark.slow
def test_a_quick_run_writes_the_page(tmp_path: Path) -> None:
    page = tmp_path / "SCALE.md"
    assert (
        main(["scale", "--quick", "--folder", str(tmp_path), "--page", str(page), "--factors", "8", "--batch", "100"])
        == 0
    )
    text = page.read_text()
    [line] = [line for line in text.splitlines() if line.startswith("| autoencoder, logistic, sampled")]
    assert line.count("ms") == 3
    assert "The step over 200,000 items takes" in text
    assert list(tmp_path.iterdir()) == [page]
