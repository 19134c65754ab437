"""Makes tests of the code blocks in Markdown files, `pytest README.md docs`, as scripts/docs does; orders all tests."""

from __future__ import annotations

import atexit
import contextlib
import doctest
import functools
import io
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
from sybil.evaluators.python import PythonEvaluator
from sybil.parsers.myst import CodeBlockParser, SkipParser

from warm import Server

PROJECT = Path(__file__).parent

# commands that a reader types and that would here run themselves, or install something into this environment
RUN_ELSEWHERE = {
    "scripts/": ".ci/run runs the scripts themselves",
    "pip install": "scripts/wheel installs the built wheel into an empty environment",
    "git clone": "this is the clone",
}

# a number that another processor may compute a little otherwise, or that tells a time; whole numbers are exact
DECIMAL = re.compile(r"[-+]?\d+\.\d+(?:e[-+]?\d+)?")
SECONDS = re.compile(r"\b\d+\.\d+ s\b")

# blocks with a line that begins with the command: for them one that need not import PyTorch comes first on PATH
COMMAND = re.compile(r"^ *recoder ", re.MULTILINE)

ALIASES = ("py", "python3", "pycon", "sh", "shell", "shell-session")


LONGEST = (
    "test_scale.py",
    "test_kills.py",
    "test_equality.py",
    "test_tune.py",
    "test_planning.py",
    "test_quality.py",
    "command-line.md",
    "many-machines.md",
    "tutorial.md",
)
"""Files that take longest: begun last, they would keep one processor busy while all others have nothing left."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Puts the longest files first."""
    items.sort(key=lambda item: LONGEST.index(item.path.name) if item.path.name in LONGEST else len(LONGEST))


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
    if COMMAND.search(commands):
        path = os.pathsep.join([warm_folder(), path])
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


@functools.cache
def warm_folder() -> str:
    """Returns a folder with a command `recoder` that starts at once, until this process ends."""
    folder = tempfile.mkdtemp(prefix="recoder-warm-")
    server = Server(Path(folder))
    atexit.register(shutil.rmtree, folder)
    atexit.register(server.stop)
    return folder


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


def run_python(example: Example) -> None:
    """Runs a block of Python and keeps what it prints for a text block right below it."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        PythonEvaluator()(example)
    example.namespace["_printed"] = (example.region.end, printed.getvalue())


def compare_text(example: Example) -> None:
    """Compares a text block right below a block of Python with what that printed.

    Blanks do not count, times in seconds neither, and decimal numbers may be 0.01 or 5 % apart: another processor adds
    in another order. Other text blocks are only shown.
    """
    end, printed = example.namespace.get("_printed", (0, ""))
    if example.document.text[end : example.region.start].strip():
        return
    (shown_words, shown_numbers), (words, numbers) = map(apart, (example.parsed, printed))
    is_alike = words == shown_words and numbers == pytest.approx(shown_numbers, rel=0.05, abs=0.01)
    assert is_alike, f"the block above prints\n{printed}\nand not\n{example.parsed}"


def apart(text: str) -> tuple[list[str], list[float]]:
    """Returns the words of a text with a mark for each decimal number, and these numbers."""
    text = SECONDS.sub("# s", text)
    return DECIMAL.sub("#", text).split(), [float(number) for number in DECIMAL.findall(text)]


def refuse(example: Example) -> None:
    """Fails, since a block in an alias of an executed language would look executed and not be."""
    raise AssertionError("write ```python, ```bash or ```console (all are executed), or ```text for what is only shown")


def enter_folder_of_its_own(namespace: dict[str, Any]) -> None:
    """Goes to a new folder, so that a document's files stay together and out of the project; `tests` leads to ours."""
    namespace["_came_from"] = Path.cwd()
    namespace["_folder"] = tempfile.mkdtemp(prefix="recoder-docs-")
    os.chdir(namespace["_folder"])
    Path("tests").symlink_to(PROJECT / "tests")


def leave_folder(namespace: dict[str, Any]) -> None:
    """Goes back, removes what the document wrote, and lets go of what it made.

    The folder is the one that was made, wherever the process is: a run that is interrupted may come here from the
    project, or twice.
    """
    if "_folder" in namespace:
        os.chdir(namespace["_came_from"])
        shutil.rmtree(namespace["_folder"])
    namespace.clear()  # or else nanobind reports voyager's indices as leaked when Python ends


pytest_collect_file = Sybil(
    parsers=[
        CodeBlockParser(language="python", evaluator=run_python),
        CodeBlockParser(language="text", evaluator=compare_text),
        CodeBlockParser(language="bash", evaluator=run_shell),
        CodeBlockParser(language="console", evaluator=run_console),
        *(CodeBlockParser(language=alias, evaluator=refuse) for alias in ALIASES),
        SkipParser(),
    ],
    pattern="*.md",
    setup=enter_folder_of_its_own,
    teardown=leave_folder,
).pytest()
