"""The files of a split, which take the places of those of the one before together."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

from recoder._files import sync, write_errors
from recoder._locks import held_alone, working_folder
from recoder.cli.output import tell
from recoder.errors import ConfigError

__all__ = ["PROTOCOL", "SplitFiles"]

PROTOCOL = "protocol.json"
"""The file that says how the parts beside it were made; it is there when all of them are."""


class SplitFiles:
    """Files that are all on the disk, in a working folder, before the first of them takes its place.

    What has not taken its place when the block ends is removed.

    Args:
        folder: where they go; made if it is missing.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._in_working_folder = contextlib.ExitStack()
        self._working_folder: Path | None = None
        self._written: dict[str, Path] = {}

    def __enter__(self) -> SplitFiles:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._in_working_folder.close()

    @contextlib.contextmanager
    def writing(self, name: str) -> Iterator[Path]:
        """Yields the path to write a file to; on a clean exit it is synced.

        Raises:
            FileWriteError: if the file cannot be written; those of the split before stay as they are.
        """
        target = self._folder / name
        with write_errors(target):
            if target.is_dir():
                raise IsADirectoryError(errno.EISDIR, "it is a folder")
            if self._working_folder is None:
                self._working_folder = self._in_working_folder.enter_context(working_folder(self._folder / PROTOCOL))
            temporary = self._written[name] = self._working_folder / name
            yield temporary
            sync(temporary)

    def take_places(self) -> None:
        """Gives the files their names in the order in which they were written, ``protocol.json`` last.

        Raises:
            ConfigError: if another process does the same at the moment.
            FileWriteError: if that fails; says which files are new.
        """
        with contextlib.ExitStack() as alone:
            with write_errors(self._folder / PROTOCOL):
                try:
                    alone.enter_context(held_alone(self._folder / PROTOCOL))
                except BlockingIOError:
                    raise ConfigError(
                        f"another process writes a split to {self._folder}; choose another folder"
                    ) from None
            self._take_places()

    def _take_places(self) -> None:
        with write_errors(self._folder / PROTOCOL):
            (self._folder / PROTOCOL).unlink(missing_ok=True)
        placed: list[str] = []
        try:
            for name, temporary in self._written.items():
                with write_errors(self._folder / name, kept=_mixed(placed)):
                    if name == PROTOCOL:  # which is not to be on the disk before the others are
                        sync(self._folder)
                    temporary.replace(self._folder / name)
                placed.append(name)
        except KeyboardInterrupt:
            tell(f"stopped while the files took their places in {self._folder}: {_mixed(placed)}")
            raise
        with write_errors(self._folder, kept="the new split is there, but might be lost if the machine stopped now"):
            sync(self._folder)


def _mixed(placed: list[str]) -> str:
    """Returns what a folder holds in which these files are new, and others are not."""
    return (
        f"of the new split there is {', '.join(placed) or 'nothing'}, other parts are of the one before, "
        f"and there is no {PROTOCOL}: make the split again"
    )
