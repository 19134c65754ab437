"""Optional packages, imported where they are used."""

from __future__ import annotations

import importlib
from typing import Any

from recoder.errors import MissingDependencyError

__all__ = ["imported"]


def imported(module: str, extra: str, package: str | None = None) -> Any:
    """Returns an optional module.

    Args:
        module: what to import.
        extra: the extra that installs it.
        package: what it is called where it is installed from. None: as the module.

    Raises:
        MissingDependencyError: if it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingDependencyError(
            f'this needs {package or module}: pip install "recsys-recoder[{extra}]"'
        ) from error
