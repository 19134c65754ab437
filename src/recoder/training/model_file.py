"""The model file: one plain safetensors file, which can hold numbers and JSON but no code.

Layout, format version 1. Tensors: ``model/NAME`` for each tensor of the model's state; ``optimizer/NAME/KEY`` for each
tensor of the optimizer's state of parameter NAME; ``best/NAME`` for the model's state after the best epoch of a run
that may stop early; ``items/counts``: users of each item; ids, titles and interactions as in ``file_sections``.
Metadata: the key ``recoder`` holds JSON; see ``ModelFile``. ``crc32`` is that of all tensors, as ``crc32_of`` returns
it. A tensor that stands under several names of the model is stored once, the other names are listed in ``aliases``.
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from recoder._files import as_os_error, atomic_write
from recoder._replaced import read_again_if_replaced
from recoder.data.interactions import Interactions
from recoder.errors import ConfigError, FileFormatError
from recoder.training.file_sections import pack_interactions, unpack_interactions
from recoder.training.optimizers import OptimizerState

__all__ = [
    "FORMAT_VERSION",
    "ModelFile",
    "check_json",
    "crc32_of",
    "described_content",
    "history_of_file",
    "is_json",
    "metadata_text",
    "read_safetensors",
    "without_aliases",
    "write_model_file",
]

FORMAT_VERSION = 1
_METADATA_KEY = "recoder"
_ABSENT = object()
_ITEM_COUNTS = "items/counts"


@dataclass(kw_only=True)
class ModelFile:
    """What a model file holds.

    Attributes:
        model_class: name of the model's class; None in files of 0.4.0 that do not tell.
        model_params: the model's hyper-parameters.
        num_items: size of the catalogue.
        num_users: users of the training data; 0 in a file that leaves their rows of factors out.
        progress: ``epoch`` whole epochs and ``step`` further steps; the loss of those steps.
        optimizer_type: name of the optimizer.
        loss: name of the loss; None where it was a module, which must be passed again.
        loss_params: keyword arguments of the loss.
        seed: of the run; None in files of 0.4.0.
        train: the last arguments of ``train``; None if it was never called.
        history: one entry per epoch.
        weights: the model's state.
        optimizer: the optimizer's state by parameter.
        optimizer_state: how it is kept, as in ``Recoder``.
        early_stopping: what a run that may stop early knows of its best epoch; None for others.
        best_weights: the model's state after that epoch; empty where it is that of ``weights``.
        interactions: the user's own ids and titles, if they are to be kept.
        with_histories: keep who interacted with what too.
        about: what a ``recoder.FittedModel`` knows beside this, as JSON values; None in files of a ``Recoder``.
        item_counts: int64 ``[N]``: users of each item, likewise.
    """

    model_class: str | None
    model_params: dict[str, Any]
    num_items: int
    num_users: int | None
    progress: dict[str, Any]
    optimizer_type: str
    loss: str | None
    loss_params: dict[str, Any]
    seed: int | None
    train: dict[str, Any] | None
    history: list[dict[str, Any]]
    weights: dict[str, Tensor] = field(repr=False)
    optimizer: OptimizerState = field(repr=False)
    optimizer_state: str = "fp32"
    early_stopping: dict[str, Any] | None = None
    best_weights: dict[str, Tensor] = field(default_factory=dict, repr=False)
    interactions: Interactions | None = field(default=None, repr=False)
    with_histories: bool = False
    about: dict[str, Any] | None = None
    item_counts: Tensor | None = field(default=None, repr=False)


_KINDS: dict[str, type | tuple[type, ...]] = {
    "model_class": str,
    "model_params": dict,
    "num_items": int,
    "num_users": (int, type(None)),
    "progress": dict,
    "optimizer_type": str,
    "loss": (str, type(None)),
    "loss_params": dict,
    "seed": int,
    "train": (dict, type(None)),
    "history": list,
}


def write_model_file(
    path: str | os.PathLike[str], content: ModelFile, *, version: str, more: Mapping[str, Tensor] | None = None
) -> None:
    """Writes a model file; a previous file of that name stays whole until the new one is.

    Args:
        path: where to; missing folders are made.
        content: what to write.
        version: of the library, for people who look into the file.
        more: tensors to keep beside those of the content.

    Raises:
        FileWriteError: if it cannot be written.
    """
    weights, aliases = without_aliases(content.weights)
    tensors = {f"model/{name}": tensor for name, tensor in weights.items()}
    for name, entries in content.optimizer.items():
        tensors.update({f"optimizer/{name}/{key}": value for key, value in entries.items()})
    tensors.update({f"best/{name}": tensor for name, tensor in content.best_weights.items()})
    if content.interactions is not None:
        tensors |= pack_interactions(content.interactions, histories=content.with_histories)
    described = {name: getattr(content, name) for name in _KINDS}
    if content.item_counts is not None:
        tensors[_ITEM_COUNTS] = content.item_counts
    optional: dict[str, Any] = {"early_stopping": content.early_stopping, "about": content.about}
    if content.optimizer_state != "fp32":
        optional["optimizer_state"] = content.optimizer_state
    described |= {name: value for name, value in optional.items() if value is not None}
    tensors |= more or {}
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    of_file = {"format_version": FORMAT_VERSION, "recoder_version": version, "crc32": crc32_of(tensors)}
    metadata = {**of_file, "aliases": aliases, **described}
    with atomic_write(path) as temporary:
        try:
            save_file(tensors, temporary, metadata=metadata_text(metadata))
        except SafetensorError as error:
            raise as_os_error(error) from error  # how the writer reports that the disk is full


def read_safetensors(path: str | os.PathLike[str]) -> ModelFile:
    """Returns what a model file holds, its tensors in memory of their own.

    Raises:
        FileFormatError: if it is not a whole safetensors file, not one of a model, or of a newer format.
    """
    return read_again_if_replaced(Path(path), lambda: _read_whole(path))


def history_of_file(path: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """Returns the history of the training that wrote a file, as JSON values; its tensors are not read.

    Raises:
        FileFormatError: if it is no model file.
    """
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            content, _ = described_content(path, file)
        return content.history
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise FileFormatError(f"{path} is not a whole model file: {error}") from error


def _read_whole(path: str | os.PathLike[str]) -> ModelFile:
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            content, metadata = described_content(path, file)
            mapped = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
            tensors = _read(path, mapped)
    except SafetensorError as error:
        raise FileFormatError(
            f"{path} is not a whole model file: {error}. It was cut short, damaged, or is of another kind; "
            "load an earlier checkpoint"
        ) from error
    if crc32_of(tensors) != metadata["crc32"]:
        raise FileFormatError(
            f"the numbers in {path} are not those that were written to it: it was damaged; load an earlier checkpoint"
        )
    return replace(
        content,
        weights=_weights(path, tensors, metadata["aliases"]),
        optimizer=_optimizer_state(path, tensors),
        item_counts=tensors.get(_ITEM_COUNTS),
        best_weights=_section(tensors, "best/"),
        interactions=unpack_interactions(tensors),
        with_histories="histories/data" in tensors,
    )


def _read(path: str | os.PathLike[str], mapped: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Returns copies of tensors that are mapped from a file, which do not change when somebody writes into it.

    The mapped pages themselves are not read: with them it would take twice the memory.
    """
    with Path(path).open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        try:
            header = json.loads(file.read(length))
            starts = {name: 8 + length + header[name]["data_offsets"][0] for name in mapped}
        except (ValueError, KeyError) as error:  # of another file than what is mapped
            raise FileFormatError(f"{path} was replaced while it was read ({error}); read it again") from error
        tensors = {}
        for name, like in mapped.items():
            tensors[name] = torch.empty_like(like)
            file.seek(starts[name])
            if like.numel():
                file.readinto(tensors[name].view(-1).view(torch.uint8).numpy().data)
    return tensors


def metadata_text(described: Mapping[str, Any]) -> dict[str, str]:
    """Returns a description as a file holds it."""
    return {_METADATA_KEY: json.dumps(described, allow_nan=False)}


def described_content(path: str | os.PathLike[str], file: Any) -> tuple[ModelFile, dict[str, Any]]:
    """Returns what an open file tells, its tensors left out, and all of its description.

    Raises:
        FileFormatError: if it is not one of a model, or of a newer format.
    """
    metadata = _metadata(path, file.metadata() or {})
    content = ModelFile(
        **{name: metadata[name] for name in _KINDS},
        weights={},
        optimizer={},
        optimizer_state=metadata.get("optimizer_state", "fp32"),
        early_stopping=metadata.get("early_stopping"),
        about=metadata.get("about"),
    )
    return content, metadata


def crc32_of(tensors: Mapping[str, Tensor]) -> int:
    """Returns the CRC-32 of the bytes of all tensors, in the order of their names: 4 GB/s on one core.

    Args:
        tensors: contiguous, in main memory.
    """
    crc = 0
    for _, tensor in sorted(tensors.items()):
        flat = tensor.as_strided((tensor.numel(),), (1,))  # a single number may have any stride
        crc = zlib.crc32(flat.view(torch.uint8).numpy().data, crc)
    return crc


def check_json(name: str, value: Any) -> None:
    """Checks that a value can be stored: a dict of JSON values.

    Raises:
        ConfigError: if it cannot.
    """
    hint = "a model file holds JSON values only: numbers, strings, booleans, None, lists, and dicts of them by string"
    if not isinstance(value, dict):
        raise ConfigError(f"{name} is {type(value).__name__}, not a dict; {hint}")
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise ConfigError(f"{name} cannot be stored ({error}); {hint}") from error
    other_keys = [key for key in _keys(value) if not isinstance(key, str)]
    if other_keys:  # json would turn them into strings
        raise ConfigError(f"{name} holds the key {other_keys[0]!r}; {hint}")


def is_json(value: Any) -> bool:
    """Returns whether a value can be stored, and comes back as it is."""
    try:
        return bool(json.loads(json.dumps(value, allow_nan=False)) == value)
    except (TypeError, ValueError, RecursionError):
        return False


def _keys(value: Any) -> Iterator[Any]:
    """Yields the keys of dicts, however deep in lists and dicts they stand."""
    if isinstance(value, dict):
        yield from value
    if isinstance(value, dict | list | tuple):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _keys(inner)


def _weights(
    path: str | os.PathLike[str], tensors: Mapping[str, Tensor], aliases: Mapping[str, Any]
) -> dict[str, Tensor]:
    weights = _section(tensors, "model/")
    for alias, name in aliases.items():
        if not isinstance(name, str) or name not in weights:
            raise FileFormatError(f"{path} lacks the tensor {name!r}, which {alias!r} refers to; it was damaged")
        weights[alias] = weights[name]
    return weights


def _section(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _optimizer_state(path: str | os.PathLike[str], tensors: Mapping[str, Tensor]) -> OptimizerState:
    state: OptimizerState = {}
    for name, tensor in tensors.items():
        if name.startswith("optimizer/"):
            parameter, _, key = name.removeprefix("optimizer/").rpartition("/")
            if not parameter:
                raise FileFormatError(f"{path} holds {name!r}, which names no parameter; it was damaged")
            state.setdefault(parameter, {})[key] = tensor
    return state


def _metadata(path: str | os.PathLike[str], raw: Mapping[str, str]) -> dict[str, Any]:
    if _METADATA_KEY not in raw:
        raise FileFormatError(f"{Path(path)} is a safetensors file, but not a model file of this library")
    try:
        metadata: dict[str, Any] = json.loads(raw[_METADATA_KEY])
    except (ValueError, RecursionError) as error:
        raise FileFormatError(f"the description in {path} is not JSON ({error}); it was damaged") from error
    version = metadata.get("format_version") if isinstance(metadata, dict) else None
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise FileFormatError(f"the description in {path} has no format version; it was damaged")
    if version > FORMAT_VERSION:
        raise FileFormatError(
            f"{path} has format version {version}, this library reads up to {FORMAT_VERSION}; "
            f"upgrade it (the file was written by version {metadata.get('recoder_version')})"
        )
    for name, kind in {**_KINDS, "crc32": int, "aliases": dict}.items():
        value = metadata.get(name, _ABSENT)
        if not isinstance(value, kind) or isinstance(value, bool):
            raise FileFormatError(f"the description in {path} has no valid {name!r}; it was damaged")
    return metadata


def without_aliases(weights: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Returns each distinct tensor once, and for the other names of a tensor the one it is stored under."""
    first_names: dict[tuple[Any, ...], str] = {}
    distinct: dict[str, Tensor] = {}
    aliases: dict[str, str] = {}
    storages: set[int] = set()
    for name, tensor in weights.items():
        identity = (tensor.data_ptr(), tensor.dtype, tensor.shape, tensor.stride())
        if tensor.numel() and identity in first_names:
            aliases[name] = first_names[identity]
            continue
        first_names[identity] = name
        storage = tensor.untyped_storage().data_ptr()
        # views of one storage, but not the same tensor: stored apart
        distinct[name] = tensor.clone() if storage in storages else tensor
        storages.add(storage)
    return distinct, aliases
