from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import recoder
import recoder.report
from recoder.api.about import About
from recoder.data import StrongSplit


def frame(title: str = "Title of {}") -> pd.DataFrame:
    """300 users and 40 items: users of an even number like even items, and of these rather the first ones."""
    rng = np.random.default_rng(8)
    users, items = np.indices((300, 40))
    chance = np.where(users % 2 == items % 2, 0.9, 0.05) / (1 + 0.05 * items)
    rows, cols = np.nonzero(rng.random((300, 40)) < chance)
    made = pd.DataFrame({"user": [f"u{row}" for row in rows], "item": [f"m{col}" for col in cols]})
    made["title"] = [title.format(item) for item in made["item"]]
    return made


@pytest.fixture(scope="package")
def split() -> StrongSplit:
    data = recoder.Interactions.from_frame(frame(), user="user", item="item", title="title")
    return data.split("strong", num_valid_users=40, num_test_users=60, seed=2)


@pytest.fixture(scope="package")
def fitted(split: StrongSplit) -> dict[str, recoder.FittedModel]:
    """A model of each kind; tests do not change them."""
    small = {
        "autoencoder": {"hidden_layers": [8], "num_uniform_negatives": 0, "num_epochs": 6},
        "als": {"embedding_size": 6, "weight_decay": 1.0},
        "ease": {"l2": 1.0},
        "popularity": {},
    }
    made = {}
    for name, settings in small.items():
        valid = split.valid if name == "autoencoder" else None
        made[name] = recoder.fit(split.train, name, seed=3, valid=valid, **settings)
    return made


@pytest.fixture(scope="package")
def evaluated(fitted):
    """A function that evaluates a model which then does not remember it."""

    def evaluate(name: str, test, metrics=None):
        model = fitted[name]
        return recoder.FittedModel(model.recoder, model.interactions, About()).evaluate(test, metrics)

    return evaluate


@pytest.fixture(scope="package")
def page_file(tmp_path_factory, fitted, split) -> str:
    """A report with every part."""
    path = tmp_path_factory.mktemp("report") / "all.html"
    return recoder.report.write_report(fitted["autoencoder"], path, test=split.test, valid=split.valid)
