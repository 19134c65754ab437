"""Makes tests of the code blocks in Markdown files: `pytest README.md docs`, as scripts/docs does."""

from __future__ import annotations

import doctest
import os
import re
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

ALIASES = ("py", "python3", "pycon", "sh", "shell", "shell-session")


def run_shell(example: Example) -> None:
    """Runs a shell block as a reader would, with this environment's commands first on PATH."""
    lines = example.parsed.splitlines()
    for start, reason in RUN_ELSEWHERE.items():
        if any(line.strip().startswith(start) for line in lines):
            pytest.skip(f"{start}: {reason}")
    shell(example.parsed)


def shell(commands: str) -> str:
    """Returns what commands print, on a terminal of 80 columns as it were; fails where one does."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    result = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", commands],
        env=os.environ | {"PATH": path, "COLUMNS": "80", "PYTHONUNBUFFERED": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert result.returncode == 0, f"exit {result.returncode} from:\n{commands}\n{result.stdout}"
    return result.stdout


def run_console(example: Example) -> None:
    """Runs the commands of a console block, each after a dollar, and compares what they print with what follows it.

    Three dots stand for anything, as in doctest. Blanks at the ends of lines, and of it all, do not count.
    """
    assert example.parsed.startswith("$ "), "a console block starts with a command: $ recoder --help"
    for session in re.split(r"^\$ ", example.parsed, flags=re.MULTILINE)[1:]:
        lines = session.splitlines()
        num_commands = 1 + next(i for i, line in enumerate(lines) if not line.endswith("\\"))
        printed, wanted = (
            "\n".join(line.rstrip() for line in text).rstrip() + "\n"
            for text in (shell("\n".join(lines[:num_commands])).splitlines(), lines[num_commands:])
        )
        assert doctest.OutputChecker().check_output(wanted, printed, doctest.ELLIPSIS), (
            f"{lines[0]}\nprints\n{printed}\nand not\n{wanted}"
        )


def refuse(example: Example) -> None:
    """Fails, since a block in an alias of an executed language would look executed and not be."""
    raise AssertionError("write ```python, ```bash or ```console (all are executed), or ```text for what is only shown")


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
        CodeBlockParser(language="console", evaluator=run_console),
        *(CodeBlockParser(language=alias, evaluator=refuse) for alias in ALIASES),
        SkipParser(),
    ],
    pattern="*.md",
    setup=enter_folder_of_its_own,
    teardown=leave_folder,
).pytest()
