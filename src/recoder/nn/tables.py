"""Tables of factors: one row per user or item.

Sizes: N rows of a table, D factors, I rows that are asked for.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from recoder._random import derive_seed
from recoder.ops.gather import gather_rows
from recoder.ops.large import empty_table

__all__ = ["FactorTable", "factor_tables", "row_gradients", "rows_of_tables", "tables_with_row_gradients"]

BLOCK_ROWS = 4096


class FactorTable(nn.Module):
    """A table of factors, and of biases where asked for.

    Weights are drawn uniformly with Glorot & Bengio's bound (2010, AISTATS, equation 16) for the whole table, biases
    are zero. Blocks of 4,096 rows are each drawn from a generator of their own, so any part of a table can be made
    without the rest.

    Args:
        num_rows: N, of the whole table.
        num_factors: D.
        name: names the stream of random numbers; different for each table of a model.
        seed: of the draw.
        bias: whether rows have a bias.
        sparse: train only the rows that were asked for: gradients are sparse tensors that hold these.
        part: int64, ascending: the rows to make, where others have the rest; what is asked for is then counted among
            these. None: all.

    Attributes:
        part: as given.
        row_gradients: whether gradients are such tensors now; an optimizer may want that of any table.
    """

    bias: nn.Parameter | None

    def __init__(
        self,
        num_rows: int,
        num_factors: int,
        *,
        name: str,
        seed: int,
        bias: bool = False,
        sparse: bool = False,
        part: Tensor | None = None,
    ) -> None:
        super().__init__()
        self.sparse = sparse
        self.part = part
        self.row_gradients = sparse
        num_here = num_rows if part is None else len(part)
        self.weight = nn.Parameter(empty_table(num_here, num_factors))
        self.register_parameter("bias", nn.Parameter(torch.zeros(num_here)) if bias else None)
        _fill_xavier_uniform(self.weight.data, name, seed, num_rows, part)

    def __getstate__(self) -> dict[str, Any]:
        # a copy that is made while the original is trained is not trained by that
        return {**self.__dict__, "row_gradients": self.sparse}

    def rows(self, ids: Tensor | None = None) -> Tensor:
        """Returns the rows of ``ids`` (int64 ``[I]``), ``[I, D]``; the whole table for None."""
        if ids is None:
            return self.weight
        return gather_rows(self.weight, ids, sparse=self.row_gradients)

    def biases(self, ids: Tensor | None = None) -> Tensor | None:
        """Returns the biases of ``ids`` (int64 ``[I]``), ``[I]``; all for None; None where the table has none."""
        if self.bias is None or ids is None:
            return self.bias
        return gather_rows(self.bias, ids, sparse=self.row_gradients)

    def extra_repr(self) -> str:
        """Returns what ``repr`` shows."""
        rows, factors = self.weight.shape
        return f"{rows}, {factors}, bias={self.bias is not None}, sparse={self.sparse}"


def tables_with_row_gradients(model: nn.Module) -> set[nn.Parameter]:
    """Returns the parameters of modules whose gradients are by rows: of torch's embedding layers, and of our tables."""
    return {
        parameter
        for module in model.modules()
        if (isinstance(module, FactorTable) and module.row_gradients)
        or (isinstance(module, nn.Embedding | nn.EmbeddingBag) and module.sparse)
        for parameter in module.parameters(recurse=False)
    }


def rows_of_tables(model: nn.Module) -> dict[nn.Parameter, Tensor | None]:
    """Returns the parameters of our tables and of torch's embedding layers, each with the rows that it has.

    Those are int64, ascending; None: all of them.
    """
    return {
        parameter: module.part if isinstance(module, FactorTable) else None
        for module in model.modules()
        if isinstance(module, FactorTable | nn.Embedding | nn.EmbeddingBag)
        for parameter in module.parameters(recurse=False)
    }


def factor_tables(model: nn.Module) -> list[FactorTable]:
    """Returns the tables of a model."""
    return [module for module in model.modules() if isinstance(module, FactorTable)]


@contextlib.contextmanager
def row_gradients(tables: Iterable[FactorTable]) -> Iterator[None]:
    """Lets some tables give their gradients by rows for a while."""
    before = [(table, table.row_gradients) for table in tables]
    for table, _ in before:
        table.row_gradients = True
    try:
        yield
    finally:
        for table, was in before:
            table.row_gradients = was


def _fill_xavier_uniform(weight_nD: Tensor, name: str, seed: int, num_rows: int, part: Tensor | None) -> None:
    num_factors = weight_nD.shape[1]
    part = None if part is None else part.cpu()  # tables are made there, whatever device they are for
    bound = math.sqrt(6 / (num_rows + num_factors))
    generator = torch.Generator()
    for block, start in enumerate(range(0, num_rows, BLOCK_ROWS)):
        stop = min(start + BLOCK_ROWS, num_rows)
        generator.manual_seed(derive_seed(seed, name, block))
        if part is None:
            weight_nD[start:stop].uniform_(-bound, bound, generator=generator)
            continue
        first, last = torch.searchsorted(part, part.new_tensor([start, stop])).tolist()
        if first < last:
            whole_block = weight_nD.new_empty(stop - start, num_factors).uniform_(-bound, bound, generator=generator)
            weight_nD[first:last] = whole_block[part[first:last] - start]
