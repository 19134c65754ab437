"""How much memory and time training would take: estimates, from a few steps on a sample of the users."""

from __future__ import annotations

import contextlib
import io
import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy import sparse

from recoder._memory import available_bytes
from recoder.cli.memory_plan import MemoryPlan, memory_plan
from recoder.data import RecommendationDataset
from recoder.errors import DivergedError, NotEnoughMemoryError
from recoder.model import Recoder
from recoder.recipes import Recipe, recipe

__all__ = ["Estimate", "estimate"]

_SAMPLE_INTERACTIONS = 1_000_000
_SAMPLE_PAIRS = 10_000_000
_SAMPLE_SIZE = 1_200
_TIMED_S = 0.5
_MOST_STEPS = 20
_SEED = 1


@dataclass(frozen=True)
class Estimate:
    """What training by a recipe would take.

    Attributes:
        recipe: its name.
        memory: bytes, beside the interactions and PyTorch itself.
        seconds: of training; None where it was not measured, since the memory would not suffice.
        fits: whether so much memory is free; None where the system does not say.
    """

    recipe: str
    memory: int
    seconds: float | None
    fits: bool | None

    def to_json(self) -> dict[str, Any]:
        """Returns it as JSON values."""
        return dict(vars(self))


def estimate(name: str, interactions: sparse.csr_matrix) -> Estimate:
    """Returns an estimate of what training by a recipe takes on this machine.

    The memory follows from the sizes. The time is measured: a few steps over all items with a sample of the users, or
    for closed forms their parts on smaller matrices, and multiplied.

    Args:
        name: of the recipe.
        interactions: what would be learnt from: ``[U, N]``, of weight 1.

    Raises:
        ConfigError: if there is no such recipe.
    """
    chosen = recipe(name)
    plan = memory_plan(chosen, interactions)
    free = available_bytes()
    fits = None if free is None else plan.num_bytes <= free
    if fits is False:
        return Estimate(name, plan.num_bytes, None, fits)
    with _quietly():
        try:
            seconds = _seconds(chosen, plan, interactions)
        except (NotEnoughMemoryError, DivergedError):
            return Estimate(name, plan.num_bytes, None, fits)
    return Estimate(name, plan.num_bytes, seconds, fits)


def _seconds(chosen: Recipe, plan: MemoryPlan, interactions: sparse.csr_matrix) -> float:
    if plan.size_to_invert is not None:
        return _of_closed_form(interactions, plan.size_to_invert)
    sample = _sample(interactions)
    share = float(sample.nnz / interactions.nnz)
    if not chosen.train:
        return _timed(lambda: chosen.fit(RecommendationDataset(sample), seed=_SEED)) / share
    recoder = Recoder(chosen.make_model(**chosen.model), num_users=interactions.shape[0], seed=_SEED, **chosen.recoder)
    if chosen.recoder.get("optimizer_type") == "als":
        recoder.train(RecommendationDataset(sample), **{**chosen.train, "num_epochs": 1})
        sweep_s: float = recoder.history[-1].seconds / share
        return sweep_s * int(chosen.train["num_epochs"])
    return _of_steps(recoder, chosen, sample, interactions.shape[0])


def _of_steps(recoder: Recoder, chosen: Recipe, sample: sparse.csr_matrix, num_users: int) -> float:
    """Returns the time of all steps, from that of some."""
    arguments = {**chosen.train, "batch_size": chosen.batch_size(num_users)}
    dataset = RecommendationDataset(sample)
    recoder.train(dataset, **{**arguments, "num_epochs": 1, "iters_per_epoch": 1})
    first = max(recoder.history[-1].seconds, 1e-4)
    num_steps = min(max(int(_TIMED_S / first), 2), _MOST_STEPS)
    recoder.train(dataset, **{**arguments, "num_epochs": 2, "iters_per_epoch": num_steps})
    step_s: float = recoder.history[-1].seconds / num_steps
    return step_s * chosen.steps_per_epoch(num_users) * int(chosen.train["num_epochs"])


def _of_closed_form(interactions: sparse.csr_matrix, size: int) -> float:
    """Returns the time to multiply the interactions with themselves and to invert the product: ``[size, size]``."""
    tried = min(size, _SAMPLE_SIZE)
    matrix = torch.eye(tried) + 1 / tried
    _timed(lambda: torch.cholesky_inverse(torch.linalg.cholesky(matrix)))
    inverting = _timed(lambda: torch.cholesky_inverse(torch.linalg.cholesky(matrix))) * (size / tried) ** 3
    over_users = size < interactions.shape[1]
    rows = interactions.T.tocsr() if over_users else interactions  # each adds the square of its length to the work
    pairs_R = np.diff(rows.indptr).astype(np.int64) ** 2
    drawn = np.random.Generator(np.random.Philox(_SEED)).permutation(rows.shape[0])
    num_drawn = max(1, int(np.searchsorted(np.cumsum(pairs_R[drawn]), _SAMPLE_PAIRS)))
    sample = rows[drawn[:num_drawn]]
    multiplying = _timed(lambda: sample.T.tocsr() @ sample)
    return inverting + multiplying * float(pairs_R.sum() / max(1, pairs_R[drawn[:num_drawn]].sum()))


def _sample(interactions: sparse.csr_matrix) -> sparse.csr_matrix:
    """Returns random users, as many as have a bounded number of interactions together."""
    if interactions.nnz <= _SAMPLE_INTERACTIONS:
        return interactions
    drawn = np.random.Generator(np.random.Philox(_SEED)).permutation(interactions.shape[0])
    counts = np.diff(interactions.indptr)[drawn]
    sample: sparse.csr_matrix = interactions[
        drawn[: max(1, int(np.searchsorted(np.cumsum(counts), _SAMPLE_INTERACTIONS)))]
    ]
    return sample


def _timed(work: Any) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Keeps training's bars and messages back."""
    log = logging.getLogger("recoder")
    before = log.disabled
    log.disabled = True
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            yield
    finally:
        log.disabled = before
