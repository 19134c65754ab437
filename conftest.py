"""Makes tests of the code blocks in Markdown files: `pytest README.md docs`, as scripts/docs does."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
from sybil import Example, Sybil
from sybil.parsers.myst import CodeBlockParser, PythonCodeBlockParser, SkipParser

PROJECT = Path(__file__).parent

# commands that a reader types and that would here run themselves, or install something into this environment
RUN_ELSEWHERE = {
    "scripts/": ".ci/run runs the scripts themselves",
    "pip install": "scripts/wheel installs the built wheel into an empty environment",
    "git clone": "this is the clone",
}

ALIASES = ("py", "python3", "pycon", "sh", "shell", "console", "shell-session")


def run_shell(example: Example) -> None:
    """Runs a shell block as a reader would, with this environment's commands first on PATH."""
    lines = example.parsed.splitlines()
    for start, reason in RUN_ELSEWHERE.items():
        if any(line.strip().startswith(start) for line in lines):
            pytest.skip(f"{start}: {reason}")
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    result = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", example.parsed],
        env=os.environ | {"PATH": path},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert result.returncode == 0, f"exit {result.returncode} from:\n{example.parsed}\n{result.stdout}"


def refuse(example: Example) -> None:
    """Fails, since a block in an alias of an executed language would look executed and not be."""
    raise AssertionError("write ```python or ```bash (both are executed), or ```text for what is only shown")


def enter_folder_of_its_own(namespace: dict[str, Any]) -> None:
    """Goes to a new folder, so that a document's files stay together and out of the project; `tests` leads to ours."""
    namespace["_came_from"] = Path.cwd()
    os.chdir(tempfile.mkdtemp(prefix="recoder-docs-"))
    Path("tests").symlink_to(PROJECT / "tests")


def leave_folder(namespace: dict[str, Any]) -> None:
    """Goes back, removes what the document wrote, and lets go of what it made."""
    folder = Path.cwd()
    os.chdir(namespace["_came_from"])
    shutil.rmtree(folder)
    namespace.clear()  # or else nanobind reports voyager's indices as leaked when Python ends


pytest_collect_file = Sybil(
    parsers=[
        PythonCodeBlockParser(),
        CodeBlockParser(language="bash", evaluator=run_shell),
        *(CodeBlockParser(language=alias, evaluator=refuse) for alias in ALIASES),
        SkipParser(),
    ],
    pattern="*.md",
    setup=enter_folder_of_its_own,
    teardown=leave_folder,
).pytest()
