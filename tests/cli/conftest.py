from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from cli_support import SMALL, run


@pytest.fixture(scope="package")
def frame() -> pl.DataFrame:
    """60 users and 24 films: users of an even number like even films, others odd ones; each has 9 of those 12."""
    rng = np.random.default_rng(5)
    rows = []
    for user in range(60):
        liked = rng.permutation(np.arange(user % 2, 24, 2))[:9]
        rows += [(user, int(film), 1.0 + (user + film) % 5, 1_700_000_000 + 60 * user + int(film)) for film in liked]
    frame = pl.DataFrame(rows, schema=["user", "film", "rating", "time"], orient="row")
    return frame.with_columns(user="u" + pl.col("user").cast(pl.String), title="Film " + pl.col("film").cast(pl.String))


@pytest.fixture(scope="package")
def ratings(frame, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("data") / "ratings.parquet"
    frame.write_parquet(path)
    return path


@pytest.fixture(scope="package")
def models(ratings, tmp_path_factory) -> dict[str, Path]:
    """A model of each kind, with histories; ``bare`` has none. Tests do not change them."""
    folder = tmp_path_factory.mktemp("models")
    options = {
        "autoencoder": [*SMALL, "--epochs", 30, "--histories"],
        "als": ["--set", "embedding_size=8", "--set", "weight_decay=1", "--histories"],
        "ease": ["--set", "l2=1", "--histories"],
        "bare": ["--model", "ease", "--set", "l2=1"],
        "weighted": ["--model", "ease", "--set", "l2=1", "--min-weight", 3, "--histories"],
    }
    for name, more in options.items():
        run("train", ratings, "--model", name, "--out", folder / f"{name}.model", *more)
    return {name: folder / f"{name}.model" for name in options}
