"""Processes that need not import PyTorch, which takes seconds: they are forked from one that has (see conftest.py)."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import sys
import weakref
from collections.abc import Mapping
from pathlib import Path
from tempfile import mkdtemp

__all__ = ["Forked", "redirect"]

TIMEOUT_S = 300.0


class Forked:
    """Python code that runs in a process of its own, with the folder and the environment of this one.

    It has what tests ask of a ``subprocess.Popen``.

    Args:
        code: what it runs.
        arguments: those that it finds in ``sys.argv``.
        environment: more environment variables.
    """

    def __init__(self, code: str, *arguments: str | Path, environment: Mapping[str, str] | None = None) -> None:
        folder = mkdtemp(prefix="recoder-forked-")
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        self._paths = [Path(folder, name) for name in ("stdout", "stderr")]
        asked = (code, [*map(str, arguments)], {**os.environ, **(environment or {})}, str(Path.cwd()), self._paths)
        self._process = multiprocessing.get_context("forkserver").Process(target=_main, args=asked)
        self._process.start()

    @property
    def returncode(self) -> int | None:
        """Its exit code, or the negative signal that ended it; None while it runs."""
        return self._process.exitcode

    def communicate(self) -> tuple[str, str]:
        """Waits for its end, and returns what it wrote to stdout and to stderr; one that hangs is killed."""
        self.wait(TIMEOUT_S)
        is_hung = self.returncode is None
        self.kill()
        self.wait()
        out, err = (path.read_text(encoding="utf8") if path.exists() else "" for path in self._paths)
        return out, f"{err}killed after {TIMEOUT_S:g} s" if is_hung else err

    def kill(self) -> None:
        """Kills it, if it still runs."""
        self._process.kill()

    def wait(self, timeout_s: float | None = None) -> None:
        """Waits for its end."""
        self._process.join(timeout_s)

    def printed(self) -> str:
        """Waits for its end, and returns what it wrote to stdout; fails if it failed."""
        out, err = self.communicate()
        assert self.returncode == 0, err
        return out


def redirect(stream: int, path: Path) -> None:
    """Lets what this process writes to a stream, 1 or 2, go to a file."""
    os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND), stream)


def _main(code: str, arguments: list[str], environment: Mapping[str, str], cwd: str, paths: list[Path]) -> None:
    for stream, path in enumerate(paths, 1):
        redirect(stream, path)
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = ["-c", *arguments]
    exec(compile(code, "<code>", "exec"), {"__name__": "__main__"})
