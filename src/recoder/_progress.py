"""Progress bars: on a terminal or in a notebook, and nowhere else."""

from __future__ import annotations

import sys
from typing import Any

from tqdm.auto import tqdm

__all__ = ["progress_bar"]


def progress_bar(description: str, *, total: int, done: int, unit: str) -> Any:
    """Returns a bar; one within another goes away when it is closed."""
    # None asks tqdm to stay quiet where there is no terminal; a notebook is none, but draws the bar itself
    quiet = False if "ipykernel" in sys.modules else None
    return tqdm(total=total, initial=done, desc=description, unit=unit, disable=quiet, leave=None)
