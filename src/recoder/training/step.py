"""The loss of one training step, and of validation: the same function of a model and a batch.

Sizes: B users in the batch, I target items.
"""

from __future__ import annotations

from torch import Tensor, nn

from recoder.data.batches import Batch
from recoder.losses import dense_form, sparse_form
from recoder.nn.base import FactorizationModel, checked_scores, dot_scores

__all__ = ["BatchLoss"]


class BatchLoss:
    """Computes the loss of a model on a batch, summed over users and items.

    Args:
        model: the model; one that is factorized is never given a dense input.
        loss: a loss module with a sum reduction; the library's own are never given a dense target.
    """

    def __init__(self, model: FactorizationModel, loss: nn.Module) -> None:
        self._model = model
        self._compare = sparse_form(loss) or dense_form(loss)

    def __call__(self, interactions: Batch, target: Batch | None) -> Tensor:
        """Returns the summed loss of predicting ``target`` (None: the interactions themselves): a scalar."""
        target = interactions if target is None else target
        return self._compare(self._logits(interactions, target), target.rows)

    def _logits(self, interactions: Batch, target: Batch) -> Tensor:
        model = self._model
        if model.is_factorized:
            factors_BD = model.user_factors(interactions.rows, interactions.users, interactions.items)
            return dot_scores(factors_BD, *model.item_factors(target.items))
        logits_BI = model(
            interactions.rows.to_dense(),
            input_users=interactions.users,
            input_items=interactions.items,
            target_users=target.users,
            target_items=target.items,
        )
        return checked_scores(model, logits_BI, target.size[0], target.size[1])
