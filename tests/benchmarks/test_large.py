"""The benchmark of more interactions than memory runs, on tiny sizes."""

from __future__ import annotations

from pathlib import Path

import pytest
from benchmarks.scale import large


@pytest.mark.slow
def test_a_quick_run_tells_of_every_stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("duckdb")
    monkeypatch.setattr(
        large, "QUICK", {**large.QUICK, "rows": 50_000, "users": 500, "items": 300, "steps": 1, "asked": 50}
    )
    text = large.measure(tmp_path, quick=True)
    assert "50,000 rows in 1 Parquet files, made up: 500 users" in text
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    assert [line.split(" |")[0] for line in lines[2:]] == [
        "| making the files",
        "| preparing",
        "| training",
        "| recommending",
    ]
    assert all(float(line.split("|")[-2]) < 2 for line in lines[3:])
