"""Checkpoints of a model that several processes have in parts: a folder with a model file for each, and a manifest.

``part-R-of-P.safetensors`` is a model file of what process R had, and of its rows: the tensors ``part/items``,
``part/counts`` (interactions of these items) and ``part/users``; every row of the whole is in one of them.
``manifest.json`` names the files and what is cut into rows; it is written last, and the number of the save that is in
it is in every part too. Any number of processes can read it, one included.

Sizes: N items, n of them in a part, U users.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import zlib
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import accumulate
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from recoder._files import MANIFEST, atomic_write, has_manifest_of, replace_folder, reserve
from recoder._replaced import read_again_if_replaced
from recoder.errors import FileFormatError, FileWriteError
from recoder.nn.base import FactorizationModel
from recoder.nn.parts import Parts
from recoder.nn.tables import factor_tables
from recoder.ops.collectives import Ranks
from recoder.training.file_sections import unpack_interactions
from recoder.training.history import History
from recoder.training.model_file import (
    ModelFile,
    crc32_of,
    described_content,
    history_of_file,
    metadata_text,
    write_model_file,
)
from recoder.training.processes import Processes

__all__ = [
    "MANIFEST",
    "SavedParts",
    "check_replaceable",
    "join_parts",
    "rows_here",
    "saved_history",
    "write_parts",
    "write_together",
]

FORMAT_VERSION = 1
_FORMAT = "recoder checkpoint"
_LARGEST_CRC = 2**32 - 1


def write_together(
    path: Path, content: ModelFile, model: FactorizationModel, counts_n: Tensor, processes: Processes, *, version: str
) -> None:
    """Writes what processes have trained together, or one alone: a model file, or a folder with one of each part.

    Args:
        path: of the file or folder.
        content: this process's.
        model: likewise.
        counts_n: as in ``write_parts``.
        processes: all come here together.
        version: of the library.

    Raises:
        FileWriteError: if one of the processes cannot write; all of them raise it.
    """
    error = None
    try:
        if model.parts.items is not None and processes.users.is_first:
            write_parts(path, content, model, counts_n, processes.items, version=version)
        elif processes.all.is_first:
            _write_single(path, content, version=version)
    except FileWriteError as raised:
        error = raised
    _raise_together(error, path, processes.all)


def write_parts(
    folder: Path, content: ModelFile, model: FactorizationModel, counts_n: Tensor, ranks: Ranks, *, version: str
) -> None:
    """Writes this process's part, and as the first process the manifest; all processes come here together.

    A folder of that name that is there already stays whole until the new one is.

    Args:
        folder: where to; missing ones are made.
        content: this process's.
        model: likewise.
        counts_n: int64 ``[n]``, interactions of the items here.
        ranks: the processes that have the other parts.
        version: of the library.

    Raises:
        FileWriteError: if one of the processes cannot write; all of them raise it.
    """
    parts = model.parts
    assert parts.items is not None  # there are several
    rows = {"part/items": parts.items, "part/counts": counts_n}
    if parts.users is not None:
        rows["part/users"] = parts.users
    folder = Path(os.path.realpath(folder))
    unfinished = folder.with_name(f".{folder.name}.unfinished")
    error: FileWriteError | None = None
    try:
        check_replaceable(folder)
    except FileWriteError as raised:
        error = raised
    if ranks.is_first:
        shutil.rmtree(unfinished, ignore_errors=True)
    _raise_together(error, folder, ranks)
    # by which parts of another save are told apart
    save = ranks.largest(_number_of_save(content) if ranks.is_first else 0)
    rows["part/save"] = torch.tensor(save)
    try:
        # ids and histories are of the whole model: one file has them
        mine = content if ranks.is_first else replace(content, interactions=None, with_histories=False)
        write_model_file(unfinished / _name(ranks.rank, ranks.size), mine, version=version, more=rows)
    except FileWriteError as raised:
        error = raised
    _raise_together(error, folder, ranks)
    if ranks.is_first:
        missing = [name for rank in range(ranks.size) if not (unfinished / (name := _name(rank, ranks.size))).is_file()]
        if missing:
            error = FileWriteError(
                f"cannot write {folder}: other processes wrote {', '.join(missing)}, and not into the folder that the "
                "first one sees; choose a folder that all machines share"
            )
    _raise_together(error, folder, ranks)
    if ranks.is_first:
        manifest = {
            "format": _FORMAT,
            "format_version": FORMAT_VERSION,
            "recoder_version": version,
            "save": save,
            "files": [_name(rank, ranks.size) for rank in range(ranks.size)],
            "cut": _cut(model),
        }
        try:
            with atomic_write(unfinished / MANIFEST) as path:
                path.write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")
            replace_folder(unfinished, folder)
        except FileWriteError as raised:
            error = raised
    _raise_together(error, folder, ranks)


@dataclass(eq=False)
class SavedParts:
    """A checkpoint that lies in parts, opened for reading; a context.

    Args:
        folder: of the checkpoint.

    Raises:
        FileFormatError: if it is no checkpoint, is of a newer format, or a part is missing or damaged.
    """

    folder: Path

    def __post_init__(self) -> None:
        self._stack = ExitStack()
        read_again_if_replaced(self.folder / MANIFEST, self._open)

    def _open(self) -> None:
        self._stack.close()  # what was opened before another took its place
        manifest = _manifest(self.folder)
        self._cut: dict[str, str] = manifest["cut"]
        self._files: list[Any] = []
        names = manifest["files"]
        for name in names:
            path = self.folder / name
            try:
                self._files.append(self._stack.enter_context(safe_open(path, framework="pt", device="cpu")))
            except (SafetensorError, OSError) as error:
                raise FileFormatError(f"{path} is missing or damaged ({error}); load an earlier checkpoint") from error
        self._is_own = False
        self._keys = list(self._files[0].keys())
        self._described = [described_content(self.folder / name, f) for name, f in zip(names, self._files, strict=True)]
        for name, file in zip(names, self._files, strict=True):
            if _tensor(file, "part/save").tolist() != manifest["save"]:
                raise FileFormatError(
                    f"{self.folder / name} is of another save than the rest of {self.folder}, which was copied or "
                    "changed in parts; copy it anew, or load an earlier checkpoint"
                )
        for kind in ("items", "users"):
            if f"part/{kind}" in self._keys:
                self._check_rows(kind)

    def _check_rows(self, kind: str) -> None:
        """Checks that each row of the whole is in one part, and those of a part ascend."""
        ids = [_tensor(file, f"part/{kind}") for file in self._files]
        is_there = torch.zeros(sum(map(len, ids)), dtype=torch.bool)
        for rows in ids:
            ascend = bool((rows[1:] > rows[:-1]).all())
            if not ascend or (len(rows) and (rows[0] < 0 or rows[-1] >= len(is_there))) or is_there[rows].any():
                raise FileFormatError(
                    f"the parts in {self.folder} do not have each of {len(is_there)} {kind} once: it was damaged; "
                    "load an earlier checkpoint"
                )
            is_there[rows] = True

    def __enter__(self) -> SavedParts:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    @property
    def item_counts(self) -> Tensor:
        """Interactions of each item: int64 ``[N]``."""
        return self._assembled("part/counts", "items", None)

    @property
    def num_users(self) -> int | None:
        """Rows of the users' table; None: there is none."""
        return sum(len(file.get_tensor("part/users")) for file in self._files) if "part/users" in self._keys else None

    def only(self, parts: Parts) -> None:
        """Reads from now on a single file, if there is one of just what a process with these parts has."""
        if parts.items is None:
            return
        for number, file in enumerate(self._files):
            ids = {kind: _tensor(file, f"part/{kind}") for kind in ("items", "users") if f"part/{kind}" in self._keys}
            wanted = {"items": parts.items, "users": parts.users}
            if all(rows is not None and torch.equal(ids[kind], rows) for kind, rows in wanted.items() if kind in ids):
                self._files, self._described, self._is_own = [file], [self._described[number]], True
                self._keys = list(file.keys())
                return

    def check(self) -> None:
        """Checks that every number is as it was written, in the files that are read.

        Raises:
            FileFormatError: if one is not.
        """
        for file, (_, metadata) in zip(self._files, self._described, strict=True):
            if crc32_of({name: file.get_tensor(name) for name in file.keys()}) != metadata["crc32"]:  # noqa: SIM118
                raise FileFormatError(
                    f"the numbers in {self.folder} are not those that were written: it was damaged; "
                    "load an earlier checkpoint"
                )

    def content(self, parts: Parts) -> ModelFile:
        """Returns what a process with these parts has of the model.

        After ``only``, its tensors may lie in the file until they are written to.
        """
        content, metadata = self._described[0]
        sections: dict[str, dict[str, Tensor]] = {"model": {}, "optimizer": {}, "best": {}}
        others: dict[str, Tensor] = {}
        for key in self._keys:
            section, _, name = key.partition("/")
            if section in sections:
                sections[section][name] = self.tensor(key, parts)
            elif section != "part":
                others[key] = _tensor(self._files[0], key)
        weights = sections["model"]
        try:
            weights.update({alias: weights[name] for alias, name in metadata["aliases"].items()})
        except (KeyError, TypeError) as error:
            raise FileFormatError(f"{self.folder} lacks the tensor {error}; it was damaged") from error
        optimizer: dict[str, dict[str, Tensor]] = {}
        for name, tensor in sections["optimizer"].items():
            parameter, _, entry = name.rpartition("/")
            optimizer.setdefault(parameter, {})[entry] = tensor
        return replace(
            content,
            weights=weights,
            optimizer=optimizer,
            best_weights=sections["best"],
            interactions=unpack_interactions(others),
            with_histories="histories/data" in others,
        )

    def tensor(self, key: str, parts: Parts) -> Tensor:
        """Returns the rows of a tensor that a process with these parts has."""
        kind = self._kind_of(key)
        if kind is None:
            return _tensor(self._files[0], key)
        return self._assembled(key, kind, parts.items if kind == "items" else parts.users)

    def write_whole(self, path: Path) -> None:
        """Writes a model file of the whole model, a tensor at a time: in memory there is none of them.

        Raises:
            OSError: if it cannot be written.
        """
        keys = [key for key in self._keys if not key.startswith("part/")]
        shapes = {key: self._whole_shape(key) for key in keys}
        dtypes = {key: _tensor(self._files[0], key).dtype for key in keys}
        layout = sorted(keys, key=lambda key: (-dtypes[key].itemsize, key))  # each then lies at a multiple of its size
        sizes = [math.prod(shapes[key]) * dtypes[key].itemsize for key in layout]
        starts = dict(zip(layout, accumulate(sizes, initial=0), strict=False))
        entries = {
            key: {
                "dtype": self._files[0].get_slice(key).get_dtype(),
                "shape": shapes[key],
                "data_offsets": [starts[key], starts[key] + size],
            }
            for key, size in zip(layout, sizes, strict=True)
        }
        start = len(self._header(entries, _LARGEST_CRC, 0))
        with path.open("r+b") as file:
            # now, since of a mapped file that does not fit the disk nobody is told
            reserve(file, start + sum(sizes))
            whole = {key: _mapped(file, start + starts[key], shapes[key], dtypes[key]) for key in layout}
            for key, tensor in whole.items():
                for part, rows in self._rows_of_parts(key):
                    if rows is None:
                        tensor.copy_(part)
                    else:
                        tensor.index_copy_(0, rows, part)
            file.seek(0)
            file.write(self._header(entries, crc32_of(whole), start))

    def _header(self, entries: Mapping[str, Any], crc: int, size: int) -> bytes:
        """Returns what stands before the tensors, filled up to a size; 0: to one that suffices."""
        metadata = metadata_text({**self._described[0][1], "crc32": crc})
        text = json.dumps({"__metadata__": metadata, **entries}).encode()
        size = size or 8 + -(-len(text) // 8) * 8
        return (size - 8).to_bytes(8, "little") + text.ljust(size - 8)

    def _whole_shape(self, key: str) -> list[int]:
        shape = list(self._files[0].get_slice(key).get_shape())
        kind = self._kind_of(key)
        if kind is not None:
            shape[0] = sum(len(_tensor(file, f"part/{kind}")) for file in self._files)
        return shape

    def _rows_of_parts(self, key: str) -> Iterator[tuple[Tensor, Tensor | None]]:
        """Yields the parts of a tensor and the rows of the whole that they are; None: it is whole."""
        kind = self._kind_of(key)
        for file in self._files if kind is not None else self._files[:1]:
            yield _tensor(file, key), None if kind is None else _tensor(file, f"part/{kind}")

    def _kind_of(self, key: str) -> str | None:
        section, _, name = key.partition("/")
        if section == "optimizer":
            name, _, _ = name.rpartition("/")
        is_number = not self._files[0].get_slice(key).get_shape()  # a step's
        return None if is_number else self._cut.get(name)

    def _assembled(self, key: str, kind: str, wanted: Tensor | None) -> Tensor:
        """Returns rows of a tensor that is cut: those that are wanted, or all."""
        if self._is_own:
            return _tensor(self._files[0], key)
        ids = [_tensor(file, f"part/{kind}") for file in self._files]
        like = _tensor(self._files[0], key)
        num_rows = sum(map(len, ids)) if wanted is None else len(wanted)
        rows = like.new_empty(num_rows, *like.shape[1:])
        places = torch.arange(sum(map(len, ids))) if wanted is None else wanted.cpu()
        for file, there in zip(self._files, ids, strict=True):
            at = torch.searchsorted(there, places).clamp_max(max(0, len(there) - 1))
            found = (there[at] == places).nonzero().squeeze(1) if len(there) else at[:0]
            rows[found] = _tensor(file, key)[at[found]]
        return rows


def join_parts(folder: str | os.PathLike[str], path: str | os.PathLike[str]) -> None:
    """Makes a model file, as one process writes it, of a checkpoint that lies in parts.

    Memory is not needed for it, whatever the size of the model.

    Args:
        folder: the checkpoint.
        path: the file to write.

    Raises:
        FileFormatError: if there is no whole checkpoint in the folder.
        FileWriteError: if the file cannot be written.
    """
    with SavedParts(Path(folder)) as saved:
        saved.check()
        with atomic_write(path) as temporary:
            saved.write_whole(temporary)


def rows_here(model: FactorizationModel, content: ModelFile) -> ModelFile:
    """Returns what this process has of the content of a file of the whole model, whose parameters were just made."""
    parts = model.parts
    ids = {"items": parts.items, "users": parts.users}
    cut = {name: rows.cpu() for name, kind in _cut(model).items() if (rows := ids[kind]) is not None}

    def here(name: str, tensor: Tensor) -> Tensor:
        return tensor[cut[name]] if name in cut and tensor.dim() else tensor

    return replace(
        content,
        weights={name: here(name, tensor) for name, tensor in content.weights.items()},
        best_weights={name: here(name, tensor) for name, tensor in content.best_weights.items()},
        optimizer={
            name: {key: here(name, tensor) for key, tensor in entries.items()}
            for name, entries in content.optimizer.items()
        },
    )


def _raise_together(error: FileWriteError | None, path: Path, ranks: Ranks) -> None:
    """Raises in all processes what one of them met; else they would wait for it for ever.

    Raises:
        FileWriteError: the error, or that another process met one.
    """
    failed = ranks.largest(int(error is not None))
    if error is not None:
        raise error
    if failed:
        raise FileWriteError(f"another process could not write its part of {path}; its message says why")


def _write_single(path: Path, content: ModelFile, *, version: str) -> None:
    """Writes a model file; a checkpoint in parts that has its name goes when it is whole.

    Raises:
        FileWriteError: if it cannot be written.
    """
    path = Path(os.path.realpath(path))
    if not path.is_dir():
        write_model_file(path, content, version=version)
        return
    check_replaceable(path)
    whole = path.with_name(f".{path.name}.whole")
    write_model_file(whole, content, version=version)
    replace_folder(whole, path)


def _number_of_save(content: ModelFile) -> int:
    """Returns a number that another epoch, or another run, has only by chance; the same run has it again."""
    losses = [record.get("loss") for record in content.history]
    return zlib.crc32(json.dumps([content.seed, content.progress, losses]).encode())


def _name(rank: int, size: int) -> str:
    return f"part-{rank + 1}-of-{size}.safetensors"


def _cut(model: FactorizationModel) -> dict[str, str]:
    """Returns the names of the parameters that are cut, and into whose rows."""
    of_table: dict[int, str] = {}
    for table in factor_tables(model):
        kind = "users" if table.part is model.parts.users else "items"
        of_table |= {id(parameter): kind for parameter in table.parameters(recurse=False)}
    named = nn.Module.named_parameters(model, remove_duplicate=False)
    return {name: of_table[id(parameter)] for name, parameter in named if id(parameter) in of_table}


def _mapped(file: IO[bytes], start: int, shape: list[int], dtype: torch.dtype) -> Tensor:
    """Returns a tensor that lies in a file."""
    size = math.prod(shape) * dtype.itemsize
    if not size:
        return torch.empty(shape, dtype=dtype)
    numbers = np.memmap(file, np.uint8, "r+", start, (size,))
    return torch.from_numpy(numbers).view(dtype).view(shape)


def _tensor(file: Any, key: str) -> Tensor:
    try:
        tensor: Tensor = file.get_tensor(key)
    except SafetensorError as error:
        raise FileFormatError(f"a part lacks {key} ({error}): it was damaged; load an earlier checkpoint") from error
    return tensor


def check_replaceable(path: Path) -> None:
    """Checks that what is at ``path`` is no folder of anything else than a checkpoint.

    Raises:
        FileWriteError: if it is.
    """
    if path.is_dir() and not has_manifest_of(path, _FORMAT):
        raise FileWriteError(
            f"cannot write {path}: it is a folder, and not one of a checkpoint; choose another name, or prefix"
        )


def saved_history(path: Path) -> History:
    """Returns the history of the model in a file, or in parts in a folder; it is empty where there is none."""
    try:
        file = path / _manifest(path)["files"][0] if path.is_dir() else path
        return History.from_json(history_of_file(file)) if file.exists() else History()
    except (FileFormatError, TypeError, ValueError, KeyError):
        return History()


def _manifest(folder: Path) -> Mapping[str, Any]:
    path = folder / MANIFEST
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        version, files, cut = (manifest[name] for name in ("format_version", "files", "cut"))
        is_whole = (
            manifest["format"] == _FORMAT
            and isinstance(version, int)
            and isinstance(manifest["save"], int)
            and isinstance(files, list)
            and isinstance(cut, dict)
            and bool(files)
            and all(kind in ("items", "users") for kind in cut.values())
        )
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise FileFormatError(f"{folder} holds no whole checkpoint ({error}); pass another") from error
    if not is_whole:
        raise FileFormatError(f"{path} was damaged; load an earlier checkpoint")
    if version > FORMAT_VERSION:
        raise FileFormatError(f"{folder} has format version {version}, this library reads {FORMAT_VERSION}; upgrade it")
    for name in files:
        if not isinstance(name, str) or Path(name).name != name or files.count(name) > 1:
            raise FileFormatError(f"{path} names the file {name!r}, which is not beside it, or twice; it was damaged")
    return dict(manifest)
