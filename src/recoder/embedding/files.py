"""Index files: a state file (safetensors), and beside it the file of the search structure, if it has one.

The state names its sibling by base name, so that the folder can be moved, and by checksum. A sibling gets a
name of its own each time: the state's rename is the moment at which the new index replaces the old one,
whole.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import safetensors
from safetensors.numpy import save_file

from recoder._files import as_os_error, atomic_write
from recoder.embedding.backend import StoredBackend
from recoder.embedding.base import Floats
from recoder.embedding.ids import EmbeddingIds
from recoder.errors import FileFormatError

__all__ = ["IndexFile", "read_index", "write_index"]

_FORMAT_VERSION = 1
_METADATA_KEY = "recoder"
_VECTORS = "vectors"
_IDS_PREFIX = "ids."

# what reading the description of another file raises: JSON that is too deep exceeds the stack
_NO_DESCRIPTION = (safetensors.SafetensorError, ValueError, KeyError, TypeError, RecursionError)


@dataclass(frozen=True)
class IndexFile:
    """What an index file holds: float32 ``[N, D]`` vectors, their ids, and the checked sibling, if any."""

    vectors_ND: Floats
    ids: EmbeddingIds
    sibling: Path | None


def write_index(
    path: Path,
    kind: str,
    vectors_ND: Floats,
    ids: EmbeddingIds,
    structure: StoredBackend | None,
) -> None:
    """Writes an index; a crash at any moment leaves the previous one whole, or the new one.

    Args:
        path: the state file; what stands there is replaced, and its sibling removed.
        kind: which class of index may load it.
        vectors_ND: float32 ``[N, D]``.
        ids: their ids.
        structure: what to write into the sibling; None: there is no sibling.

    Raises:
        FileWriteError: if a file cannot be written.
    """
    path = Path(os.path.realpath(path))  # siblings lie beside the file, not beside a link to it
    tensors: dict[str, npt.NDArray[Any]] = {_VECTORS: np.ascontiguousarray(vectors_ND)}
    tensors.update({_IDS_PREFIX + name: array for name, array in ids.to_arrays().items()})
    description: dict[str, Any] = {"format_version": _FORMAT_VERSION, "kind": kind, "sibling": None}
    previous = _recorded_sibling(path)
    if structure is None:
        _write_state(path, tensors, description)
    else:
        sibling = path.with_name(f"{path.name}.{secrets.token_hex(8)}{structure.suffix}")
        with _removed_unless_recorded(sibling, path):
            with atomic_write(sibling, part_of=path) as temporary:
                structure.save(temporary)
            description["sibling"] = {"name": sibling.name, **_fingerprint(sibling)}
            _write_state(path, tensors, description)
    if previous is not None:
        previous.unlink(missing_ok=True)


def read_index(path: Path, kind: str) -> IndexFile:
    """Returns what ``write_index`` wrote, checked.

    Raises:
        FileFormatError: if the file, or its sibling, is not such an index, is damaged, or is of another kind.
        FileNotFoundError: if there is no file at ``path``.
    """
    path = Path(os.path.realpath(path))
    tensors, description = _read_state(path)
    if description.get("kind") != kind:
        raise FileFormatError(
            f"{path} holds an index of kind {description.get('kind')!r}, not {kind!r}; load it by that class"
        )
    try:
        vectors_ND = _checked_vectors(tensors.pop(_VECTORS, None))
        ids = EmbeddingIds.from_arrays({k.removeprefix(_IDS_PREFIX): v for k, v in tensors.items()}, len(vectors_ND))
    except FileFormatError as error:
        raise FileFormatError(f"{path} is not a whole index file: {error}; build the index again") from error
    return IndexFile(vectors_ND, ids, _checked_sibling(path, description.get("sibling")))


def _write_state(path: Path, tensors: dict[str, npt.NDArray[Any]], description: dict[str, Any]) -> None:
    with atomic_write(path) as temporary:
        try:
            save_file(tensors, temporary, metadata={_METADATA_KEY: json.dumps(description)})
        except safetensors.SafetensorError as error:
            raise as_os_error(error) from error  # what atomic_write turns into a FileWriteError


def _description(file: Any) -> dict[str, Any]:
    """Returns the JSON of an open safetensors file; raises one of ``_NO_DESCRIPTION`` if there is none."""
    description = json.loads((file.metadata() or {})[_METADATA_KEY])
    if not isinstance(description, dict):
        raise TypeError(f"its description is a {type(description).__name__}")
    return description


def _read_state(path: Path) -> tuple[dict[str, npt.NDArray[Any]], dict[str, Any]]:
    with path.open("rb"):  # a missing file, or a folder, is the system's error and not one of format
        pass
    try:
        with safetensors.safe_open(path, framework="np") as file:
            description = _description(file)
            version = description["format_version"]
            # the tensors of another version may be anything
            names = file.keys() if version == _FORMAT_VERSION else []
            tensors = {name: file.get_tensor(name) for name in names}
    except _NO_DESCRIPTION as error:
        raise FileFormatError(
            f"{path} is not an index file of recoder, or is damaged ({error}); build the index again"
        ) from error
    if version != _FORMAT_VERSION:
        raise FileFormatError(
            f"{path} has format version {version!r} but this release reads {_FORMAT_VERSION}; update recsys-recoder"
        )
    return tensors, description


def _checked_vectors(vectors_ND: npt.NDArray[Any] | None) -> Floats:
    if vectors_ND is None or vectors_ND.dtype != np.float32 or vectors_ND.ndim != 2 or 0 in vectors_ND.shape:
        raise FileFormatError("it holds no matrix of float32 vectors")
    if not np.isfinite(vectors_ND).all():
        raise FileFormatError("its vectors hold NaN or infinite values")
    return vectors_ND


def _checked_sibling(path: Path, recorded: Any) -> Path | None:
    if recorded is None:
        return None
    name = _base_name(recorded)
    if name is None:
        raise FileFormatError(f"{path} does not name its second file by a plain file name: {recorded!r}")
    sibling = path.with_name(name)
    if not sibling.is_file():
        raise FileFormatError(
            f"{path} needs the file {name} in the same folder, which is not there; keep the two together"
        )
    if {"name": name, **_fingerprint(sibling)} != recorded:
        raise FileFormatError(
            f"{sibling} is not the file that {path.name} was written with: its size or checksum differs; "
            "copy both again, or build the index again"
        )
    return sibling


def _base_name(recorded: Any) -> str | None:
    """Returns the sibling's name, None where there is none that is certain to lie in the same folder."""
    name = recorded.get("name") if isinstance(recorded, dict) else None
    is_plain = isinstance(name, str) and name not in {"", ".", ".."} and not set(name) & set("/\\:\0")
    return name if is_plain else None


def _recorded_sibling(path: Path) -> Path | None:
    """Returns the sibling of the index at ``path``, if there is one and it is called after that path."""
    try:
        with safetensors.safe_open(path, framework="np") as file:
            recorded = _description(file).get("sibling")
    except (OSError, *_NO_DESCRIPTION):
        return None
    name = _base_name(recorded)
    # a state that was copied to another name still shares the original's sibling, which must stay
    is_its_own = name is not None and re.fullmatch(rf"{re.escape(path.name)}\.[0-9a-f]{{16}}\.\w+", name)
    return path.with_name(name) if name is not None and is_its_own else None


@contextlib.contextmanager
def _removed_unless_recorded(sibling: Path, path: Path) -> Iterator[None]:
    try:
        yield
    except BaseException:
        # an interrupt may strike after the state's rename: then the sibling belongs to a whole index
        if _recorded_sibling(path) != sibling:
            with contextlib.suppress(OSError):
                sibling.unlink()
        raise


def _fingerprint(path: Path) -> dict[str, Any]:
    digest = hashlib.blake2b(digest_size=16)
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return {"bytes": path.stat().st_size, "blake2b": digest.hexdigest()}
