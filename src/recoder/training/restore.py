"""From a model file of any version to a model."""

from __future__ import annotations

import contextlib
import copy
import math
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn

from recoder._checks import whole_number
from recoder.errors import ConfigError, FileFormatError, NotEnoughMemoryError
from recoder.losses import make_loss
from recoder.nn.base import FactorizationModel
from recoder.nn.tables import rows_of_tables
from recoder.training.history import History
from recoder.training.legacy import read_legacy
from recoder.training.loop import Progress
from recoder.training.model_file import ModelFile, read_safetensors, without_aliases
from recoder.training.optimizers import check_optimizer, check_optimizer_state
from recoder.training.part_files import rows_here
from recoder.training.stopping import Best

__all__ = ["attributes_kept", "check_fits", "read_model_file", "rebuild", "restored_run"]

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


def restored_run(path: str | os.PathLike[str], content: ModelFile) -> tuple[nn.Module | None, Progress, History, Best]:
    """Returns the loss (None where the file cannot hold it), how far the run is, its history, and its best epoch.

    Raises:
        FileFormatError: if the file says something else than a run can be.
    """
    try:
        check_optimizer(content.optimizer_type, content.optimizer_state)
        loss = None if content.loss is None else make_loss(content.loss, content.loss_params)
        progress = Progress(**content.progress)
        for name in ("epoch", "step", "num_users"):
            whole_number(name, getattr(progress, name), 0)
        if (progress.step > 0) != (progress.num_users > 0) or not math.isfinite(progress.loss_sum):
            raise ConfigError(f"{progress} contradicts itself")
        for name, least in (("num_items", 1), ("num_users", 0)):
            if getattr(content, name) is not None:
                whole_number(name, getattr(content, name), least)
        if content.interactions is not None and content.interactions.num_items != content.num_items:
            raise ConfigError(f"{content.interactions.num_items} item ids for {content.num_items} items")
        best = Best.from_json(content.early_stopping or {}, content.best_weights)
        history = History.from_json(content.history)
        if best.epoch and not best.weights:
            history.best_epoch = best.epoch
        return loss, progress, history, best
    except (AttributeError, KeyError, TypeError, ValueError, OverflowError) as error:
        raise FileFormatError(
            f"the description of the run in {path} cannot be read ({error}); the file was damaged"
        ) from error


def rebuild(
    path: str | os.PathLike[str],
    model: FactorizationModel,
    content: ModelFile,
    init_model: Callable[[], None],
    check: Callable[[], None],
    *,
    is_part: bool,
) -> ModelFile:
    """Makes the model that the file holds, and returns what of it this process has.

    If that fails, the model is as it was before.

    Args:
        path: of the file.
        model: takes over hyper-parameters and weights.
        content: what the file holds.
        init_model: creates the parameters, once the hyper-parameters are set.
        check: raises its own errors if the model, as made so far, cannot be used.
        is_part: the content is of the rows alone that this process has.

    Raises:
        FileFormatError: if hyper-parameters, names or shapes do not fit the model.
        NotEnoughMemoryError: if its tables do not fit the memory.
    """
    with _as_before_on_error(model):
        try:
            model.load_model_params(content.model_params)
            init_model()
        except NotImplementedError:
            raise  # the model's class lacks a method; the file is not to blame
        except NotEnoughMemoryError as error:
            if not any(content.num_items in weight.shape for weight in content.weights.values()):
                raise FileFormatError(
                    f"{path} says that there are {content.num_items} items, but no tensor in it has as many rows; "
                    "the file was damaged"
                ) from error
            raise
        except (AttributeError, KeyError, TypeError, ValueError, RuntimeError, MemoryError) as error:
            raise FileFormatError(
                f"{type(model).__name__} cannot be made as {path} describes it ({error}); "
                "the file was damaged, or the model's class was changed since"
            ) from error
        check()
        if model.parts.items is not None and not is_part:
            content = rows_here(model, content)
        _load_weights(path, model, content)
        try:
            _check_state(model, content)
        except FileFormatError as error:
            raise FileFormatError(f"{path}: {error}") from error
    return content


def _check_state(model: FactorizationModel, content: ModelFile) -> None:
    parameters = dict(model.named_parameters())
    tables = rows_of_tables(model) if content.optimizer_state == "bf16" else {}
    rounded = {name for name, parameter in parameters.items() if parameter in tables}
    check_optimizer_state(content.optimizer, parameters, content.optimizer_type, rounded=rounded)


@contextlib.contextmanager
def _as_before_on_error(model: nn.Module) -> Iterator[None]:
    """Gives every module its attributes, parameters and parts back if the block fails; tensors are not copied."""
    give_back = attributes_kept(model)
    try:
        yield
    except BaseException:
        give_back()
        raise


def attributes_kept(model: nn.Module) -> Callable[[], None]:
    """Returns what gives every module the attributes, parameters and parts back that it has now."""
    kept = [(module, {name: _copied(value) for name, value in vars(module).items()}) for module in model.modules()]

    def give_back() -> None:
        for module, attributes in kept:
            vars(module).clear()
            vars(module).update(attributes)

    return give_back


def _copied(value: Any) -> Any:
    # the registers of a module are dicts and sets that change in place
    return copy.copy(value) if isinstance(value, dict | set | list) else value


def _load_weights(path: str | os.PathLike[str], model: FactorizationModel, content: ModelFile) -> None:
    own = model.state_dict()
    misfits = [
        f"{name} has shape {tuple(weight.shape)}, the model's {tuple(own[name].shape)}"
        for weights in (content.weights, content.best_weights)
        for name, weight in weights.items()
        if name in own and own[name].shape != weight.shape
    ]
    if content.best_weights:
        lacking = without_aliases(own)[0].keys() ^ content.best_weights.keys()
        misfits += [f"the best weights differ from the model's in {name}" for name in sorted(lacking)]
    try:
        if misfits:  # torch would copy those that fit before it says so
            raise RuntimeError("; ".join(misfits))
        with torch.no_grad():
            model.load_state_dict(content.weights, strict=True)
    except (FileFormatError, RuntimeError) as error:
        raise FileFormatError(
            f"the weights in {path} do not fit {type(model).__name__}: {error}; "
            "the file was damaged, or the model's class was changed since"
        ) from error
