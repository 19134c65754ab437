"""Where processes go on that ``torchrun`` started anew, after one of them had died.

A file ``.PREFIX.begun`` beside the checkpoints says when the run was begun: older checkpoints with the same prefix are
another run's.
"""

from __future__ import annotations

import glob
import shutil
from collections.abc import Iterable
from pathlib import Path

from recoder._files import BEFORE, write_errors
from recoder.training.part_files import MANIFEST
from recoder.training.processes import Processes

__all__ = ["last_of_run"]


def last_of_run(prefix: str, last_epoch: int, processes: Processes, *, after: int = 0) -> Path | None:
    """Returns the last checkpoint of a run that was started anew; None: it has none, or is begun only now.

    What dead processes were writing is removed.

    Args:
        prefix: of the checkpoints.
        last_epoch: of the run.
        processes: all come here together.
        after: of this epoch or an earlier one no checkpoint is wanted.

    Raises:
        FileWriteError: if the folder of the checkpoints cannot be written.
    """
    if not processes.can_be_restarted:
        return None
    mark = _mark(prefix)
    was_restarted = bool(processes.all.largest(int(processes.was_restarted)))
    epoch = _newest(prefix, range(last_epoch, after, -1), mark) if was_restarted else 0
    # the newest that all of them see
    epoch = -processes.all.largest(-epoch)
    if processes.all.is_first:
        with write_errors(mark):
            if was_restarted:
                _clear(prefix)
            if not epoch and not (was_restarted and mark.exists()):
                mark.parent.mkdir(parents=True, exist_ok=True)
                mark.touch()
    return _checkpoint(prefix, epoch) if epoch else None


def _newest(prefix: str, epochs: Iterable[int], mark: Path) -> int:
    """Returns the first epoch with a whole checkpoint that was written since the run was begun; 0: there is none."""
    if not mark.exists():
        return 0
    begun = mark.stat().st_mtime_ns
    for epoch in epochs:
        path = _checkpoint(prefix, epoch)
        file = path / MANIFEST if path.is_dir() else path
        if file.is_file() and file.stat().st_mtime_ns >= begun:
            return epoch
    return 0


def _clear(prefix: str) -> None:
    """Removes what was not written to the end; a checkpoint whose place was being taken by another gets it back."""
    mark = _mark(prefix)
    # a file that is to replace a folder is written under a hidden name, so it has a temporary name of a hidden one
    names = [f"{dots}{glob.escape(mark.stem)}_epoch_*.model.*" for dots in ("", ".")]
    for left in [path for name in names for path in mark.parent.glob(name)]:
        whole = left.with_name(left.name.removeprefix(".").removesuffix(BEFORE))
        if left.name.endswith(BEFORE) and not whole.exists():
            left.rename(whole)
        elif left.is_dir():
            shutil.rmtree(left)
        else:
            left.unlink()


def _mark(prefix: str) -> Path:
    first = _checkpoint(prefix, 0)
    return first.with_name(f".{first.name.removesuffix('_epoch_0.model')}.begun")


def _checkpoint(prefix: str, epoch: int) -> Path:
    return Path(f"{prefix}_epoch_{epoch}.model")
