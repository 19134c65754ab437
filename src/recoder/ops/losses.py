"""Losses of dense logits against sparse targets: no dense ``B x I`` target is made.

Each is the sum over all ``B x I`` entries of the documented loss, written as the loss of a target of zeros plus a
correction at the Z stored interactions. Sizes: B users, I candidate items, Z stored interactions.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from recoder.ops.rows import SparseRows

__all__ = ["logistic", "multinomial", "squared_error"]


def squared_error(logits_BI: Tensor, target: SparseRows, *, confidence: float = 0.0) -> Tensor:
    """Returns the sum of ``(1 + confidence * y) * (y - x)**2`` over all entries: a scalar.

    Hu, Koren & Volinsky 2008 (ICDM), equation 3, with ``confidence`` as their alpha.
    """
    x_Z = logits_BI[target.row_ids, target.cols]
    y_Z = target.values.to(x_Z.dtype)
    correction = (1 + confidence * y_Z) * (y_Z - x_Z).square() - x_Z.square()
    return logits_BI.square().sum() + correction.sum()


def logistic(logits_BI: Tensor, target: SparseRows) -> Tensor:
    """Returns the sum of ``-y log s(x) - (1 - y) log(1 - s(x))``, s the logistic function: a scalar."""
    x_Z = logits_BI[target.row_ids, target.cols]
    return F.softplus(logits_BI).sum() - (target.values.to(x_Z.dtype) * x_Z).sum()


def multinomial(logits_BI: Tensor, target: SparseRows) -> Tensor:
    """Returns the sum of ``-y log softmax(x)``, the softmax over each user's candidates: a scalar.

    Liang et al. 2018 (arXiv:1802.05814), equation 2.
    """
    if logits_BI.shape[1] == 0:
        return logits_BI.sum()  # no candidates: the softmax over nothing would be NaN
    x_Z = logits_BI[target.row_ids, target.cols]
    y_Z = target.values.to(x_Z.dtype)
    return (target.sum_rows(y_Z) * logits_BI.logsumexp(dim=1)).sum() - (y_Z * x_Z).sum()
