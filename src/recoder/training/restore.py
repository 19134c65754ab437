"""From a model file of any version to a model."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from recoder.errors import FileFormatError
from recoder.nn.base import FactorizationModel
from recoder.training.legacy import read_legacy
from recoder.training.model_file import ModelFile, read_safetensors

__all__ = ["check_fits", "load_weights", "log_differences", "read_model_file"]

_log = logging.getLogger("recoder.training")

# a zip archive, and a pickle of protocol 2: how torch 1.x wrote files
_TORCH_SIGNATURES = (b"PK\x03\x04", b"\x80\x02")


def read_model_file(path: str | os.PathLike[str]) -> ModelFile:
    """Returns what a file of this version, or of recoder 0.4.0, holds.

    Raises:
        FileNotFoundError: if there is no such file.
        FileFormatError: if it is no model file, is damaged or of a newer format.
        UnsafeFileError: if it is a pickle that asks for code to be run; nothing of it is run.
    """
    file = Path(path)
    if file.is_dir():
        raise FileFormatError(f"{file} is a folder; pass the path of a model file")
    if not file.exists():
        raise FileNotFoundError(f"there is no file {file}; check the path that save_state returned")
    with file.open("rb") as stream:
        start = stream.read(4)
    return read_legacy(file) if start.startswith(_TORCH_SIGNATURES) else read_safetensors(file)


def check_fits(path: str | os.PathLike[str], content: ModelFile, model: FactorizationModel) -> None:
    """Checks that the file holds a model of this class.

    Raises:
        FileFormatError: if it holds another.
    """
    names = {base.__name__ for base in type(model).__mro__}  # a subclass may take its parent's weights over
    if content.model_class is not None and content.model_class not in names:
        raise FileFormatError(
            f"{path} holds a {content.model_class}, but this Recoder was made with a {type(model).__name__}; "
            f"make it with a {content.model_class}"
        )


def load_weights(path: str | os.PathLike[str], model: FactorizationModel, content: ModelFile) -> None:
    """Copies the file's weights into the model.

    Raises:
        FileFormatError: if names or shapes differ.
    """
    try:
        with torch.no_grad():
            model.load_state_dict(content.weights, strict=True)
    except RuntimeError as error:
        raise FileFormatError(
            f"the weights in {path} do not fit {type(model).__name__}: {error}; "
            "the file was damaged, or the model's class was changed since"
        ) from error


def log_differences(what: str, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Logs, as one line at level INFO, each entry of ``before`` that is another in ``now``."""
    changed = [
        f"{name} {now[name]!r} (not {before[name]!r})"
        for name in before
        if name in now and now[name] is not None and before[name] != now[name]
    ]
    if changed:
        _log.info("%s: %s", what, ", ".join(changed))
