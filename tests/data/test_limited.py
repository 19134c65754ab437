"""Interactions in files are split, trained on, judged by and recommended from within less memory than they take."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from forking import Forked


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the limit is Linux's")
def test_240_mb_are_worked_with_in_64_mib(tmp_path: Path) -> None:
    code = "import sys, pathlib, data.limited_worker as worker; worker.main(pathlib.Path(sys.argv[1]))"
    assert Forked(code, tmp_path).printed() == "limited\n"
