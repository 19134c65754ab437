"""The benchmark of more interactions than memory runs, on tiny sizes."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from benchmarks.scale import large

from forking import Forked


@pytest.mark.slow
def test_a_quick_run_tells_of_every_stage(warm: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the limit is Linux's")
def test_the_limit_is_one() -> None:
    code = """
import re
from pathlib import Path
import numpy as np
from benchmarks.scale.large import _limit_memory
used = int(re.findall(r"RssAnon:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[0]) * 1024
_limit_memory(used + (64 << 20))
print(len(np.ones(1 << 21)))  # 16 MiB
try:
    np.ones(1 << 24)  # 128 MiB
except MemoryError:
    print("limited")
"""
    assert Forked(code).printed().split() == [str(1 << 21), "limited"]
