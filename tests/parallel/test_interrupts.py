from __future__ import annotations

import json
from pathlib import Path

import pytest

from parallel.launching import together


@pytest.mark.parametrize("parallel", ["items", "users"])
def test_processes_of_which_one_is_interrupted_stop_together_and_go_on(tmp_path: Path, parallel: str) -> None:
    together("interrupt_worker.py", 2, tmp_path, parallel, "5")
    found = [json.loads((tmp_path / f"found-{rank}.json").read_text()) for rank in (0, 1)]
    for of_rank in found:
        assert of_rank["stopped"]
        assert of_rank["steps"] == 16
        assert of_rank["same"]
        resumed, undisturbed = of_rank["losses"]
        assert resumed == pytest.approx(undisturbed, rel=1e-12)
    assert found[0]["losses"] == found[1]["losses"]
