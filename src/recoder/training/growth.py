"""The same model for more items and users, or for fewer users."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from scipy import sparse
from torch import Tensor, nn

from recoder.errors import ConfigError
from recoder.nn.base import FactorizationModel, draw_parameters
from recoder.nn.matrix_factorization import MatrixFactorization

__all__ = ["USER_ROWS", "Newcomers", "copy_rows", "copy_without_users", "drawn_anew"]

NEIGHBOURS = 10
"""Known items that a new one starts as the mean of."""

USER_ROWS = "users.weight"
_ENTRIES_AT_ONCE = 1 << 23  # 96 MiB, if all are alike


def drawn_anew(model: FactorizationModel, *, num_items: int, num_users: int, seed: int) -> FactorizationModel:
    """Returns a model with the same hyper-parameters for so many items and users, its parameters drawn, on the CPU.

    It shares no module and no tensor with ``model``. Tensors that its ``init_model`` does not make, such as those of a
    layer that the constructor made, have the values that they have there.
    """
    copies: dict[int, Any] = {}
    made: FactorizationModel = _copied(model, copies)  # with what the constructor alone knows, such as sparse gradients
    for module in list(made.modules()):
        vars(module).update({name: _with_copies(value, copies) for name, value in vars(module).items()})
    params = model.model_params()
    if model.is_solved:
        params.pop("solved", None)
    made.load_model_params(params)
    draw_parameters(made, num_items=num_items, num_users=num_users, seed=seed)
    originals = {id(copies[id(tensor)]): tensor for tensor in _tensors(model)}
    with torch.no_grad():
        for tensor in _tensors(made):
            if id(tensor) in originals:
                tensor.copy_(originals[id(tensor)])
    return made


def _copied(module: nn.Module, copies: dict[int, Any]) -> Any:
    """Returns a copy of a module and those within it, with empty tensors: few of them will be filled.

    Args:
        module: not changed.
        copies: of what was copied already, by its id; this module and its tensors are added.
    """
    if id(module) in copies:
        return copies[id(module)]
    # not by copy.copy: some layers do not let themselves be copied, those with parametrizations among them
    made = copies[id(module)] = type(module).__new__(type(module))
    vars(made).update(vars(module))
    # the registers of a module are dicts and sets that change in place
    registers = {name: copy.copy(value) for name, value in vars(module).items() if isinstance(value, dict | set | list)}
    vars(made).update(registers)
    for register in (made._parameters, made._buffers):
        for name, tensor in register.items():
            if tensor is not None and id(tensor) not in copies:
                empty = torch.empty_like(tensor, device="cpu", requires_grad=False)
                is_parameter = isinstance(tensor, nn.Parameter)
                copies[id(tensor)] = nn.Parameter(empty, tensor.requires_grad) if is_parameter else empty
            register[name] = None if tensor is None else copies[id(tensor)]
    for name, child in made._modules.items():
        made._modules[name] = None if child is None else _copied(child, copies)
    return made


def _with_copies(value: Any, copies: Mapping[int, Any]) -> Any:
    """Returns an attribute with the copies in the place of what was copied, also within a list or dict of its own."""
    if id(value) in copies:
        return copies[id(value)]
    if type(value) in (list, tuple) and any(id(each) in copies for each in value):
        return type(value)(copies.get(id(each), each) for each in value)
    if isinstance(value, dict) and any(id(each) in copies for each in value.values()):
        return {key: copies.get(id(each), each) for key, each in value.items()}
    return value


def _tensors(model: nn.Module) -> Iterator[Tensor]:
    return itertools.chain(model.parameters(), model.buffers())


@dataclass(frozen=True, eq=False)
class Newcomers:
    """New items or users as means of known ones, the nearest by the cosine.

    Attributes:
        rows: CSR, the interactions of each, new ones last.
        num_known: how many are known.
    """

    rows: sparse.csr_matrix
    num_known: int

    @property
    def sizes(self) -> tuple[int, int]:
        """Rows that there are, and with the new ones."""
        return self.num_known, self.rows.shape[0]

    @cached_property
    def shares(self) -> sparse.csr_matrix:
        """CSR ``[M, num_known]``: of the mean of each new row; rows sum to 1, or to 0 where nobody is near."""
        rows = self.rows
        lengths = np.sqrt(np.asarray(rows.multiply(rows).sum(axis=1), dtype=np.float64)).ravel()
        units = sparse.diags(1 / np.maximum(lengths, np.finfo(np.float64).tiny)) @ rows
        known = units[: self.num_known].T.tocsr()
        step = max(1, _ENTRIES_AT_ONCE // max(1, self.num_known))
        blocks = [
            _largest_of_rows((units[start : start + step] @ known).sorted_indices(), NEIGHBOURS)
            for start in range(self.num_known, rows.shape[0], step)
        ]
        empty = sparse.csr_matrix((0, self.num_known))
        return sparse.csr_matrix(sparse.vstack([empty, *blocks]))

    def of(self, table: Tensor) -> tuple[Tensor, Tensor]:
        """Returns rows for those that have known ones near, and which these are among the new."""
        is_placed = np.diff(self.shares.indptr) > 0
        means = self.shares[is_placed] @ table.detach().cpu().double().flatten(1).numpy()
        shape = (-1, *table.shape[1:])
        return torch.from_numpy(means).to(table).view(shape), torch.from_numpy(np.flatnonzero(is_placed))


def _largest_of_rows(matrix: sparse.csr_matrix, count: int) -> sparse.csr_matrix:
    """Returns the largest entries of each row, so many at most, as shares of their sum."""
    kept_rows, kept_cols, kept = [], [], []
    for row, (start, stop) in enumerate(itertools.pairwise(matrix.indptr)):
        data = matrix.data[start:stop]
        best = np.argsort(-data, kind="stable")[:count]
        kept_rows.append(np.full(len(best), row))
        kept_cols.append(matrix.indices[start:stop][best])
        kept.append(data[best] / data[best].sum() if len(best) else data[best])
    places = (np.concatenate(kept_rows), np.concatenate(kept_cols))
    return sparse.csr_matrix((np.concatenate(kept), places), shape=matrix.shape)


@torch.no_grad()
def copy_rows(known: FactorizationModel, larger: FactorizationModel, *newcomers: Newcomers) -> None:
    """Copies parameters and buffers: whole, or where there are more rows now into the first of them.

    New rows of tables become means of known ones as ``newcomers`` say, biases (of one dimension) stay as they are.

    Args:
        known: copied from.
        larger: copied to.
        newcomers: the new items, then the new users; without those that there are none of.

    Raises:
        ConfigError: if one has another shape otherwise.
    """
    _freeze_alike(known, larger)
    targets = larger.state_dict()
    sizes = [new.sizes for new in newcomers]
    of_users = _rows_of_users(larger, sizes[0][1]) if len(set(sizes)) < len(sizes) else set()
    for name, tensor in known.state_dict().items():
        target = targets.get(name)
        if target is None or target.shape[1:] != tensor.shape[1:] or len(target.shape) != len(tensor.shape):
            raise ConfigError(
                f"{type(known).__name__} cannot take in new items or users: its {name} of shape {tuple(tensor.shape)} "
                "grows otherwise than by rows; train a new model"
            )
        if tensor.dim() == 0 or target.shape == tensor.shape:
            target.copy_(tensor)
        else:
            target[: len(tensor)] = tensor
            fitting = [new for new in newcomers if new.sizes == (len(tensor), len(target))]
            if fitting and tensor.dim() > 1:
                means, places = fitting[-1 if name in of_users else 0].of(tensor)
                target[len(tensor) + places.to(target.device)] = means


def _rows_of_users(model: FactorizationModel, size: int) -> set[str]:
    """Returns what has a row for each user, by name, in a model of as many users as items: what one more user changes.

    Args:
        model: not changed.
        size: how many they are.
    """
    one_more = drawn_anew(model, num_items=size, num_users=size + 1, seed=0)
    before = model.state_dict()
    return {name for name, tensor in one_more.state_dict().items() if tensor.shape != before[name].shape}


@torch.no_grad()
def copy_without_users(known: FactorizationModel, smaller: FactorizationModel, rows: npt.NDArray[np.int64]) -> None:
    """Copies parameters and buffers, but the rows of these users.

    Raises:
        ConfigError: if the model looks users up otherwise than a ``MatrixFactorization``.
    """
    if not known.folds_in_users and not isinstance(known, MatrixFactorization):
        raise ConfigError(
            f"which parameters of a {type(known).__name__} are those of a user is not known; train it anew"
        )
    _freeze_alike(known, smaller)
    targets = smaller.state_dict()
    for name, tensor in known.state_dict().items():
        is_of_users = isinstance(known, MatrixFactorization) and name == USER_ROWS
        targets[name].copy_(_without(tensor, rows) if is_of_users else tensor)


def _freeze_alike(known: FactorizationModel, other: FactorizationModel) -> None:
    """Lets the same parameters be trained."""
    parameters = dict(other.named_parameters())
    for name, parameter in known.named_parameters():
        if name in parameters:
            parameters[name].requires_grad_(parameter.requires_grad)


def _without(table_UD: Tensor, rows: npt.NDArray[np.int64]) -> Tensor:
    is_kept_U = torch.ones(len(table_UD), dtype=torch.bool)
    is_kept_U[torch.from_numpy(rows)] = False
    return table_UD[is_kept_U.to(table_UD.device)]
