"""Tries an installed Recoder that has no extras: train, save, load, recommend; nothing optional is needed."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from importlib.metadata import distribution, version
from pathlib import Path

import numpy as np
import scipy.sparse as sparse

from recoder.data import RecommendationDataset, UsersInteractions
from recoder.model import Recoder
from recoder.nn import DynamicAutoencoder
from recoder.ops.kernels import library

OPTIONAL = ("annoy", "voyager", "matplotlib", "typer", "rich", "pandas", "polars", "tensorboard", "mlflow", "wandb")


def taste_by_parity(num_users: int = 60, num_items: int = 40) -> sparse.csr_matrix:
    """Returns interactions in which users with an even index like even items, the others odd ones."""
    rng = np.random.default_rng(0)
    users, items = np.indices((num_users, num_items))
    liked = ((users + items) % 2 == 0) & (rng.random((num_users, num_items)) < 0.6)
    return sparse.csr_matrix(liked.astype(np.float32))


def check_that_a_saved_model_recommends_the_same() -> None:
    """Raises AssertionError if a trained model is not right, or a loaded one not the same."""
    matrix = taste_by_parity()
    users = UsersInteractions(users=np.arange(matrix.shape[0]), interactions_matrix=matrix)
    trained = Recoder(DynamicAutoencoder([16]), optimizer_type="adam", loss="logloss", seed=1)
    trained.train(RecommendationDataset(matrix), lr=1e-2, num_epochs=20, batch_size=20)
    before = trained.recommend(users, 3)
    right = [item % 2 == user % 2 for user, items in enumerate(before) for item in items]
    assert np.mean(right) > 0.9, f"only {np.mean(right):.0%} of the recommendations are right"

    with tempfile.TemporaryDirectory() as folder:
        path = trained.save_state(str(Path(folder) / "smoke"))
        loaded = Recoder(DynamicAutoencoder())
        loaded.init_from_model_file(path)
    after = loaded.recommend(users, 3)
    assert [list(items) for items in after] == [list(items) for items in before]


def check_that_nothing_optional_was_needed() -> None:
    """Raises AssertionError if an optional package was imported, so this environment is not an empty one."""
    imported = [name for name in OPTIONAL if name in sys.modules]
    assert not imported, f"imported: {imported}"


def check_that_the_kernels_are_there() -> None:
    """Raises AssertionError if a wheel that is not pure Python lacks what makes it so."""
    is_pure = "Root-Is-Purelib: true" in (distribution("recsys-recoder").read_text("WHEEL") or "")
    assert (library() is None) == is_pure, f"kernels: {library()}, pure Python: {is_pure}"


def check_that_the_command_line_says_what_it_needs() -> None:
    """Raises AssertionError if `python -m recoder` without the extra `cli` fails in an unfriendly way."""
    result = subprocess.run([sys.executable, "-m", "recoder"], capture_output=True, text=True, check=False)
    assert result.returncode != 0
    assert "recsys-recoder[cli]" in result.stderr, result.stderr
    assert "Traceback" not in result.stderr, result.stderr


def main() -> None:
    """Runs every check."""
    check_that_a_saved_model_recommends_the_same()
    check_that_nothing_optional_was_needed()
    check_that_the_kernels_are_there()
    check_that_the_command_line_says_what_it_needs()
    print(f"recsys-recoder {version('recsys-recoder')} works in an environment without extras")


main()
