"""Optimizers by name: torch's own for dense gradients, rows only for sparse ones."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.optim import SGD, Adagrad, Adam, Optimizer, RMSprop

from recoder.errors import ConfigError, FileFormatError
from recoder.nn.tables import FactorTable, factor_tables, row_gradients, tables_with_row_gradients
from recoder.ops.kernels import serve
from recoder.training.row_adam import RowAdam

__all__ = ["OPTIMIZER_TYPES", "ModelOptimizer", "OptimizerState"]

OPTIMIZER_TYPES = ("sgd", "adam", "adagrad", "rmsprop")
MOMENTUM = 0.9

OptimizerState = dict[str, dict[str, Tensor]]

_STATE_KEYS = {
    "sgd": {"momentum_buffer"},
    "adam": {"step", "exp_avg", "exp_avg_sq"},
    "adagrad": {"step", "sum"},
    "rmsprop": {"step", "square_avg", "momentum_buffer"},
}


class ModelOptimizer:
    """The optimizer of all parameters of a model.

    Parameters with sparse gradients are updated by rows; embedding layers that ask for such gradients are found
    beforehand, others when their first gradient comes. ``weight_decay`` is L2 regularisation added to the gradient;
    biases (parameters whose name ends in ``bias``) have none.

    Args:
        model: the model.
        optimizer_type: ``'sgd'``, ``'adam'``, ``'adagrad'`` or ``'rmsprop'``; sgd and rmsprop with momentum 0.9.
        weight_decay: at least 0.

    Raises:
        ConfigError: for an unknown type, a model without parameters, or sparse gradients with another type than adam.
    """

    def __init__(self, model: nn.Module, optimizer_type: str, weight_decay: float) -> None:
        check_optimizer_type(optimizer_type)
        self._type = optimizer_type
        self._weight_decay = weight_decay
        self._names = {parameter: name for name, parameter in model.named_parameters() if parameter.requires_grad}
        if not self._names:
            raise ConfigError(f"{type(model).__name__} has no parameters to train; create them in init_model")
        by_rows = tables_with_row_gradients(model) & self._names.keys()
        self._check_sparse(by_rows)
        # of which the gradients are needed by rows, though every row is updated
        self._tables = [table for table in factor_tables(model) if not table.sparse and self._reads_rows(table)]
        whole = {p for table in self._tables for p in table.parameters(recurse=False)} & self._names.keys()
        self._optimizers: list[Optimizer] = [
            *self._make(self._dense_optimizer, [p for p in self._names if p not in by_rows | whole]),
            *self._make(RowAdam, [p for p in self._names if p in by_rows]),
            *self._make(partial(RowAdam, every_row=True), [p for p in self._names if p in whole]),
        ]

    def row_gradients(self) -> AbstractContextManager[None]:
        """Returns a context in which the model's tables give gradients as they are read fastest here."""
        return row_gradients(self._tables)

    def zero_grad(self) -> None:
        """Forgets the gradients."""
        for optimizer in self._optimizers:
            optimizer.zero_grad(set_to_none=True)

    def step(self, lr: float) -> None:
        """Updates the parameters from their gradients with learning rate ``lr``."""
        self._move_sparse_surprises()
        for optimizer in self._optimizers:
            for group in optimizer.param_groups:
                group["lr"] = lr
            optimizer.step()

    def state(self) -> OptimizerState:
        """Returns the optimizer's state by parameter name; its tensors are not copies."""
        return {
            self._names[cast("nn.Parameter", parameter)]: {
                key: torch.tensor(float(value)) if isinstance(value, int) else value
                for key, value in entries.items()
                if value is not None  # SGD's momentum before its first step
            }
            for optimizer in self._optimizers
            for parameter, entries in optimizer.state.items()
        }

    def load(self, state: Mapping[str, Mapping[str, Tensor]]) -> None:
        """Takes over a state; parameters that it does not name start afresh.

        Raises:
            FileFormatError: as ``check_optimizer_state``.
        """
        parameters = {name: parameter for parameter, name in self._names.items()}
        check_optimizer_state(state, parameters, self._type)
        owners = {
            parameter: optimizer
            for optimizer in self._optimizers
            for group in optimizer.param_groups
            for parameter in group["params"]
        }
        for name, entries in state.items():
            parameter = parameters[name]
            owner = owners[parameter]
            owner.state[parameter] = {key: value.to(parameter.device, copy=True) for key, value in entries.items()}
            if isinstance(owner, RowAdam):
                owner.state[parameter]["step"] = int(entries["step"])

    def _make(self, kind: Any, parameters: list[nn.Parameter]) -> list[Optimizer]:
        decayed = [p for p in parameters if not self._names[p].endswith("bias")]
        plain = [p for p in parameters if self._names[p].endswith("bias")]
        groups = [
            {"params": decayed, "weight_decay": self._weight_decay},
            {"params": plain, "weight_decay": 0.0},
        ]
        groups = [group for group in groups if group["params"]]
        return [kind(groups)] if groups else []

    def _reads_rows(self, table: FactorTable) -> bool:
        return self._type == "adam" and serve(*(p.detach() for p in table.parameters(recurse=False)))

    def _dense_optimizer(self, groups: list[dict[str, Any]]) -> Optimizer:
        on_cpu = all(p.device.type == "cpu" for group in groups for p in group["params"])
        # the learning rate is set at each step; torch wants some value here
        if self._type == "adam":
            return Adam(groups, lr=1.0, fused=True)
        if self._type == "adagrad":
            return Adagrad(groups, lr=1.0, fused=on_cpu)  # torch 2.13 has no fused Adagrad for CUDA
        if self._type == "sgd":
            return SGD(groups, lr=1.0, momentum=MOMENTUM, fused=True)
        return RMSprop(groups, lr=1.0, momentum=MOMENTUM)

    def _move_sparse_surprises(self) -> None:
        """Hands parameters of the dense optimizer whose gradients turn out sparse over to the one by rows."""
        surprises = {
            parameter
            for optimizer in self._optimizers
            if not isinstance(optimizer, RowAdam)
            for group in optimizer.param_groups
            for parameter in group["params"]
            if parameter.grad is not None and parameter.grad.is_sparse
        }
        if not surprises:
            return
        self._check_sparse(surprises)
        for optimizer in self._optimizers:
            for group in optimizer.param_groups:
                group["params"] = [p for p in group["params"] if p not in surprises]
        rows = self._make(RowAdam, [p for p in self._names if p in surprises])
        for optimizer in self._optimizers:
            for parameter in surprises & optimizer.state.keys():
                rows[0].state[parameter] = optimizer.state.pop(parameter)
                rows[0].state[parameter]["step"] = int(rows[0].state[parameter]["step"])
        self._optimizers += rows

    def _check_sparse(self, parameters: set[nn.Parameter]) -> None:
        if parameters and self._type != "adam":
            name = min(self._names[parameter] for parameter in parameters)
            raise ConfigError(
                f"{name} has sparse gradients, which optimizer_type {self._type!r} does not support; "
                "use optimizer_type='adam', or build the model with sparse=False"
            )


def check_optimizer_type(optimizer_type: str) -> None:
    """Checks the name of an optimizer.

    Raises:
        ConfigError: if it is unknown.
    """
    if optimizer_type not in OPTIMIZER_TYPES:
        raise ConfigError(f"unknown optimizer_type {optimizer_type!r}; choose one of {', '.join(OPTIMIZER_TYPES)}")


def check_optimizer_state(
    state: Mapping[str, Mapping[str, Tensor]], parameters: Mapping[str, Tensor], optimizer_type: str
) -> None:
    """Checks that a state is one of this optimizer for these parameters, by name.

    Raises:
        FileFormatError: if it names a parameter that is not there, lacks a part of one's state, or shapes differ.
    """
    for name, entries in state.items():
        if name not in parameters:
            raise FileFormatError(f"the optimizer state is of a parameter {name!r} that the model does not have")
        for key, value in entries.items():
            shape = torch.Size() if key == "step" else parameters[name].shape
            if value.shape != shape:
                raise FileFormatError(
                    f"the optimizer state {key} of {name!r} has shape {tuple(value.shape)}, "
                    f"the parameter {tuple(parameters[name].shape)}"
                )
            dtype = torch.float32 if key == "step" else parameters[name].dtype
            if value.dtype != dtype:
                raise FileFormatError(f"the optimizer state {key} of {name!r} holds {value.dtype}, not {dtype}")
        missing = _STATE_KEYS[optimizer_type] - entries.keys()
        if missing:
            raise FileFormatError(f"the optimizer state of {name!r} lacks {min(missing)}, which {optimizer_type} needs")
