"""The loss of a model on a batch, and its gradients: one training step but for the optimizer, or validation.

Sizes: B users in the batch, I target items, D factors.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from recoder.data.batches import Batch
from recoder.errors import ConfigError
from recoder.losses import dense_form, fused_form
from recoder.nn.base import FactorizationModel, check_factors, checked_scores, dot_scores
from recoder.nn.tables import tables_with_row_gradients
from recoder.ops.fused import fused_loss
from recoder.ops.gather import add_table_gradient
from recoder.ops.gram import gram_is_cheaper, gram_squared_error
from recoder.ops.item_blocks import Gradients, ItemRows
from recoder.ops.rows import SparseRows
from recoder.ops.score_losses import SquaredError
from recoder.ops.workspace import Workspace

__all__ = ["BatchLoss"]


class BatchLoss:
    """Computes the loss of a model on a batch.

    For a factorized model with one of the library's own losses, from sparse interactions and a block of items at a
    time; for others, from dense tensors of users by items. Where processes have some of the items each
    (``model.parts``), the loss is this process's part of the sum over them all; gradients are those of the whole.

    Args:
        model: the model.
        loss: a loss module with a sum reduction.
        dtype: of the inputs of matrix products; None: as they come.
        lowered_by: ``[N]``, to subtract from the items' scores in training; None: nothing.
    """

    def __init__(
        self,
        model: FactorizationModel,
        loss: nn.Module,
        dtype: torch.dtype | None = None,
        *,
        lowered_by: Tensor | None = None,
    ) -> None:
        self._model = model
        self._dtype = dtype
        self._lowered_by = lowered_by
        self._lowered_biases: Tensor | None = None
        self._ranks = model.parts.ranks
        self._space = Workspace()
        self._fused = fused_form(loss) if model.is_factorized else None
        self._compare = dense_form(loss)
        self._tables = _item_tables(model) if self._fused is not None else None
        self._dense_gradients = self._tables is not None and self._tables.weight not in tables_with_row_gradients(model)

    def prepared(self, pair: tuple[Batch, Batch | None]) -> tuple[Batch, Batch | None]:
        """Returns the batches, once what is derived from them alone is: it needs no device, and can be done ahead."""
        if self._fused is not None:
            for batch in pair:
                if batch is not None:
                    batch.rows.prepare()
        return pair

    @torch.no_grad()
    def value(self, interactions: Batch, target: Batch | None) -> Tensor:
        """Returns the loss of predicting ``target`` (None: the interactions), summed over users and items: a scalar."""
        target = interactions if target is None else target
        if self._model.brings_loss:
            return self._own_loss(interactions, target) * len(interactions)
        if self._fused is None:
            return self._compare(self._scores(interactions, target), target.rows)
        factors_BD, items = self._factors_and_items(interactions, target)
        return self._loss_of_factors(factors_BD, items, target.rows, scale=None)[0]

    def backward(self, interactions: Batch, target: Batch | None) -> Tensor:
        """Returns the mean loss per user plus the model's penalty, and adds their gradients to the parameters'.

        Of users that are part of a batch, it is what they add to the mean over the whole batch.
        """
        target = interactions if target is None else target
        per_user = interactions.weight / interactions.num_users_of_all
        share = len(interactions) * interactions.weight / interactions.num_users_of_all
        if self._model.brings_loss:
            whole = _with_penalty(self._own_loss(interactions, target), self._penalty())
            if share != 1:
                whole = whole * share
            whole.backward()  # type: ignore[no-untyped-call]  # unannotated in torch 2.13
            return whole.detach()
        if self._fused is None:
            scores_BI = self._scores(interactions, target)
            if self._lowered_by is not None:
                scores_BI = scores_BI - _rows(self._lowered_by, target.items)
            mean = self._compare(scores_BI, target.rows) * per_user
            whole = _with_penalty(mean, self._penalty(), share)
            whole.backward()  # type: ignore[no-untyped-call]  # unannotated in torch 2.13
            return whole.detach()
        if self._tables is not None and any(_has_gradient(t) for t in (self._tables.weight, self._tables.bias)):
            self._space = Workspace()  # the gradient that is there may lie in the old one
        factors_BD, items = self._factors_and_items(interactions, target)
        items = self._lowered(items, target)
        penalty = self._penalty()
        summed, gradients = self._loss_of_factors(factors_BD, items, target.rows, scale=per_user)
        assert gradients is not None  # there is a scale
        known = [(factors_BD, gradients.factors)]
        if self._tables is None and gradients.weight is not None:
            known.append((items.weight, gradients.weight))
            if items.bias is not None and gradients.bias is not None:
                known.append((items.bias, gradients.bias))
        tensors, of_tensors = zip(*known, strict=True)
        loss: Tensor = _Known.apply(summed * per_user, of_tensors, *tensors)  # type: ignore[no-untyped-call]  # in torch 2.13
        whole = _with_penalty(loss, penalty, share)
        if whole.requires_grad:
            whole.backward()  # type: ignore[no-untyped-call]  # unannotated in torch 2.13
        if self._tables is not None:
            self._add_to_tables(self._tables, target.items, gradients)
        # a penalty is of what all processes have: one of them counts it
        return (whole if self._ranks.is_first else loss).detach()

    def _trains_items(self) -> bool:
        tables = self._tables
        return tables is None or any(t is not None and t.requires_grad for t in (tables.weight, tables.bias))

    def _own_loss(self, interactions: Batch, target: Batch) -> Tensor:
        with self._autocast(interactions):
            loss = self._model.batch_loss(
                interactions.rows, interactions.users, interactions.items, target.rows, target.items
            )
        return self._in_float32(self._one_number("batch_loss", loss))

    def _penalty(self) -> Tensor | None:
        penalty = self._model.penalty()
        return None if penalty is None else self._one_number("penalty", penalty)

    def _one_number(self, method: str, value: Tensor) -> Tensor:
        shape = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
        if shape != ():
            raise ConfigError(
                f"{type(self._model).__name__}.{method} returned {shape}; it must return one number, a tensor without "
                "dimensions, as sum() and mean() give it"
            )
        return value

    def _loss_of_factors(
        self, factors_BD: Tensor, items: ItemRows, target: SparseRows, *, scale: float | None
    ) -> tuple[Tensor, Gradients | None]:
        loss = self._fused
        assert loss is not None  # the caller has looked
        if isinstance(loss, SquaredError) and gram_is_cheaper(*factors_BD.shape):
            return gram_squared_error(
                loss,
                factors_BD,
                items,
                target,
                scale=scale,
                dense=self._dense_gradients,
                space=self._space,
                ranks=self._ranks,
            )
        return fused_loss(
            loss,
            factors_BD,
            items,
            target,
            scale=scale,
            dtype=self._dtype,
            dense=self._dense_gradients,
            of_items=self._trains_items(),
            space=self._space,
            ranks=self._ranks,
        )

    def _factors_and_items(self, interactions: Batch, target: Batch) -> tuple[Tensor, ItemRows]:
        model = self._model
        with self._autocast(interactions):
            factors_BD = model.user_factors(interactions.rows, interactions.users, interactions.items)
            if self._tables is None:
                weight, bias = model.item_factors(target.items)
                items = ItemRows(self._in_float32(weight), None if bias is None else self._in_float32(bias), None)
            else:
                items = ItemRows(self._tables.weight, self._tables.bias, target.items)
        num_items = None if self._tables is not None or target.items is None else len(target.items)
        check_factors(model, factors_BD, items.weight, items.bias, num_users=len(target), num_items=num_items)
        return factors_BD.to(items.weight.dtype), items

    def _lowered(self, items: ItemRows, target: Batch) -> ItemRows:
        """Returns the items with biases from which ``lowered_by`` is subtracted."""
        if self._lowered_by is None:
            return items
        if self._tables is None or target.items is None:
            lowered_by = _rows(self._lowered_by, target.items)
            return ItemRows(items.weight, -lowered_by if items.bias is None else items.bias - lowered_by, items.ids)
        # of a table only the rows of the step: it costs no more whatever the catalogue
        ids = target.items
        rows = -self._lowered_by[ids] if items.bias is None else items.bias.detach()[ids] - self._lowered_by[ids]
        if self._lowered_biases is None:
            self._lowered_biases = rows.new_zeros(len(self._lowered_by))
        self._lowered_biases[ids] = rows
        return ItemRows(items.weight, self._lowered_biases, items.ids)

    def _add_to_tables(self, tables: ItemRows, ids: Tensor | None, gradients: Gradients) -> None:
        for table, rows in ((tables.weight, gradients.weight), (tables.bias, gradients.bias)):
            if table is not None and rows is not None and table.requires_grad:
                add_table_gradient(table, None if self._dense_gradients else ids, rows)

    def _scores(self, interactions: Batch, target: Batch) -> Tensor:
        model = self._model
        with self._autocast(interactions):
            if model.is_factorized:
                factors_BD = model.user_factors(interactions.rows, interactions.users, interactions.items)
                weight, bias = model.item_factors(target.items)
                num_items = None if target.items is None else len(target.items)
                check_factors(model, factors_BD, weight, bias, num_users=len(target), num_items=num_items)
                return self._in_float32(dot_scores(factors_BD, weight, bias))
            scores_BI = model(
                interactions.rows.to_dense(),
                input_users=interactions.users,
                input_items=interactions.items,
                target_users=target.users,
                target_items=target.items,
            )
        return self._in_float32(checked_scores(model, scores_BI, target.size[0], target.size[1]))

    def _in_float32(self, computed: Tensor) -> Tensor:
        """Returns what a model computed, in float32 where products were rounded."""
        return computed if self._dtype is None else computed.float()

    def _autocast(self, interactions: Batch) -> torch.autocast:
        return torch.autocast(interactions.users.device.type, dtype=self._dtype, enabled=self._dtype is not None)


class _Known(torch.autograd.Function):
    """A number whose gradients in some tensors are known; it may only be added to.

    ``torch.autograd.backward`` would take the gradients too, but imports torch's symbolic shapes, which costs 34 MiB.
    """

    @staticmethod
    def forward(ctx: Any, value: Tensor, gradients: Sequence[Tensor], *tensors: Tensor) -> Tensor:
        ctx.gradients = gradients
        return value.clone()

    @staticmethod
    def backward(ctx: Any, *ones: Tensor) -> tuple[Tensor | None, ...]:
        return None, None, *ctx.gradients


def _item_tables(model: FactorizationModel) -> ItemRows | None:
    """Returns the model's item factors and biases if these are its parameters themselves, which need not be computed.

    Rows of parameters can be read, and their gradients written, a block at a time; unless somebody is to know of it.
    """
    # asking is no step: statistics, which layers keep in training, are not to count it
    kept = [(buffer, buffer.clone()) for buffer in model.buffers()] if model.training else []
    with torch.no_grad():
        weight, bias = model.item_factors()
        for buffer, before in kept:
            buffer.copy_(before)
    are_plain = _is_plain(model, weight) and (bias is None or _is_plain(model, bias))
    return ItemRows(weight, bias, None) if are_plain else None


def _is_plain(model: nn.Module, table: Tensor) -> bool:
    """Whether a tensor is a parameter whose rows can be used without the layer that they are of."""
    if not isinstance(table, nn.Parameter) or table._backward_hooks or table._post_accumulate_grad_hooks:
        return False
    layers = (layer for layer in model.modules() if isinstance(layer, nn.Embedding | nn.EmbeddingBag))
    return not any(
        layer.weight is table and (layer.max_norm is not None or layer.padding_idx is not None) for layer in layers
    )


def _rows(numbers: Tensor, ids: Tensor | None) -> Tensor:
    return numbers if ids is None else numbers[ids]


def _has_gradient(table: Tensor | None) -> bool:
    return table is not None and table.grad is not None


def _with_penalty(mean: Tensor, penalty: Tensor | None, share: float = 1.0) -> Tensor:
    if penalty is None:
        return mean
    return mean + (penalty if share == 1 else penalty * share)
