"""The losses that models are trained with.

A loss compares predictions with interactions. The classes here take dense tensors, as documented; factorized models
are trained with the same losses as ``recoder.ops`` computes them, from factors and sparse targets.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recoder._checks import non_negative
from recoder.errors import ConfigError, DataError
from recoder.ops.rows import SparseRows
from recoder.ops.score_losses import Logistic, Multinomial, ScoreLoss, SquaredError

__all__ = ["LogisticLoss", "MSELoss", "MultinomialNLLLoss"]

_PARAMS: dict[str, set[str]] = {"mse": {"confidence"}, "logistic": {"weight", "pos_weight"}}
"""Arguments of the losses with a name."""

_REDUCTIONS = ("none", "elementwise_mean", "mean", "sum")

SparseLoss = Callable[[Tensor, SparseRows], Tensor]


class MSELoss(nn.Module):
    r"""Squared error in which stored interactions weigh more.

    .. math:: \ell(x, y) = (1 + \text{confidence} \cdot y)\,(y - x)^2

    (Hu, Koren & Volinsky 2008, ICDM, equation 3.)

    Args:
        confidence: extra weight of an interaction of value 1; at least 0.
        reduction: ``'none'``: one value per entry; ``'elementwise_mean'`` (or ``'mean'``): their mean; ``'sum'``.

    Raises:
        ConfigError: for another reduction, or a confidence that is no finite number of at least 0.
    """

    def __init__(self, confidence: float = 0, reduction: str = "elementwise_mean") -> None:
        super().__init__()
        self.confidence = non_negative("confidence", confidence)
        self.reduction = _checked(reduction)

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Returns the loss of predictions ``[B, I]`` against interactions ``[B, I]``."""
        weights = 1 + self.confidence * target
        return _reduce(weights * (target - input).square(), self.reduction)


class LogisticLoss(nn.Module):
    r"""Binary cross-entropy of logits, as ``torch.nn.BCEWithLogitsLoss``; the targets must lie in [0, 1].

    .. math:: \ell(x, y) = -y \log \sigma(x) - (1 - y) \log(1 - \sigma(x))

    Args:
        reduction: ``'none'``, ``'elementwise_mean'`` (or ``'mean'``), or ``'sum'``.
    """

    def __init__(self, reduction: str = "elementwise_mean") -> None:
        super().__init__()
        self.reduction = _checked(reduction)

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Returns the loss of logits ``[B, I]`` against interactions ``[B, I]``."""
        return _reduce(F.binary_cross_entropy_with_logits(input, target, reduction="none"), self.reduction)


class MultinomialNLLLoss(nn.Module):
    r"""Negative log-likelihood of the interactions under a multinomial over each user's items.

    .. math:: \ell(x, y) = -y \log \operatorname{softmax}(x)

    (Liang et al. 2018, arXiv:1802.05814, equation 2.) The softmax runs over the last dimension.

    Args:
        reduction: ``'none'``: one value per entry; ``'elementwise_mean'`` (or ``'mean'``): their mean; ``'sum'``.
    """

    def __init__(self, reduction: str = "elementwise_mean") -> None:
        super().__init__()
        self.reduction = _checked(reduction)

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Returns the loss of logits ``[B, I]`` against interactions ``[B, I]``."""
        return _reduce(-target * F.log_softmax(input, dim=-1), self.reduction)


def make_loss(loss: str | nn.Module, loss_params: Mapping[str, Any] | None) -> nn.Module:
    """Returns the loss module with a sum reduction that a ``Recoder`` was asked for.

    Args:
        loss: ``'mse'``, ``'logistic'``, ``'logloss'``, or a module with a sum reduction.
        loss_params: keyword arguments of the loss: ``confidence`` of ``'mse'``; numbers for ``weight`` and
            ``pos_weight`` of ``'logistic'``, with which it is ``torch.nn.BCEWithLogitsLoss``, that of dense scores.
            Not read where ``loss`` is a module.

    Raises:
        ConfigError: for an unknown name or parameter, parameters that are no mapping, or a module whose reduction is
            not a sum.
    """
    if loss_params is not None and not isinstance(loss_params, Mapping):
        raise ConfigError(f"loss_params is {loss_params!r}; pass a dict of parameter names to values, or None")
    if isinstance(loss, nn.Module):
        reduction = getattr(loss, "reduction", "sum")  # a convention of torch's losses, not of every module
        if reduction != "sum":
            raise ConfigError(
                f"{type(loss).__name__} has reduction {reduction!r}; a loss must be a sum over entries: "
                "pass reduction='sum'"
            )
        return loss
    makers: dict[str, Callable[..., nn.Module]] = {
        "mse": MSELoss,
        "logistic": LogisticLoss,
        "logloss": MultinomialNLLLoss,
    }
    if not isinstance(loss, str) or loss not in makers:
        raise ConfigError(f"unknown loss {loss!r}; choose one of {', '.join(makers)}, or pass a torch.nn.Module")
    allowed = _PARAMS.get(loss, set())
    unknown = set(loss_params or {}) - allowed
    if unknown:
        raise ConfigError(
            f"loss {loss!r} has no parameter {sorted(unknown, key=str)[0]!r}; "
            f"it takes {', '.join(sorted(allowed)) or 'none'}: correct loss_params"
        )
    if loss == "logistic" and loss_params:
        numbers = {name: torch.tensor(non_negative(name, value)) for name, value in loss_params.items()}
        return nn.BCEWithLogitsLoss(**numbers, reduction="sum")
    return makers[loss](**(loss_params or {}), reduction="sum")


def fused_form(loss: nn.Module) -> ScoreLoss | Multinomial | None:
    """Returns what computes ``loss`` from factors and sparse targets, or None where only ``loss`` knows.

    A subclass may compute something else, so only the library's own classes themselves have such a form.
    """
    if type(loss) is MSELoss:
        return SquaredError(loss.confidence)
    if type(loss) is LogisticLoss:
        return Logistic()
    return Multinomial() if type(loss) is MultinomialNLLLoss else None


def dense_form(loss: nn.Module) -> SparseLoss:
    """Returns the function of (logits, sparse target) that hands ``loss`` a dense target as wide as the logits."""

    def compute(logits_BI: Tensor, target: SparseRows) -> Tensor:
        # data may be narrower than the catalogue: nobody has the items that are missing
        as_wide = SparseRows(target.offsets, target.cols, target.values, logits_BI.shape[1])
        value = loss(logits_BI, as_wide.to_dense().to(logits_BI.dtype))
        if not isinstance(value, Tensor) or value.dim() != 0:
            shape = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
            raise ConfigError(f"{type(loss).__name__} returned {shape}; a loss must return one number: a sum")
        return value

    return compute


def check_targets(loss: nn.Module, values: npt.NDArray[np.float32], name: str) -> None:
    """Checks once, before training, that the loss is defined for these interaction values of the data set ``name``.

    Raises:
        DataError: for the logistic loss, if a value is above 1 (none is negative).
    """
    if isinstance(loss, LogisticLoss | nn.BCEWithLogitsLoss | nn.BCELoss) and values.size and values.max() > 1:
        raise DataError(
            f"the logistic loss needs interactions in [0, 1], but the largest of {name} is {values.max():g}; set "
            "them to 1 (Interactions.binarize, or matrix.data[:] = 1), or keep them as weights with "
            "loss='mse' and loss_params={'confidence': ...}"
        )


def _checked(reduction: str) -> str:
    if reduction not in _REDUCTIONS:
        raise ConfigError(f"unknown reduction {reduction!r}; choose one of {', '.join(_REDUCTIONS)}")
    return reduction


def _reduce(values: Tensor, reduction: str) -> Tensor:
    if reduction == "none":
        return values
    return torch.sum(values) if reduction == "sum" else torch.mean(values)
