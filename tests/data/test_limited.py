"""Interactions in files are split, trained on, judged by and recommended from within less memory than they take."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from subprocess import run

import pytest

from parallel.launching import FINDING_TESTS


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the limit is Linux's")
def test_240_mb_are_worked_with_in_64_mib(tmp_path: Path) -> None:
    script = Path(__file__).with_name("limited_worker.py")
    found = run(
        [sys.executable, str(script), str(tmp_path)],
        env={**os.environ, **FINDING_TESTS},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (found.returncode, found.stdout) == (0, "limited\n"), found.stderr
