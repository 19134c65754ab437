"""Several processes end with what one ends with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from parallel.equality_worker import CASES, IN_FLOAT32, ITEMS, USERS, K, run
from parallel.launching import together

ROWS = {"items": ("items.weight", "items.bias", "item_sum.table.weight"), "users": ("users.weight",)}
"""Names of what is cut."""


@pytest.fixture(scope="module", params=["items-2", "items-3", "users-2", "users-3", "items+users-4"])
def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int]:
    """Where the ranks wrote what came out, and how many they are."""
    parallel, size = request.param.split("-")
    folder = tmp_path_factory.mktemp("world")
    together("equality_worker.py", int(size), folder, parallel)
    return folder, int(size)


@pytest.fixture(scope="module")
def alone() -> dict[tuple[str, torch.dtype], dict[str, np.ndarray]]:
    """What one process comes to."""
    before = torch.get_default_dtype()
    found = {
        (name, dtype): run(case, None, dtype)
        for name, case in CASES.items()
        for dtype in (torch.float64, torch.float32)
    }
    torch.set_default_dtype(before)
    return found


def results(world: tuple[Path, int], name: str, dtype: torch.dtype) -> list[dict[str, Any]]:
    folder, size = world
    paths = [folder / f"{name}-{dtype}-{rank}.npz".replace(" ", "_").replace("torch.", "") for rank in range(size)]
    return [dict(np.load(path)) for path in paths]


@pytest.mark.parametrize("name", CASES)
class TestEquality:
    def test_weights_in_float64_are_those_of_one_process(self, alone: Any, world: Any, name: str) -> None:
        whole = alone[name, torch.float64]
        for found in results(world, name, torch.float64):
            for key, weights in whole.items():
                if not key.startswith("model/"):
                    continue
                part = weights
                for of, names in ROWS.items():
                    if key.removeprefix("model/") in names:
                        part = weights[found[of]]
                np.testing.assert_allclose(found[key], part, rtol=1e-8, atol=1e-10 * np.abs(weights).max(), err_msg=key)

    def test_losses_metrics_and_scores_are_too(self, alone: Any, world: Any, name: str) -> None:
        whole = alone[name, torch.float64]
        for found in results(world, name, torch.float64):
            for key in ("losses", "val_losses", "ndcg", "scores", "pairs"):
                np.testing.assert_allclose(found[key], whole[key], rtol=1e-8, atol=1e-10, err_msg=key)
            for key in ("ranked", "some", "one"):
                np.testing.assert_array_equal(found[key], whole[key], err_msg=key)

    def test_every_row_is_with_one_process_of_a_line(self, world: Any, name: str) -> None:
        found = results(world, name, torch.float64)
        whole = {"items": ITEMS, "users": USERS}
        for kind, number in whole.items():
            rows, counts = np.unique(np.concatenate([of_rank[kind] for of_rank in found]), return_counts=True)
            assert len(rows) == number
            assert len(set(counts)) == 1


@pytest.mark.parametrize("name", IN_FLOAT32)
def test_in_float32_losses_and_lists_are_nearly_the_same(alone: Any, world: Any, name: str) -> None:
    whole = alone[name, torch.float32]
    for found in results(world, name, torch.float32):
        np.testing.assert_allclose(found["losses"], whole["losses"], rtol=1e-4)
        shared = [len(set(a) & set(b)) / K for a, b in zip(found["ranked"], whole["ranked"], strict=True)]
        assert np.mean(shared) >= 0.99
