"""Optimizers by name, for all parameters of a model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager

import torch
from torch import Tensor, nn

from recoder.errors import ConfigError, FileFormatError
from recoder.nn.tables import FactorTable, factor_tables, row_gradients, tables_with_row_gradients
from recoder.ops.collectives import ALONE, Ranks
from recoder.ops.kernels import serve
from recoder.training.clipping import clipped
from recoder.training.updates import STATE_KEYS, UPDATES, State

__all__ = ["OPTIMIZER_TYPES", "ModelOptimizer", "OptimizerState"]

OPTIMIZER_TYPES = tuple(UPDATES)
"""Those that take steps along gradients."""

_ALL_TYPES = (*OPTIMIZER_TYPES, "als")

OptimizerState = dict[str, dict[str, Tensor]]


class ModelOptimizer:
    """The optimizer of all parameters of a model.

    Parameters with sparse gradients are updated by rows. ``weight_decay`` is L2 regularisation added to the gradient;
    biases (parameters whose name ends in ``bias``) have none.

    Args:
        model: the model.
        optimizer_type: ``'sgd'``, ``'adam'``, ``'adagrad'`` or ``'rmsprop'``; sgd and rmsprop with momentum 0.9.
        weight_decay: at least 0.
        max_norm: gradients with a larger global norm are scaled down to it, weight decay not counted. None: they stay.
        ranks: processes with other rows of the model's tables each.

    Raises:
        ConfigError: for an unknown type, a model without parameters, or sparse gradients with another type than adam.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer_type: str,
        weight_decay: float,
        max_norm: float | None = None,
        *,
        ranks: Ranks = ALONE,
    ) -> None:
        check_optimizer_type(optimizer_type)
        self._type = optimizer_type
        self._update = UPDATES[optimizer_type]
        self._weight_decay = weight_decay
        self._max_norm = max_norm
        self._ranks = ranks
        self._names = {parameter: name for name, parameter in model.named_parameters() if parameter.requires_grad}
        self._states: dict[nn.Parameter, State] = {}
        if not self._names:
            raise ConfigError(f"{type(model).__name__} has no parameters to train; create them in init_model")
        self._check_sparse(tables_with_row_gradients(model) & self._names.keys())
        # every row of theirs is updated, but without a dense gradient
        self._tables = [table for table in factor_tables(model) if not table.sparse and self._reads_rows(table)]
        self._cut = {parameter for table in factor_tables(model) for parameter in table.parameters(recurse=False)}
        self._every_row = {parameter for table in self._tables for parameter in table.parameters(recurse=False)}

    def row_gradients(self) -> AbstractContextManager[None]:
        """Returns a context in which the model's tables give gradients as they are read fastest here."""
        return row_gradients(self._tables)

    def zero_grad(self) -> None:
        """Forgets the gradients."""
        for parameter in self._names:
            parameter.grad = None

    @torch.no_grad()
    def step(self, lr: float) -> None:
        """Updates the parameters from their gradients with learning rate ``lr``.

        Raises:
            ConfigError: for sparse gradients with another type than adam; nothing is updated.
        """
        gradients = self.gradients()
        self._check_sparse(parameter for parameter, gradient in gradients.items() if gradient.is_sparse)
        if self._max_norm is not None and gradients:
            gradients = dict(zip(gradients, self._clipped(gradients, self._max_norm), strict=True))
        for parameter, gradient in gradients.items():
            self._update(
                parameter,
                gradient,
                self._states.setdefault(parameter, {}),
                lr=lr,
                weight_decay=0.0 if self._names[parameter].endswith("bias") else self._weight_decay,
                every_row=parameter in self._every_row,
            )

    def gradients(self) -> dict[nn.Parameter, Tensor]:
        """Returns the gradients that there are."""
        return {parameter: parameter.grad for parameter in self._names if parameter.grad is not None}

    def state(self) -> OptimizerState:
        """Returns the optimizer's state by parameter name; its tensors are not copies."""
        return {
            self._names[parameter]: {key: _as_tensor(value) for key, value in state.items()}
            for parameter, state in self._states.items()
        }

    def load(self, state: Mapping[str, Mapping[str, Tensor]]) -> None:
        """Takes over a state, its tensors included; parameters that it does not name start afresh.

        Raises:
            FileFormatError: as ``check_optimizer_state``.
        """
        parameters = {name: parameter for parameter, name in self._names.items()}
        check_optimizer_state(state, parameters, self._type)
        for name, entries in state.items():
            parameter = parameters[name]
            self._states[parameter] = {
                key: int(value) if key == "step" else value.to(parameter.device) for key, value in entries.items()
            }

    def _clipped(self, gradients: Mapping[nn.Parameter, Tensor], max_norm: float) -> list[Tensor]:
        are_cut = [parameter in self._cut for parameter in gradients]
        return clipped(list(gradients.values()), max_norm, are_cut=are_cut, ranks=self._ranks)

    def _reads_rows(self, table: FactorTable) -> bool:
        return self._type == "adam" and serve(*(parameter.detach() for parameter in table.parameters(recurse=False)))

    def _check_sparse(self, parameters: Iterable[nn.Parameter]) -> None:
        names = sorted(self._names[parameter] for parameter in parameters)
        if names and self._type != "adam":
            raise ConfigError(
                f"{names[0]} has sparse gradients, which optimizer_type {self._type!r} does not support; "
                "use optimizer_type='adam', or build the model with sparse=False"
            )


def _as_tensor(value: Tensor | int) -> Tensor:
    return torch.tensor(float(value), dtype=torch.float32) if isinstance(value, int) else value


def check_optimizer_type(optimizer_type: str) -> None:
    """Checks the name of an optimizer.

    Raises:
        ConfigError: if it is unknown.
    """
    if optimizer_type not in _ALL_TYPES:
        raise ConfigError(f"unknown optimizer_type {optimizer_type!r}; choose one of {', '.join(_ALL_TYPES)}")


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
        missing = STATE_KEYS.get(optimizer_type, set()) - entries.keys()
        if missing:
            raise FileFormatError(f"the optimizer state of {name!r} lacks {min(missing)}, which {optimizer_type} needs")
