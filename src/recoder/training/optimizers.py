"""Optimizers by name, for all parameters of a model."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from contextlib import AbstractContextManager

import torch
from torch import Tensor, nn

from recoder.errors import ConfigError, FileFormatError
from recoder.nn.tables import FactorTable, factor_tables, row_gradients, rows_of_tables, tables_with_row_gradients
from recoder.ops.collectives import ALONE, Ranks
from recoder.ops.kernels import serve
from recoder.ops.rounding import Rounding
from recoder.training.clipping import clipped
from recoder.training.updates import STATE_KEYS, UPDATES, State, StepOptions

__all__ = ["OPTIMIZER_TYPES", "STATE_PRECISIONS", "ModelOptimizer", "OptimizerState"]

OPTIMIZER_TYPES = tuple(UPDATES)
"""Those that take steps along gradients."""

_ALL_TYPES = (*OPTIMIZER_TYPES, "als")
_BY_ROWS = ("adam", "rowwise_adagrad")
"""Those that update the rows alone that a sparse gradient holds."""

STATE_PRECISIONS = ("fp32", "bf16")

OptimizerState = dict[str, dict[str, Tensor]]


class ModelOptimizer:
    """The optimizer of all parameters of a model.

    Parameters with sparse gradients are updated by rows. ``weight_decay`` is L2 regularisation added to the gradient;
    biases (parameters whose name ends in ``bias``) have none.

    Args:
        model: the model.
        optimizer_type: ``'sgd'``, ``'adam'``, ``'adagrad'``, ``'rmsprop'`` or ``'rowwise_adagrad'``; sgd and rmsprop
            with momentum 0.9.
        weight_decay: at least 0.
        max_norm: gradients with a larger global norm are scaled down to it, weight decay not counted. None: they stay.
        ranks: processes with other rows of the model's tables each.
        state_precision: ``'bf16'``: the moments of tables, biases of their rows among them, are kept in bfloat16, for
            adam alone.
        seed: of their rounding.

    Raises:
        ConfigError: for an unknown type, a model without parameters, or sparse gradients with another type than adam
            and row-wise Adagrad.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer_type: str,
        weight_decay: float,
        max_norm: float | None = None,
        *,
        ranks: Ranks = ALONE,
        state_precision: str = "fp32",
        seed: int = 0,
    ) -> None:
        check_optimizer(optimizer_type, state_precision)
        self._type = optimizer_type
        self._update = UPDATES[optimizer_type]
        self._weight_decay = weight_decay
        self._max_norm = max_norm
        self._ranks = ranks
        self._names = {parameter: name for name, parameter in model.named_parameters() if parameter.requires_grad}
        self._states: dict[nn.Parameter, State] = {}
        self._frozen = {name: parameter for name, parameter in model.named_parameters() if not parameter.requires_grad}
        self._kept: OptimizerState = {}
        if not self._names:
            raise ConfigError(f"{type(model).__name__} has no parameters to train; create them in init_model")
        self._check_sparse(tables_with_row_gradients(model) & self._names.keys())
        # every row of theirs is updated, but without a dense gradient
        self._tables = [table for table in factor_tables(model) if not table.sparse and self._reads_rows(table)]
        self._cut = {parameter for table in factor_tables(model) for parameter in table.parameters(recurse=False)}
        self._every_row = {parameter for table in self._tables for parameter in table.parameters(recurse=False)}
        rows_of = rows_of_tables(model)
        self._rows = {parameter: rows for parameter, rows in rows_of.items() if parameter in self._names}
        self._roundings: dict[nn.Parameter, Rounding] = {}
        if state_precision == "bf16":
            self._roundings = {table: Rounding(seed, self._names[table], rows) for table, rows in self._rows.items()}
        names = {parameter: name for name, parameter in model.named_parameters()}
        self._rounded = {names[table] for table in rows_of} if state_precision == "bf16" else set()

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
            ConfigError: for sparse gradients with a type that does not update by rows; nothing is updated.
        """
        gradients = self.gradients()
        self._check_sparse(parameter for parameter, gradient in gradients.items() if gradient.is_sparse)
        if self._max_norm is not None and gradients:
            gradients = dict(zip(gradients, self._clipped(gradients, self._max_norm), strict=True))
        for parameter, gradient in gradients.items():
            options = StepOptions(
                lr,
                weight_decay=0.0 if self._names[parameter].endswith("bias") else self._weight_decay,
                every_row=parameter in self._every_row,
                is_table=parameter in self._rows,
                rounding=self._roundings.get(parameter),
            )
            whole = parameter.contiguous()  # torch 2.13 reads and writes it as if it were
            state = self._states.get(parameter, {})
            self._update(whole, gradient, state, options)
            self._states[parameter] = state  # only now: where there is no memory for it, there is no part of it
            if whole is not parameter:
                parameter.copy_(whole)

    def gradients(self) -> dict[nn.Parameter, Tensor]:
        """Returns the gradients that there are."""
        return {parameter: parameter.grad for parameter in self._names if parameter.grad is not None}

    def state(self) -> OptimizerState:
        """Returns the state by parameter name, that of frozen ones as it was loaded; its tensors are not copies."""
        return self._kept | {
            self._names[parameter]: {key: _as_tensor(value) for key, value in state.items()}
            for parameter, state in self._states.items()
        }

    def load(self, state: Mapping[str, Mapping[str, Tensor]]) -> None:
        """Takes over a state, its tensors included; parameters that it does not name start afresh.

        Raises:
            FileFormatError: as ``check_optimizer_state``.
        """
        parameters = {name: parameter for parameter, name in self._names.items()} | self._frozen
        check_optimizer_state(state, parameters, self._type, rounded=self._rounded)
        self._kept = {name: dict(entries) for name, entries in state.items() if name in self._frozen}
        for name, entries in state.items():
            parameter = parameters[name]
            if name in self._frozen:
                continue
            self._states[parameter] = {
                key: int(value) if key == "step" else value.to(parameter.device) for key, value in entries.items()
            }

    def _clipped(self, gradients: Mapping[nn.Parameter, Tensor], max_norm: float) -> list[Tensor]:
        are_cut = [parameter in self._cut for parameter in gradients]
        return clipped(list(gradients.values()), max_norm, are_cut=are_cut, ranks=self._ranks)

    def _reads_rows(self, table: FactorTable) -> bool:
        return self._type in _BY_ROWS and serve(*(parameter.detach() for parameter in table.parameters(recurse=False)))

    def _check_sparse(self, parameters: Iterable[nn.Parameter]) -> None:
        names = sorted(self._names[parameter] for parameter in parameters)
        if names and self._type not in _BY_ROWS:
            raise ConfigError(
                f"{names[0]} has sparse gradients, which optimizer_type {self._type!r} does not support; "
                "use optimizer_type='adam' or 'rowwise_adagrad', or build the model with sparse=False"
            )


def _as_tensor(value: Tensor | int) -> Tensor:
    return torch.tensor(float(value), dtype=torch.float32) if isinstance(value, int) else value


def check_optimizer(optimizer_type: str, state_precision: str = "fp32") -> None:
    """Checks the name of an optimizer, and how it is to keep its state.

    Raises:
        ConfigError: if one is unknown, or the two do not go together.
    """
    if optimizer_type not in _ALL_TYPES:
        raise ConfigError(f"unknown optimizer_type {optimizer_type!r}; choose one of {', '.join(_ALL_TYPES)}")
    if state_precision not in STATE_PRECISIONS:
        raise ConfigError(f"unknown optimizer_state {state_precision!r}; choose one of {', '.join(STATE_PRECISIONS)}")
    if state_precision != "fp32" and optimizer_type != "adam":
        raise ConfigError(
            f"optimizer_state={state_precision!r} is for the moments of optimizer_type 'adam', not for "
            f"{optimizer_type!r}; leave one of them out"
        )


def check_optimizer_state(
    state: Mapping[str, Mapping[str, Tensor]],
    parameters: Mapping[str, Tensor],
    optimizer_type: str,
    *,
    rounded: Collection[str] = (),
) -> None:
    """Checks that a state is one of this optimizer for these parameters, by name.

    Args:
        state: by parameter and key.
        parameters: by name.
        optimizer_type: whose state it is to be.
        rounded: names of parameters whose moments are bfloat16.

    Raises:
        FileFormatError: if it names a parameter that is not there, lacks a part of one's state, or shapes differ.
    """
    for name, entries in state.items():
        if name not in parameters:
            raise FileFormatError(f"the optimizer state is of a parameter {name!r} that the model does not have")
        parameter = parameters[name]
        for key, value in entries.items():
            if value.shape not in _shapes(parameter, key, optimizer_type):
                raise FileFormatError(
                    f"the optimizer state {key} of {name!r} has shape {tuple(value.shape)}, "
                    f"the parameter {tuple(parameter.shape)}"
                )
            dtype = torch.bfloat16 if name in rounded else parameter.dtype
            dtype = torch.float32 if key == "step" else dtype
            if value.dtype != dtype:
                raise FileFormatError(f"the optimizer state {key} of {name!r} holds {value.dtype}, not {dtype}")
        missing = STATE_KEYS.get(optimizer_type, set()) - entries.keys()
        if missing:
            raise FileFormatError(f"the optimizer state of {name!r} lacks {min(missing)}, which {optimizer_type} needs")


def _shapes(parameter: Tensor, key: str, optimizer_type: str) -> tuple[torch.Size, ...]:
    """Returns those that a part of a parameter's state may have."""
    if key == "step":
        return (torch.Size(),)
    return (parameter.shape, parameter.shape[:1]) if optimizer_type == "rowwise_adagrad" else (parameter.shape,)
