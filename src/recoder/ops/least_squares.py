"""Users' factors that fit their interactions best, the items' factors given: for many users at once.

For the squared error a user's factors u minimise ``sum over all items of (1 + v)(y - b - w'u)^2 + l u'u``, w and b the
items' factors and biases, y the user's interactions, most of them zero, v an interaction's extra weight (confidence
times y: Hu, Koren & Volinsky 2008, ICDM, equation 4) and l the penalty. So
``(G + l I + sum of v w w') u = sum of ((1 + v) y - v b) w - W'b``, the sums over the user's entries and ``G = W'W``:
the matrix is a dense part, the same for all, and a sparse one, and a step of conjugate gradients costs
``O(D^2 + Z_u D)`` (Takács, Pilászy & Tikk 2011, RecSys, "Applications of the conjugate gradient method for implicit
feedback collaborative filtering"). In a basis in which G is diagonal, ``diagonal_basis``, it costs ``O(D + Z_u D)``;
with ``G + l I`` as the preconditioner the matrix is then the identity plus one of rank ``Z_u``, so that few steps are
enough (Golub & Van Loan 2013, Matrix Computations, sections 11.3 and 11.5). Other losses: Newton's method, its systems
by conjugate gradients too. Sizes: B users, N items, D factors, Z entries.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from recoder.ops.encode import weighted_row_sums
from recoder.ops.kernels import serve
from recoder.ops.kernels.gram import add_entry_products, improve_rows
from recoder.ops.products_at import products_at
from recoder.ops.rows import SparseRows
from recoder.ops.score_losses import Logistic, Multinomial

__all__ = ["blocks", "diagonal_basis", "improve", "least_squares", "newton", "spectrum_of"]

_USERS_AT_ONCE = 512
"""What a step reads and writes for so many users stays in the processor's cache."""

_DIAGONAL = 1e-5
"""What stands beside a diagonal, against it, is rounding."""

_NEWTON_STEPS = 16
_NEWTON_TOLERANCE = 1e-5
"""Of the gradient, against that of factors of zero."""
_STEPS_OF_NEWTON_STEP = 15
_HALVINGS = 12
_ROUNDING = 1e-6
"""Of the objective: it is a sum of many numbers in float32."""


@torch.no_grad()
def least_squares(
    start_BD: Tensor,
    table_ND: Tensor,
    gram: Tensor,
    rows: SparseRows,
    *,
    weights_Z: Tensor,
    penalties_B: Tensor,
    steps: int,
    bias_N: Tensor | None = None,
) -> Tensor:
    """Returns better factors for some users: ``[B, D]``.

    Each step lowers the objective of each user, until after D of them it is the least but for rounding.

    Args:
        start_BD: where to start; not changed.
        table_ND: the items' factors.
        gram: ``table.T @ table``, ``[D, D]``; or its diagonal ``[D]`` where it is diagonal, then with the penalties the
            preconditioner too.
        rows: the users' interactions ``[B, N]``, or narrower.
        weights_Z: extra weight of each interaction.
        penalties_B: of each user's squared factors.
        steps: conjugate gradient steps.
        bias_N: the items' biases; None: zero.
    """
    penalties_B1 = penalties_B.unsqueeze(1)
    curvatures_BD = gram + penalties_B1 if gram.dim() == 1 else None

    def product(directions_BD: Tensor) -> Tensor:
        if curvatures_BD is not None:
            products_BD = curvatures_BD * directions_BD
        else:
            products_BD = torch.addcmul(directions_BD @ gram, penalties_B1, directions_BD)
        return _with_entries(products_BD, directions_BD, table_ND, rows, weights_Z)

    targets_Z = _targets(rows, weights_Z, bias_N)
    wanted_BD = weighted_row_sums(table_ND, rows.with_values(targets_Z), None, sparse=False)
    if bias_N is not None:
        wanted_BD -= bias_N @ table_ND
    return start_BD + conjugate_gradients(product, wanted_BD - product(start_BD), steps, curvatures_BD)


def diagonal_basis(gram_DD: Tensor) -> Tensor:
    """Returns an orthogonal matrix Q such that ``Q' G Q`` is diagonal, for tables to be multiplied with: ``[D, D]``."""
    basis_DD: Tensor = torch.linalg.eigh(gram_DD.double())[1]
    return basis_DD.to(gram_DD.dtype)


def spectrum_of(gram_DD: Tensor, penalty: float) -> Tensor | None:
    """Returns the diagonal of a Gram matrix that is diagonal but for rounding, with a penalty added to it, else None.

    It has no number that could not be divided by.
    """
    diagonal_D = gram_DD.diagonal()
    largest = float(diagonal_D.max())
    scale_D = (diagonal_D + max(penalty, torch.finfo(gram_DD.dtype).eps * largest)).sqrt()
    beside_DD = (gram_DD - torch.diag(diagonal_D)).abs()
    if bool((beside_DD > _DIAGONAL * scale_D * scale_D.unsqueeze(1)).any()):
        return None
    return diagonal_D.clamp_min(max(torch.finfo(gram_DD.dtype).eps * largest, torch.finfo(gram_DD.dtype).tiny))


@torch.no_grad()
def improve(
    found_BD: Tensor,
    table_ND: Tensor,
    gram_DD: Tensor,
    rows: SparseRows,
    *,
    weights_Z: Tensor,
    penalties_B: Tensor,
    least_penalty: float,
    steps: int,
    bias_N: Tensor | None = None,
) -> None:
    """Makes the factors of users better in place: quickly where the Gram matrix is diagonal.

    Args:
        found_BD: where to start, and what is found.
        table_ND: as in ``least_squares``, like the following.
        gram_DD: ``table.T @ table``.
        rows: the users' interactions.
        weights_Z: extra weight of each interaction.
        penalties_B: of each user's squared factors.
        least_penalty: beside which the Gram matrix is diagonal or not.
        steps: conjugate gradient steps, at most.
        bias_N: the items' biases.
    """
    spectrum_D = spectrum_of(gram_DD, least_penalty)
    numbers = found_BD, table_ND, weights_Z, rows.values, penalties_B
    if spectrum_D is not None and serve(*numbers, spectrum_D) and _are_served(rows):
        base_D = None if bias_N is None else bias_N @ table_ND
        entries = rows.offsets, rows.cols, _targets(rows, weights_Z, bias_N), weights_Z
        improve_rows(found_BD, table_ND, spectrum_D, base_D, *entries, penalties_B, steps)
        return
    for block, part in blocks(rows, _USERS_AT_ONCE):
        first, last = rows.offsets[[block.start, block.stop]].tolist()
        found_BD[block] = least_squares(
            found_BD[block],
            table_ND,
            gram_DD if spectrum_D is None else spectrum_D,
            part,
            weights_Z=weights_Z[first:last],
            penalties_B=penalties_B[block],
            steps=steps,
            bias_N=bias_N,
        )


def blocks(rows: SparseRows, rows_at_once: int) -> Iterator[tuple[slice, SparseRows]]:
    """Yields some rows after the others, and which they are."""
    for start in range(0, rows.num_rows, rows_at_once):
        block = slice(start, min(start + rows_at_once, rows.num_rows))
        yield block, rows.cut(block.start, block.stop)


def _targets(rows: SparseRows, weights_Z: Tensor, bias_N: Tensor | None) -> Tensor:
    """Returns what each entry multiplies its item's factors with on the right-hand side: ``[Z]``."""
    targets_Z = (1 + weights_Z) * rows.values
    return targets_Z if bias_N is None else targets_Z - weights_Z * bias_N[rows.cols]


@torch.no_grad()
def newton(
    loss: Logistic | Multinomial,
    table_ND: Tensor,
    bias_N: Tensor | None,
    rows: SparseRows,
    *,
    penalties_B: Tensor,
) -> Tensor:
    """Returns the factors that minimise each user's loss over all items plus penalty times squared factors: ``[B, D]``.

    The objective is convex. The scores of the users, ``[B, N]``, are kept: hand over as many users as there is memory.

    Args:
        loss: which.
        table_ND: the items' factors.
        bias_N: the items' biases; None: zero.
        rows: the users' interactions ``[B, N]``, or narrower.
        penalties_B: above 0.
    """
    objective = _Objective(loss, table_ND, bias_N, rows, penalties_B.unsqueeze(1))
    found_BD = table_ND.new_zeros(rows.num_rows, table_ND.shape[1])
    values_B, slopes_BD, curve = objective.at(found_BD)
    enough_B = _NEWTON_TOLERANCE * slopes_BD.norm(dim=1)
    for _ in range(_NEWTON_STEPS):
        is_open_B1 = (slopes_BD.norm(dim=1) > enough_B).unsqueeze(1)
        if not bool(is_open_B1.any()):
            break
        # users who are there stay there, so that nobody's factors depend on who else is asked for
        step_BD = is_open_B1 * conjugate_gradients(curve, -slopes_BD, min(table_ND.shape[1], _STEPS_OF_NEWTON_STEP))
        share_B1 = torch.ones_like(values_B).unsqueeze(1)
        highest_B = values_B + _ROUNDING * values_B.abs()
        for _ in range(_HALVINGS):  # a whole step may lead too far; each user's own share of it does not
            too_high_B1 = (objective.values(found_BD + share_B1 * step_BD) > highest_B).unsqueeze(1)
            if not bool(too_high_B1.any()):
                break
            share_B1 = torch.where(too_high_B1, share_B1 / 2, share_B1)
        else:
            share_B1 = torch.where(too_high_B1, 0.0, share_B1)  # as low as rounding lets it be
        found_BD = found_BD + share_B1 * step_BD
        values_B, slopes_BD, curve = objective.at(found_BD)
    return found_BD


class _Objective:
    """A user's loss as a function of the user's factors, for many users.

    Args:
        loss: which.
        table_ND: the items' factors.
        bias_N: the items' biases.
        rows: the interactions.
        penalties_B1: of squared factors.
    """

    def __init__(
        self,
        loss: Logistic | Multinomial,
        table_ND: Tensor,
        bias_N: Tensor | None,
        rows: SparseRows,
        penalties_B1: Tensor,
    ) -> None:
        self._is_multinomial = isinstance(loss, Multinomial)
        self._table_ND = table_ND
        self._bias_N = table_ND.new_zeros(len(table_ND)) if bias_N is None else bias_N
        self._penalties_B1 = penalties_B1
        self._counts_B1 = rows.sum_rows(rows.values).unsqueeze(1)
        self._wanted_BD = weighted_row_sums(table_ND, rows, None, sparse=False)
        self._of_bias_B = rows.sum_rows(rows.values * self._bias_N[rows.cols])

    def values(self, factors_BD: Tensor) -> Tensor:
        """Returns the objective of each user: ``[B]``."""
        return self._values(factors_BD, self._scores(factors_BD))

    def at(self, factors_BD: Tensor) -> tuple[Tensor, Tensor, Callable[[Tensor], Tensor]]:
        """Returns each user's objective, ``[B]``, its gradient, ``[B, D]``, and what multiplies with its Hessian."""
        table_ND, penalties_B1 = self._table_ND, self._penalties_B1
        scores_BN = self._scores(factors_BD)
        values_B = self._values(factors_BD, scores_BN)
        shares_BN = self._counts_B1 * scores_BN.softmax(dim=1) if self._is_multinomial else scores_BN.sigmoid()
        slopes_BD = shares_BN @ table_ND - self._wanted_BD + 2 * penalties_B1 * factors_BD
        curvatures_BN = shares_BN if self._is_multinomial else shares_BN * (1 - shares_BN)

        def product(directions_BD: Tensor) -> Tensor:
            changes_BN = curvatures_BN * (directions_BD @ table_ND.T)
            if self._is_multinomial:
                means_B1 = changes_BN.sum(dim=1, keepdim=True) / self._counts_B1.clamp_min(1e-12)
                changes_BN -= means_B1 * shares_BN
            return changes_BN @ table_ND + 2 * penalties_B1 * directions_BD

        return values_B, slopes_BD, product

    def _scores(self, factors_BD: Tensor) -> Tensor:
        return torch.addmm(self._bias_N, factors_BD, self._table_ND.T)

    def _values(self, factors_BD: Tensor, scores_BN: Tensor) -> Tensor:
        if self._is_multinomial:
            losses_B = self._counts_B1.squeeze(1) * scores_BN.logsumexp(dim=1)
        else:
            losses_B = F.softplus(scores_BN).sum(dim=1)
        matched_B = (factors_BD * self._wanted_BD).sum(dim=1) + self._of_bias_B
        return losses_B - matched_B + self._penalties_B1.squeeze(1) * factors_BD.square().sum(dim=1)


def conjugate_gradients(
    product: Callable[[Tensor], Tensor], wanted_BD: Tensor, steps: int, diagonals_BD: Tensor | None = None
) -> Tensor:
    """Returns an approximation of each row's solution x of ``A x = wanted``, from zero: ``[B, D]``.

    Hestenes & Stiefel 1952 (Journal of Research of the National Bureau of Standards 49, section 3).

    Args:
        product: multiplies each row with its own symmetric positive definite A.
        wanted_BD: the right-hand sides; overwritten.
        steps: how many.
        diagonals_BD: of a matrix like A that is the preconditioner; None: none.
    """

    def solved(residual_BD: Tensor) -> Tensor:
        return residual_BD if diagonals_BD is None else residual_BD / diagonals_BD

    residual_BD, direction_BD = wanted_BD, solved(wanted_BD).clone()
    found_BD = torch.zeros_like(wanted_BD)
    squares_B1 = (residual_BD * direction_BD).sum(dim=1, keepdim=True)
    for step in range(1, steps + 1):
        product_BD = product(direction_BD)
        # a row whose residual is zero is done: 0 / 0 would spoil what was found
        lengths_B1 = _ratio(squares_B1, (direction_BD * product_BD).sum(dim=1, keepdim=True))
        found_BD.addcmul_(lengths_B1, direction_BD)
        if step < steps:
            residual_BD.addcmul_(lengths_B1, product_BD, value=-1)
            solved_BD = solved(residual_BD)
            before_B1, squares_B1 = squares_B1, (residual_BD * solved_BD).sum(dim=1, keepdim=True)
            direction_BD.mul_(_ratio(squares_B1, before_B1)).add_(solved_BD)
    return found_BD


def _ratio(above: Tensor, below: Tensor) -> Tensor:
    return (above / below).nan_to_num_(0.0, 0.0, 0.0)


def _with_entries(
    products_BD: Tensor, directions_BD: Tensor, table_ND: Tensor, rows: SparseRows, weights_Z: Tensor
) -> Tensor:
    """Returns the products plus those with the entries' part of the matrices: ``sum of v w w'``."""
    if serve(products_BD, directions_BD, table_ND, weights_Z) and _are_served(rows):
        add_entry_products(directions_BD, table_ND, rows.offsets, rows.cols, weights_Z, products_BD)
        return products_BD
    slopes_Z = weights_Z * products_at(directions_BD, table_ND, rows.offsets, rows.cols)
    return products_BD + weighted_row_sums(table_ND, rows.with_values(slopes_Z), None, sparse=False)


def _are_served(rows: SparseRows) -> bool:
    return serve(rows.offsets, rows.cols, dtypes=(torch.int64,))
