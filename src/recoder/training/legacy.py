"""Reading model files that recoder 0.4.0 wrote: pickles, read through an allow-list and never by running them."""

from __future__ import annotations

import logging
import os
import pickle
import re
import threading
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from recoder.errors import FileFormatError, UnsafeFileError
from recoder.training.model_file import ModelFile
from recoder.training.optimizers import OptimizerState

__all__ = ["read_legacy"]

_log = logging.getLogger("recoder.training")


class _Ignored:
    """Stands in for numpy's arrays of user and item numbers, which nobody needs: nothing of numpy is called."""

    def __init__(self, *args: object) -> None:
        pass

    def __setstate__(self, state: object) -> None:
        pass


_ALLOWED: list[Any] = [
    (_Ignored, "numpy.core.multiarray._reconstruct"),
    (_Ignored, "numpy._core.multiarray._reconstruct"),  # its place since numpy 2
    (_Ignored, "numpy.ndarray"),
    (_Ignored, "numpy.dtype"),
]
# torch keeps them for the process: the first of two threads to leave would take them from the other
_ALLOWING = threading.Lock()
# what torch's reader says of a pickle that asks for more than data
_REFUSED = re.compile(r"GLOBAL (\S+)|Trying to call reduce|Can only create new object|Can only build")

_AUTOENCODER_NAMES = (
    (r"en_embedding_layer\.weight", "item_sum.table.weight"),
    (r"_DynamicAutoencoder__en_linear_embedding_layer\.bias", "input_bias"),
    (r"encoding_layers\.(\d+)\.(weight|bias)", r"encoder.\1.\2"),
    (r"decoding_layers\.(\d+)\.(weight|bias)", r"decoder.\1.\2"),
    (r"de_embedding_layer\.weight", "items.weight"),
    (r"_DynamicAutoencoder__de_linear_embedding_layer\.bias", "items.bias"),
)
_FACTORIZATION_NAMES = (
    (r"bias", "items.bias"),
    (r"user_embedding_layer\.weight", "users.weight"),
    (r"item_embedding_layer\.weight", "items.weight"),
)
# only the autoencoder, and only the factorization, have all of these
_AUTOENCODER_MARKS = {"_DynamicAutoencoder__en_linear_embedding_layer.bias", "de_embedding_layer.weight"}
_FACTORIZATION_MARKS = {"bias", "user_embedding_layer.weight", "item_embedding_layer.weight"}
_TABLES = ("item_sum.table.weight", "items.weight", "users.weight")
# second names of the autoencoder's tables
_DUPLICATE = re.compile(r"_DynamicAutoencoder__(en|de)_linear_embedding_layer\.embedding_layer\.weight")


def read_legacy(path: str | os.PathLike[str]) -> ModelFile:
    """Returns what a model file of recoder 0.4.0 holds, under the names of this version.

    Moments of Adam that the file lacks (0.4.0 did not save those of sparse gradients) start at zero; a warning is
    logged.

    Raises:
        UnsafeFileError: if the file names anything but tensors, arrays and plain values; nothing of it is run.
        FileFormatError: if it is not a whole file of 0.4.0.
    """
    content = _load(path)
    try:
        return _model_file(path, content)
    except FileFormatError:
        raise
    except (AttributeError, IndexError, KeyError, OverflowError, RuntimeError, TypeError, ValueError) as error:
        # right names, but values of other kinds under them
        raise _not_a_model(path) from error


def _load(path: str | os.PathLike[str]) -> dict[str, Any]:
    try:
        with _ALLOWING, torch.serialization.safe_globals(_ALLOWED):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch's reader raises whatever it trips over, struct.error and OSError among it
        refused = _REFUSED.search(str(error)) if isinstance(error, pickle.UnpicklingError) else None
        if refused is None:
            raise _not_a_model(path) from error
        raise UnsafeFileError(
            f"{path} asks for {refused.group(1) or 'something else than data'}, which is no part of a model file; "
            "nothing of it was run. Do not trust where it came from"
        ) from error
    expected = {"model_params": dict, "model": dict, "optimizer_type": str, "optimizer": dict}
    names = {*expected, "last_epoch", "num_items", "num_users", "loss", "loss_params"}
    if not isinstance(content, dict) or not names <= content.keys():
        raise _not_a_model(path)
    if any(not isinstance(content[name], kind) for name, kind in expected.items()):
        raise _not_a_model(path)
    for tensor in _tensors_in(content):
        if tensor.layout != torch.strided:
            raise _not_a_model(path)
        # strides of 0 would let a few bytes fill the memory
        if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
            raise FileFormatError(
                f"{path} holds a tensor of shape {tuple(tensor.shape)} in {tensor.untyped_storage().nbytes()} bytes, "
                "which 0.4.0 never wrote; do not trust where it came from"
            )
    return content


def _tensors_in(value: Any) -> Iterator[Tensor]:
    """Yields the tensors in dicts and lists, however deep."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from _tensors_in(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _tensors_in(inner)


def _model_file(path: str | os.PathLike[str], content: Mapping[str, Any]) -> ModelFile:
    params = content["model_params"]
    model_class, renames = _model_kind(content["model"])
    weights, parameters = _renamed_weights(content["model"], renames, tied=bool(params.get("is_constrained")))
    return ModelFile(
        model_class=model_class,
        model_params=params,
        num_items=int(content["num_items"]),
        num_users=None if content["num_users"] is None else int(content["num_users"]),
        progress={"epoch": int(content["last_epoch"]), "step": 0},
        optimizer_type=content["optimizer_type"],
        loss=content["loss"] if isinstance(content["loss"], str) else None,
        loss_params=dict(content["loss_params"] or {}),
        seed=None,
        train=None,
        history=[],
        weights=weights,
        optimizer=_optimizer_state(path, content["optimizer"], parameters, weights),
    )


def _not_a_model(path: str | os.PathLike[str]) -> FileFormatError:
    return FileFormatError(
        f"{path} is not a whole model file: neither of this version nor of recoder 0.4.0. "
        "It was cut short, damaged, or is of another kind; load an earlier checkpoint"
    )


def _model_kind(weights: Mapping[str, Tensor]) -> tuple[str | None, tuple[tuple[str, str], ...]]:
    if weights.keys() >= _AUTOENCODER_MARKS:
        return "DynamicAutoencoder", _AUTOENCODER_NAMES
    if weights.keys() == _FACTORIZATION_MARKS:
        return "MatrixFactorization", _FACTORIZATION_NAMES
    return None, ()  # a user's own model: its names are its own


def _renamed_weights(
    state: Mapping[str, Tensor], renames: tuple[tuple[str, str], ...], *, tied: bool
) -> tuple[dict[str, Tensor], list[str]]:
    """Returns the tensors by new name, and the new names in the order in which 0.4.0 numbered its parameters."""
    weights: dict[str, Tensor] = {}
    parameters: list[str] = []
    for old, tensor in state.items():
        if renames and _DUPLICATE.fullmatch(old):
            continue
        new = next((re.sub(a, b, old) for a, b in renames if re.fullmatch(a, old)), old)
        weights[new] = tensor.clone()
        if not (tied and new == "items.weight"):  # one parameter with item_sum.table.weight, counted there
            parameters.append(new)
    return weights, parameters


def _optimizer_state(
    path: str | os.PathLike[str],
    stored: Mapping[str, Any],
    parameters: list[str],
    weights: Mapping[str, Tensor],
) -> OptimizerState:
    # 0.4.0 numbered the parameters in their order, each in a group of its own
    numbers = [number for group in stored["param_groups"] for number in group["params"]]
    if len(numbers) != len(parameters):
        # tables with sparse gradients had an optimizer of their own, which was not saved
        dense = [name for name in parameters if name not in _TABLES]
        kept = dense if len(dense) == len(numbers) else []
        _log.warning(
            "%s holds no optimizer state that is known to be that of %s: recoder 0.4.0 did not save that of sparse "
            "gradients, and named none of the others; it starts at zero",
            path,
            ", ".join(name for name in parameters if name not in kept),
        )
        parameters, numbers = kept, numbers[: len(kept)]
    state: OptimizerState = {}
    for name, number in zip(parameters, numbers, strict=True):
        entries = stored["state"].get(number, {})
        tensors = {
            key: value.clone() if isinstance(value, Tensor) else torch.tensor(float(value))
            for key, value in entries.items()
            if isinstance(value, Tensor | int | float)
        }
        if any(value.dim() and value.shape != weights[name].shape for value in tensors.values()):
            raise FileFormatError(f"the optimizer state in {path} does not fit the model; the file was damaged")
        if tensors:
            state[name] = tensors
    return state
