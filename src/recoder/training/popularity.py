"""Item biases that say, before the first step, how popular each item is.

Sizes: U users, N items.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from scipy import sparse
from torch import nn

from recoder.data.datasets import RecommendationDataset
from recoder.data.mapped import item_sums
from recoder.errors import ConfigError
from recoder.losses import LogisticLoss, MSELoss, MultinomialNLLLoss, check_targets
from recoder.nn.base import FactorizationModel
from recoder.recommender.scoring import evaluation_mode

__all__ = ["popularity_biases", "set_popularity_biases"]


def popularity_biases(loss: nn.Module, target: sparse.csr_matrix) -> npt.NDArray[np.float64]:
    """Returns the biases with which a loss is least if scores are nothing else: ``[N]``.

    The log-odds for the logistic loss, the logarithm of the item's share for the multinomial, and the weighted mean for
    the squared error. An item counts half an interaction more than it has where the logarithm would not exist.

    Args:
        loss: which.
        target: what is to be predicted, ``[U, N]``.

    Raises:
        ConfigError: for another loss.
    """
    sums_N = item_sums(target)
    num_users = target.shape[0]
    if isinstance(loss, MultinomialNLLLoss):
        shares_N = sums_N + 0.5
        biases_N: npt.NDArray[np.float64] = np.log(shares_N / shares_N.sum())
    elif isinstance(loss, LogisticLoss):
        biases_N = np.log((sums_N + 0.5) / (num_users - sums_N + 0.5))
    elif isinstance(loss, MSELoss):
        biases_N = (sums_N + loss.confidence * item_sums(target, power=2)) / (num_users + loss.confidence * sums_N)
    else:
        raise ConfigError(
            f"popularity_bias does not know what biases suit {type(loss).__name__}; "
            "use loss 'mse', or 'logistic' or 'logloss' without loss_params, or popularity_bias=False"
        )
    return biases_N


@torch.no_grad()
def set_popularity_biases(model: FactorizationModel, loss: nn.Module, dataset: RecommendationDataset) -> None:
    """Sets the item biases of a model that was just made; see ``popularity_biases``.

    Raises:
        ConfigError: if the model has no such parameter, or for a loss that is not the library's.
        DataError: if the loss is not defined for these interactions.
    """
    with evaluation_mode(model):  # asking is no step
        bias_N = model.item_factors()[1] if model.is_factorized else None
    if not isinstance(bias_N, nn.Parameter):
        raise ConfigError(
            f"popularity_bias is True, but {type(model).__name__} has no item biases of its own: its item_factors "
            "gives no parameter for them; pass popularity_bias=False"
        )
    target = dataset.target_interactions_matrix
    target = dataset.interactions_matrix if target is None else target
    check_targets(loss, target.data, "train_dataset")
    biases_N, here = torch.from_numpy(popularity_biases(loss, target)), model.parts.items
    bias_N.copy_(biases_N if here is None else biases_N[here.cpu()])
