"""Noise that is a pure function of (seed, step, user, item), so that a run can be repeated, resumed or spread.

Sizes: B users, D factors, Z stored interactions.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from recoder._random import derive_seed, fresh_seed, uniform_hash
from recoder.errors import ConfigError
from recoder.ops.rows import SparseRows

__all__ = ["FactorDropout", "GaussianSample", "InteractionDropout", "StepNoise", "place_users", "seed_step"]


class StepNoise(nn.Module):
    """Base of layers that draw noise in training.

    The trainer gives a seed for each step (``seed_step``). Without one, as in a call by hand, each forward pass draws
    a seed from torch's global generator. Where processes share the users of a step, what is drawn for all of them is
    cut to those that are here.

    Args:
        stream: a name, different for each layer of a model.
    """

    def __init__(self, stream: str) -> None:
        super().__init__()
        self.stream = stream
        self.step_seed: int | None = None
        self.step_users: tuple[int, int] | None = None
        """Place of the first user here among those of the whole step, and how many these are; None: all are here."""

    def __getstate__(self) -> dict[str, Any]:
        # a copy that is made within a step of the original is not in that step
        return {**self.__dict__, "step_seed": None, "step_users": None}

    def draw_seed(self) -> int:
        """Returns the seed of this layer's noise in this step."""
        base = fresh_seed() if self.step_seed is None else self.step_seed
        return derive_seed(base, self.stream)

    def generator(self, device: torch.device) -> torch.Generator:
        """Returns a generator with that seed."""
        return torch.Generator(device).manual_seed(self.draw_seed())

    def drawn(self, draw: Callable[..., Tensor], like: Tensor, dtype: torch.dtype | None = None) -> Tensor:
        """Returns what ``draw``, such as ``torch.rand``, draws for these users, as ``like``: ``[B, ...]``."""
        num_here, *rest = like.shape
        first, num_users = (0, num_here) if self.step_users is None else self.step_users
        of_all = draw(num_users, *rest, generator=self.generator(like.device), device=like.device, dtype=dtype)
        return of_all[first : first + num_here]


class Dropout(StepNoise):
    """Base of layers that drop something at random and scale up the rest.

    Args:
        prob: probability of dropping, in [0, 1).
        stream: as in ``StepNoise``.
    """

    def __init__(self, prob: float, stream: str) -> None:
        super().__init__(stream)
        if not 0 <= prob < 1:
            raise ConfigError(f"{stream} probability is {prob}; it must lie in [0, 1)")
        self.prob = prob

    @property
    def active(self) -> bool:
        """True in training mode with a probability above 0."""
        return self.training and self.prob > 0

    def extra_repr(self) -> str:
        """Returns what ``repr`` shows."""
        return f"prob={self.prob}"


class InteractionDropout(Dropout):
    """Drops stored interactions at random: the denoising autoencoder's input noise.

    What is kept has to be scaled up by ``scales``.
    """

    def forward(self, rows: SparseRows, users: Tensor | None, items: Tensor | None) -> SparseRows:
        """Returns the rows with some values set to 0, and the others as they are.

        Args:
            rows: the interactions ``[B, C]``.
            users: int64 ``[B]``: who they are; None: row numbers stand in.
            items: int64 ``[C]``: the item of each column; None: column ``c`` is item ``c``.
        """
        if not self.active:
            return rows
        user_ids_Z = rows.row_ids if users is None else users[rows.row_ids]
        item_ids_Z = rows.cols if items is None else items[rows.cols]
        kept_Z = uniform_hash(self.draw_seed(), user_ids_Z, item_ids_Z) >= self.prob
        return rows.with_values(rows.values * kept_Z)

    def scales(self, counts_B: Tensor) -> Tensor:
        """Returns what makes up for the noise: ``n / (1 + (n - 1) (1 - prob))`` for n interactions, ``[B]``.

        One that is kept has so many beside it on average, itself included: a row of one item is either empty or what it
        is without noise, one of many is scaled by ``1 / (1 - prob)``.

        Args:
            counts_B: floating point, n of each user.
        """
        return counts_B.clamp_min(1) / (1 + (counts_B - 1).clamp_min(0) * (1 - self.prob))


class FactorDropout(Dropout):
    """Drops factors at random and scales up the rest."""

    def forward(self, factors_BD: Tensor) -> Tensor:
        """Returns the factors with some set to 0: ``[B, D]``."""
        if not self.active:
            return factors_BD
        return factors_BD * (self.drawn(torch.rand, factors_BD) >= self.prob) / (1 - self.prob)


class GaussianSample(StepNoise):
    """Draws from normal distributions in training; gives their means otherwise."""

    def forward(self, means_BD: Tensor, log_variances_BD: Tensor) -> Tensor:
        """Returns a draw for each mean and logarithm of a variance, ``[B, D]``; gradients flow to both."""
        if not self.training:
            return means_BD
        normal_BD = self.drawn(torch.randn, means_BD, means_BD.dtype)
        return means_BD + normal_BD * (0.5 * log_variances_BD).exp()


def seed_step(model: nn.Module, seed: int | None) -> None:
    """Sets the seed that the model's noise layers use from now on; None: draw one from torch at each pass."""
    for module in model.modules():
        if isinstance(module, StepNoise):
            module.step_seed, module.step_users = seed, None


def place_users(model: nn.Module, first: int, num_users: int) -> None:
    """Tells the noise layers, until the next seed, that the users here begin at the ``first`` of ``num_users``."""
    for module in model.modules():
        if isinstance(module, StepNoise):
            module.step_users = first, num_users
