from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import recoder


@pytest.fixture(scope="package")
def frame() -> pd.DataFrame:
    """60 users and 24 items with string ids: users of an even number like even items, those of an odd number odd ones.

    Each user has 9 of the 12 that they like; one item in eight is liked by nobody else's kind.
    """
    rng = np.random.default_rng(5)
    rows = []
    for user in range(60):
        liked = rng.permutation(np.arange(user % 2, 24, 2))[:9]
        rows += [(f"u{user}", f"m{item}", 1.0 + (item % 3), 1_700_000_000 + 60 * user + item) for item in liked]
    made = pd.DataFrame(rows, columns=["who", "what", "stars", "when"])
    made["title"] = "Title of " + made["what"]
    return made


@pytest.fixture(scope="package")
def films(frame: pd.DataFrame) -> recoder.Interactions:
    data = recoder.Interactions.from_frame(frame, user="who", item="what", weight="stars", time="when", title="title")
    return data.binarize()


SMALL = {
    "autoencoder": {"hidden_layers": [16], "num_uniform_negatives": 0, "num_epochs": 30},
    "als": {"embedding_size": 8, "weight_decay": 1.0, "num_epochs": 50},
    "ease": {"l2": 1.0},
    "popularity": {},
}


@pytest.fixture(scope="package")
def fitted(films: recoder.Interactions) -> dict[str, recoder.FittedModel]:
    """A model of each kind; tests do not change them."""
    return {name: recoder.fit(films, name, seed=3, **settings) for name, settings in SMALL.items()}
