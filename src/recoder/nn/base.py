"""The one contract of all models: scores are user factors times item factors, plus an item bias.

Sizes: B users in the batch, I items to score, N items of the catalogue, D factors.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from scipy import sparse
from torch import Tensor, nn

from recoder._random import derive_seed
from recoder.errors import ConfigError, DataTypeError, NotInitializedError, ShapeError
from recoder.nn.parts import WHOLE, Parts
from recoder.ops.rows import SparseRows

__all__ = ["FactorizationModel", "Phase"]


@dataclass(frozen=True)
class Phase:
    """A part of each epoch.

    Attributes:
        passes: how many times it goes through the users, at least 1.
        trains: tells by its name whether a parameter is updated.
        begins: called once, before its first step.
        prepares: called before each of its steps, to set the model up; again and again changes nothing.
    """

    passes: int = 1
    trains: Callable[[str], bool] = lambda name: True
    begins: Callable[[], None] = lambda: None
    prepares: Callable[[], None] = lambda: None


class FactorizationModel(nn.Module):
    """Base class of factorization models.

    A subclass implements ``init_model``, ``model_params`` and ``load_model_params``, and then either

    - ``user_factors`` and ``item_factors``: scores are their product, and the model is trained, scored and exported
      from sparse interactions without dense ``B x I`` inputs; or
    - ``forward``: any other score, from a dense input, at the price of dense tensors.

    Optional hooks: ``penalty``, added to the loss of a training step; ``batch_loss``, for models with a loss of their
    own; ``training_plan``, for those that train parts in turn; ``solve``, for those that do not learn by gradient
    steps; ``learns_by``, for those that need to know the objective when users are scored; ``score_blocks``, for those
    that score many users at less cost than one by one.
    """

    folds_in_users: bool = True
    """True if users are scored from their interactions, so that users never seen in training can be; a model that
    looks users up by their row sets it to False."""

    can_be_cut: bool = False
    """True if ``init_model`` makes only the rows that ``parts`` names, and the other methods go by it."""

    parts: Parts = WHOLE
    """Which rows of the items' and users' tables are here; set before ``init_model`` where they are cut."""

    def __setattr__(self, name: str, value: Any) -> None:
        # torch keeps layers where a method of that name hides them, and anything else hides the method
        is_no_method = isinstance(value, nn.Module) or not callable(value)
        if is_no_method and callable(vars(FactorizationModel).get(name)):
            raise DataTypeError(
                f"{type(self).__name__}.{name} cannot be a {type(value).__name__}: {name} is a method of "
                "FactorizationModel; give it another name"
            )
        super().__setattr__(name, value)

    def init_model(self, num_items: int | None = None, num_users: int | None = None) -> None:
        """Creates the parameters for so many items and users.

        Args:
            num_items: N.
            num_users: number of users, for models that have one row per user.
        """
        raise NotImplementedError(f"{type(self).__name__} does not implement init_model(num_items, num_users)")

    def model_params(self) -> dict[str, Any]:
        """Returns the hyper-parameters that a model file must hold to build this model again; JSON values only."""
        raise NotImplementedError(f"{type(self).__name__} does not implement model_params()")

    def load_model_params(self, model_params: dict[str, Any]) -> None:
        """Takes over hyper-parameters that ``model_params`` of such a model gave; ``init_model`` comes after it."""
        raise NotImplementedError(f"{type(self).__name__} does not implement load_model_params(model_params)")

    def user_factors(self, input: SparseRows, users: Tensor | None = None, items: Tensor | None = None) -> Tensor:
        """Returns the factors of the users of a batch: ``[B, D]``.

        Args:
            input: their interactions ``[B, C]``.
            users: int64 ``[B]``: who they are; None where that is not known.
            items: int64 ``[C]``: the item of each column; None where column ``c`` is item ``c``.
        """
        raise NotImplementedError(f"{type(self).__name__} does not implement user_factors(input, users, items)")

    def item_factors(self, items: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """Returns the factors ``[I, D]`` and biases ``[I]`` (None: no biases) of ``items``; of all items for None."""
        raise NotImplementedError(f"{type(self).__name__} does not implement item_factors(items)")

    def forward(
        self,
        input: Tensor | None,
        input_users: Tensor | None = None,
        input_items: Tensor | None = None,
        target_users: Tensor | None = None,
        target_items: Tensor | None = None,
    ) -> Tensor:
        """Returns the score of each user for each target item: ``[B, I]``.

        Args:
            input: dense ``[B, C]``: the users' interactions. None for models that only look users up.
            input_users: int64 ``[B]``: the users, for models that have one row per user.
            input_items: int64 ``[C]``: the item of each column of ``input``; None: column ``c`` is item ``c``.
            target_users: int64 ``[B]``: the users to predict; models of this library have no use for it.
            target_items: int64 ``[I]``: the items to score; None: all.
        """
        rows = _no_interactions(input_users) if input is None else SparseRows.from_dense(input)
        factors_BD = self.user_factors(rows, input_users, input_items)
        return dot_scores(factors_BD, *self.item_factors(target_items))

    def score_blocks(self, input: SparseRows, users: Tensor | None, users_per_block: int) -> Iterator[Tensor]:
        """Yields what ``forward`` gives for all items, for so many users at a time: ``[b, N]``; for no users once.

        It is called in evaluation mode without gradients, of a model that is not factorized.

        Args:
            input: interactions ``[B, N]``.
            users: int64 ``[B]``.
            users_per_block: b, but for the last block; the scores of more are not held at once.
        """
        start = 0
        for rows in input.split(users_per_block):
            stop = start + rows.num_rows
            yield self(rows.to_dense(), input_users=None if users is None else users[start:stop])
            start = stop

    def penalty(self) -> Tensor | None:
        """Returns a scalar, the mean per user, to add to the loss of the step whose forward pass just ran; or None."""
        return None

    def step_taken(self) -> None:
        """Is told of each training step once the parameters are updated: a step that is broken off does not count."""

    def batch_loss(
        self,
        input: SparseRows,
        users: Tensor | None,
        items: Tensor | None,
        target: SparseRows,
        target_items: Tensor | None,
    ) -> Tensor:
        """Returns the mean loss per user, a scalar, for a model that is not trained with the loss of a ``Recoder``.

        Args:
            input: interactions ``[B, C]``.
            users: int64 ``[B]``.
            items: int64 ``[C]``: the item of each column of ``input``; None: column ``c`` is item ``c``.
            target: what to predict, ``[B, I]``.
            target_items: int64 ``[I]``, likewise.
        """
        raise NotImplementedError(f"{type(self).__name__} is trained with the loss of the Recoder")

    def training_plan(self) -> Sequence[Phase]:
        """Returns what an epoch consists of, the same for every epoch: by default one pass that trains everything."""
        return (Phase(),)

    def solve(self, interactions: sparse.csr_matrix) -> None:
        """Computes the parameters from all interactions (float32 CSR ``[U, N]``). No gradient steps then."""
        raise NotImplementedError(f"{type(self).__name__} learns by gradient steps; it has no solve(interactions)")

    def learns_by(self, loss: nn.Module, l2: float, mean_interactions: float) -> None:
        """Is told before training what it minimises; does nothing unless a subclass says so.

        Args:
            loss: the loss module.
            l2: how the squares of a user's factors weigh beside that user's loss.
            mean_interactions: of the users in training.
        """

    @property
    def is_factorized(self) -> bool:
        """True if scores are ``user_factors @ item_factors.T + bias``: both are given, and ``forward`` is not."""
        return self._overrides("user_factors") and self._overrides("item_factors") and not self._overrides("forward")

    @property
    def brings_loss(self) -> bool:
        """True if the model is trained with its own ``batch_loss``."""
        return self._overrides("batch_loss")

    @property
    def is_solved(self) -> bool:
        """True if the model learns through ``solve``."""
        return self._overrides("solve")

    def _overrides(self, method: str) -> bool:
        return getattr(type(self), method) is not getattr(FactorizationModel, method)


def dot_scores(factors_BD: Tensor, weight_ID: Tensor, bias_I: Tensor | None) -> Tensor:
    """Returns ``factors @ weight.T + bias``: ``[B, I]``."""
    if bias_I is None:
        return factors_BD @ weight_ID.T
    return torch.addmm(bias_I, factors_BD, weight_ID.T)


def checked_scores(
    model: FactorizationModel, scores: Tensor | None, num_users: int, num_items: int, *, method: str = "forward"
) -> Tensor:
    """Returns the output of a user's own ``forward``, or another method, if it has one score per user and target item.

    Raises:
        ShapeError: if it has not.
    """
    shape = tuple(scores.shape) if isinstance(scores, Tensor) else type(scores).__name__
    if scores is None or shape != (num_users, num_items):
        raise ShapeError(
            f"{type(model).__name__}.{method} returned {shape} for {num_users} users and {num_items} target items; "
            f"it must return a tensor of shape {(num_users, num_items)}"
        )
    return scores


def check_factors(
    model: FactorizationModel,
    factors_BD: Tensor,
    weight_ID: Tensor,
    bias_I: Tensor | None,
    *,
    num_users: int,
    num_items: int | None,
) -> None:
    """Checks that what a model gave are factors of so many users and items (None: of all, however many these are).

    Raises:
        ShapeError: if they are not.
    """
    if factors_BD.dim() != 2 or len(factors_BD) != num_users:
        raise ShapeError(
            f"{type(model).__name__}.user_factors returned {tuple(factors_BD.shape)} for {num_users} users; "
            "it must return a row of factors for each"
        )
    if weight_ID.dim() != 2 or weight_ID.shape[1] != factors_BD.shape[1]:
        raise ShapeError(
            f"{type(model).__name__} has user factors {tuple(factors_BD.shape)} but item factors "
            f"{tuple(weight_ID.shape)}; their second dimensions must be equal"
        )
    if num_items is not None and len(weight_ID) != num_items:
        raise ShapeError(
            f"{type(model).__name__}.item_factors returned {tuple(weight_ID.shape)} for {num_items} items; "
            "it must return a row of factors for each"
        )
    if bias_I is not None and bias_I.shape != weight_ID.shape[:1]:
        raise ShapeError(
            f"{type(model).__name__}.item_factors returned factors {tuple(weight_ID.shape)} but biases "
            f"{tuple(bias_I.shape)}; it must return a bias for each item, or None"
        )


def draw_parameters(model: FactorizationModel, *, num_items: int, num_users: int | None, seed: int) -> None:
    """Creates the model's parameters from the seed, and leaves torch's global generator as it was."""
    # there alone a seed decides what is drawn, whatever device tensors are made on by default
    with torch.device("cpu"), torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(derive_seed(seed, "init"))
        model.init_model(num_items=num_items, num_users=num_users)


def not_initialized(model: nn.Module) -> NotInitializedError:
    """Returns the error for a model whose parameters do not exist yet."""
    return NotInitializedError(
        f"{type(model).__name__} has no parameters yet; train it or load a file through a Recoder, "
        "or call init_model(num_items, num_users)"
    )


def _no_interactions(users: Tensor | None) -> SparseRows:
    if users is None:
        raise ConfigError("pass input, input_users or both; a score needs a user")
    none = users.new_zeros(0)
    return SparseRows(users.new_zeros(len(users) + 1), none, none.to(torch.float32), 0)
