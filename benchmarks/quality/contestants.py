"""Who takes part, and the settings that each may choose from: four for everyone, the default first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from benchmarks.speed.works import OURS
from recoder.recipes import RECIPES

__all__ = ["CONTESTANTS", "GRID_SIZE", "SMOKE_CONTESTANTS", "Contestant", "settings_text"]

GRID_SIZE = 4

Settings = Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class Contestant:
    """A model of a library, and its grid.

    Attributes:
        name: as in ``--contestants`` and in tables.
        environment: ``OURS``, or the rival's name in ``benchmarks.speed.environments.RIVALS``.
        worker: the script in ``workers/`` that trains it.
        model: what the worker calls it; of ours the recipe.
        grid: changes of the defaults, one for each point; the first is the default. Results are found by the place in
            it too, so that a point that stays keeps its place.
        source: where the grid comes from.
        bytes_per_item_pair: memory that it needs for every two items, at its peak; 0: none that grows like that.
        warm_up: changes that make the warm-up quick.
        elsewhere: environments, by data set, in the place of ``environment`` where it fails in that.
        kin: of a rival, that of ours which is the same model; empty: none is.
        is_twin: whether the two compute the same closed form, so that they can only tie at equal settings.
        note: what a reader must know of it.
    """

    name: str
    environment: str
    worker: str
    model: str
    grid: tuple[Settings, ...]
    source: str
    bytes_per_item_pair: float = 0.0
    warm_up: Settings = field(default_factory=dict)
    elsewhere: Mapping[str, str] = field(default_factory=dict)
    kin: str = ""
    is_twin: bool = False
    note: str = ""

    @property
    def is_ours(self) -> bool:
        """Whether it is a model of this library."""
        return self.environment == OURS

    def environment_on(self, data_set: str) -> str:
        """Returns the environment that it runs in on a data set."""
        return self.elsewhere.get(data_set, self.environment)


_GRIDS: dict[str, tuple[Settings, ...]] = {
    "popularity": ({},),
    "autoencoder": (
        {},
        {"lr": 5e-3},
        {"num_epochs": 5},
        {"hidden_layers": [400], "num_epochs": 20},
    ),
    "als": (
        {},
        {"embedding_size": 128, "num_epochs": 5},
        {"embedding_size": 400},
        {"loss_params": {"confidence": 10.0}, "weight_decay": 20.0, "confidence_power": 0.0},
    ),
    "ease": ({}, {"l2": 50.0}, {"l2": 150.0}, {"l2": 500.0}),
    "edlae": (
        {},
        {"l2": 20.0, "dropout_prob": 0.7},
        {"l2": 100.0, "popularity_discount": 0.2},
        {"l2": 200.0, "popularity_discount": 0.3},
    ),
    "multvae": ({}, {"num_epochs": 10}, {"lr": 5e-3}, {"loss": "logloss", "logq_correction": True}),
    "recvae": ({}, {"gamma": 0.0025}, {"loss": "logloss", "logq_correction": True}, {"num_epochs": 8}),
    "elsa": ({}, {"num_epochs": 40}, {"embedding_size": 512}, {"num_epochs": 10}),
}
_IN_EPOCHS = ("autoencoder", "multvae", "recvae", "elsa")

_OURS = tuple(
    Contestant(
        name,
        OURS,
        "ours.py",
        name,
        grid,
        source="the recipe, and what is most worth changing in it",
        warm_up={"num_epochs": 1} if name in _IN_EPOCHS else {},
    )
    for name, grid in _GRIDS.items()
    if name in RECIPES
)

_RIVALS = (
    Contestant(
        "implicit ALS",
        "implicit",
        "implicit_quality.py",
        "als",
        kin="als",
        grid=(
            {},
            {"bm25": True, "factors": 64, "regularization": 0.05, "alpha": 2.0},
            {"factors": 400, "regularization": 10.0, "alpha": 40.0},
            {"factors": 200, "regularization": 10.0, "alpha": 40.0},
        ),
        source="defaults; the settings and the BM25 weights of implicit's tutorial on artists; and unweighted, with "
        "the confidence of 40 of Hu et al. 2008 (doi:10.1109/ICDM.2008.22), more regularization and 400 or 200 factors",
        note="BM25 weighs users by items here; the tutorial's items by users was worse on lastfm-2k and "
        "retailrocket-small, and nowhere good enough to be chosen (docs/experiments.md)",
    ),
    Contestant(
        "implicit BPR",
        "implicit",
        "implicit_quality.py",
        "bpr",
        (
            {},
            {"learning_rate": 0.05},
            {"learning_rate": 0.05, "iterations": 300},
            {"learning_rate": 0.1, "regularization": 0.002},
        ),
        source="defaults; and faster or longer training",
        note="cannot fold users in (`recalculate_user` is not supported): a held-out user gets the mean of the "
        "factors of the items in their history; trained with these histories instead, it was worse on lastfm-2k and "
        "better on citeulike-a (docs/experiments.md)",
    ),
    Contestant(
        "irspack iALS",
        "irspack",
        "irspack_quality.py",
        "ials",
        kin="als",
        grid=(
            {},
            {"n_components": 200, "alpha0": 0.1, "reg": 0.003},
            {"n_components": 200, "alpha0": 0.02, "reg": 0.002},
            {"n_components": 400, "alpha0": 0.02, "reg": 0.002},
        ),
        source="defaults of the class, whose `alpha0=0` gives what was not seen no weight; weights and regularization "
        "of Rendle et al. 2021 (arXiv:2110.14037) for ML-20M and MSD with 200 factors, and for MSD with 400",
    ),
    Contestant(
        "irspack DenseSLIM",
        "irspack",
        "irspack_quality.py",
        "dense_slim",
        ({}, {"reg": 50.0}, {"reg": 150.0}, {"reg": 500.0}),
        source="default; and around the 200 to 1000 of Steck 2019 (arXiv:1905.03375), less for smaller sets",
        bytes_per_item_pair=9.0,
        elsewhere={"gowalla": "irspack-scipy-1.16"},
        kin="ease",
        is_twin=True,
        note="the same closed form as our `ease`: at equal settings the two can only tie; on gowalla with scipy 1.16, "
        "as `scipy.linalg.inv` of 1.17, which multiplies half as often, crashes with that many items; most of its time "
        "to recommend is scipy's copying of its weights, once for each 500 users",
    ),
    Contestant(
        "irspack EDLAE",
        "irspack",
        "irspack_edlae_quality.py",
        "edlae",
        (
            {},
            {"reg": 50.0, "dropout_p": 0.5},
            {"reg": 20.0, "dropout_p": 0.7},
            {"reg": 200.0, "dropout_p": 0.33},
        ),
        source="default; and more of both (Steck 2020, NeurIPS), as our `edlae` has",
        bytes_per_item_pair=9.0,
        elsewhere={"gowalla": "irspack-scipy-1.16"},
        kin="edlae",
        is_twin=True,
        note="the same closed form as our `edlae`, but for the discount on popular items, and without dropout as our "
        "`ease`; recommends to 3,000 users at a time",
    ),
    Contestant(
        "recoder 0.4.0",
        "recoder-0.4.0",
        "recoder_040_quality.py",
        "autoencoder",
        kin="autoencoder",
        grid=(
            {},
            {"loss": "logloss"},
            {"num_epochs": 30},
            {"loss": "logloss", "num_epochs": 30},
        ),
        source="the settings of its manual (100 epochs, 200 factors, noise 0.5, logistic loss, adam with learning rate "
        "1e-3 and weight decay 2e-5, batches of 500, negative sampling, `sparse=True`); and around them",
        warm_up={"num_epochs": 1},
        note="makes its batches in the process that trains, which is quicker on two processors than with the four "
        "workers of the manual's examples (docs/experiments.md)",
    ),
)

CONTESTANTS = (*_OURS, *_RIVALS)

SMOKE_CONTESTANTS = tuple(
    Contestant(name, OURS, "ours.py", name, grid, source="quick to train")
    for name, grid in (("popularity", ({},)), ("autoencoder", ({"num_epochs": 2}, {"num_epochs": 4})))
)
"""For trying the program: they need no rival's environment and train in a second."""


def settings_text(contestant: Contestant, point: int) -> str:
    """Returns a point of the grid in words."""
    words = [f"{name}={value}" for name, value in contestant.grid[point].items()]
    return ", ".join(words) or "default"
