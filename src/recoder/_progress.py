"""Progress bars: on a terminal or in a notebook, unless the environment says ``TQDM_DISABLE=1``."""

from __future__ import annotations

import os
import sys
from typing import Any

from tqdm.auto import tqdm

__all__ = ["passing_bar", "progress_bar"]


def progress_bar(description: str, *, total: int, done: int, unit: str) -> Any:
    """Returns a bar; one within another goes away when it is closed."""
    return tqdm(total=total, initial=done, desc=description, unit=unit, disable=_is_quiet(), leave=None)


def passing_bar(description: str, *, total: int, unit: str) -> Any:
    """Returns a bar of work that is often short: it comes after a second, and goes away when it is closed."""
    return tqdm(total=total, desc=description, unit=unit, disable=_is_quiet(), leave=False, delay=1)


def _is_quiet() -> bool | None:
    if os.environ.get("TQDM_DISABLE", "0") not in ("", "0"):  # tqdm reads it itself, but not where disable is given
        return True
    # None asks tqdm to stay quiet where there is no terminal; a notebook is none, but draws the bar itself
    return False if "ipykernel" in sys.modules else None
