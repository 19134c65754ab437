"""Which runs the real-data benchmark makes, and how each kind of model is trained.

The runs cover pairwise what can be combined: every two levels of two factors meet in some run, for autoencoders and for
matrix factorizations each by themselves. Depth and tied weights do not exist for a factorization; its runs leave them
open (None).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields, replace
from itertools import product

__all__ = ["AUTOENCODER", "FACTORIZATION", "RUNS", "Recipe", "Run", "possible_runs", "recipe_of"]

AUTOENCODER = "autoencoder"
FACTORIZATION = "MF"

Level = str | bool | None


@dataclass(frozen=True)
class Run:
    """One run: a level for each factor.

    Attributes:
        data_set: a key of ``real_data_runner.DATA_SETS``.
        model: ``AUTOENCODER`` or ``FACTORIZATION``.
        loss: as for ``Recoder``.
        candidates: ``"sampled"`` (mini-batch based negative sampling) or ``"full"`` (all items).
        is_sparse: whether item and user tables have sparse gradients.
        is_deep: whether the encoder has a second layer; None: does not apply.
        is_tied: whether the decoder's weights are the encoder's; None: does not apply.
    """

    data_set: str
    model: str
    loss: str
    candidates: str
    is_sparse: bool
    is_deep: bool | None = None
    is_tied: bool | None = None

    @property
    def name(self) -> str:
        """All levels in words, fit for a file name."""
        words = [self.data_set, self.model, self.loss, self.candidates, "sparse" if self.is_sparse else "dense"]
        if self.is_deep is not None:
            words += ["deep" if self.is_deep else "shallow", "tied" if self.is_tied else "untied"]
        return "-".join(words)

    def levels(self) -> dict[str, Level]:
        """Returns the level of each factor that applies."""
        return {factor: level for factor, level in asdict(self).items() if level is not None}


# fmt: off
RUNS: tuple[Run, ...] = (
    #   data set            model          loss        candidates sparse deep   tied
    Run("goodbooks-10k-v1", AUTOENCODER,   "logistic", "full",    True,  True,  True),
    Run("goodbooks-10k-v1", AUTOENCODER,   "logistic", "sampled", False, False, False),
    Run("gowalla",          AUTOENCODER,   "logistic", "sampled", True,  False, True),
    Run("goodbooks-10k-v1", AUTOENCODER,   "logloss",  "full",    True,  False, False),
    Run("gowalla",          AUTOENCODER,   "logloss",  "sampled", False, True,  True),
    Run("gowalla",          AUTOENCODER,   "mse",      "full",    False, True,  False),
    Run("goodbooks-10k-v1", AUTOENCODER,   "mse",      "sampled", True,  False, True),
    Run("goodbooks-10k-v1", FACTORIZATION, "logistic", "full",    True),
    Run("gowalla",          FACTORIZATION, "logistic", "sampled", False),
    Run("goodbooks-10k-v1", FACTORIZATION, "logloss",  "full",    False),
    Run("gowalla",          FACTORIZATION, "logloss",  "sampled", True),
    Run("gowalla",          FACTORIZATION, "mse",      "full",    True),
    Run("goodbooks-10k-v1", FACTORIZATION, "mse",      "sampled", False),
)
# fmt: on


def possible_runs() -> Iterator[Run]:
    """Yields every combination of levels that makes sense, whether ``RUNS`` makes it or not."""
    levels = {field.name: {getattr(run, field.name) for run in RUNS} for field in fields(Run)}
    shared = [sorted(levels[factor]) for factor in ("data_set", "model", "loss", "candidates", "is_sparse")]
    for data_set, model, loss, candidates, is_sparse in product(*shared):
        run = Run(data_set, model, loss, candidates, is_sparse)
        if model == FACTORIZATION:
            yield run
        else:
            yield from (replace(run, is_deep=deep, is_tied=tied) for deep, tied in product((False, True), repeat=2))


@dataclass(frozen=True)
class Recipe:
    """How a model is trained, the same on every data set.

    Attributes:
        layers: an autoencoder's hidden layers, or the number of factors of a factorization.
        noise: probability of dropping an interaction of an autoencoder's input.
        lr, weight_decay, batch_size: as for ``Recoder.train``; the optimizer is adam.
        num_steps: training steps.
        confidence: of the squared error; None for other losses.
    """

    layers: tuple[int, ...]
    noise: float
    lr: float
    weight_decay: float
    batch_size: int
    num_steps: int
    confidence: float | None = None


_RECIPES = {
    (AUTOENCODER, "logistic"): Recipe((200,), 0.0, 1e-2, 0, 500, 500),
    (AUTOENCODER, "logloss"): Recipe((200,), 0.5, 3e-3, 0, 250, 300),
    (AUTOENCODER, "mse"): Recipe((200,), 0.5, 1e-3, 0, 250, 300, confidence=30),
    (FACTORIZATION, "logistic"): Recipe((64,), 0.0, 5e-2, 0, 500, 600),
    (FACTORIZATION, "logloss"): Recipe((64,), 0.0, 1e-2, 0, 500, 300),
    (FACTORIZATION, "mse"): Recipe((64,), 0.0, 5e-3, 0, 500, 300, confidence=30),
}


def recipe_of(run: Run) -> Recipe:
    """Returns how the run's model is trained: by model and loss, not by data set."""
    recipe = _RECIPES[run.model, run.loss]
    return replace(recipe, layers=(200, 100)) if run.is_deep else recipe
