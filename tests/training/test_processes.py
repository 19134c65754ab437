from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from recoder.data import RecommendationDataset
from recoder.errors import ConfigError
from recoder.losses import make_loss
from recoder.model import Recoder
from recoder.nn import EASE, ELSA, DynamicAutoencoder, MatrixFactorization, RecVAE
from recoder.nn.parts import WHOLE, Parts
from recoder.ops.collectives import Ranks
from recoder.training.processes import Processes, check_cut_loss, check_parallel, dealt


def several(size: int = 2) -> Ranks:
    """Processes that nobody talks to."""
    ranks = Ranks()
    ranks.size = size
    return ranks


@given(counts=st.lists(st.integers(0, 10_000), min_size=1, max_size=200), num_parts=st.integers(1, 9))
def test_dealt_items_are_each_in_one_part_and_parts_are_as_large(counts, num_parts):
    parts = dealt(np.array(counts), num_parts)
    assert sorted(np.concatenate(parts)) == list(range(len(counts)))
    sizes = [len(part) for part in parts]
    assert max(sizes) - min(sizes) <= 1
    assert all((np.diff(part) > 0).all() for part in parts)


@given(seed=st.integers(0, 1000), num_parts=st.integers(2, 8))
def test_dealt_parts_have_nearly_as_many_interactions(seed, num_parts):
    counts = (1e5 / np.arange(1, 5_001) ** 0.9).astype(np.int64)
    counts = np.random.default_rng(seed).permutation(counts)
    sums = np.array([counts[part].sum() for part in dealt(counts, num_parts)])
    # they cannot be nearer than the most popular item lets them
    assert sums.max() - sums.min() <= counts.max()


def test_unknown_ways_to_share_are_refused():
    with pytest.raises(ConfigError, match="'items', 'users', 'items\\+users', or None"):
        Recoder(DynamicAutoencoder([4]), parallel="rows")


@pytest.mark.parametrize("parallel", ["items", "users", "items+users"])
def test_without_torchrun_a_process_is_alone(parallel, monkeypatch):
    monkeypatch.delenv("RANK", raising=False)
    found = Processes.of(parallel, torch.device("cpu"))
    assert (found.all.size, found.items.size, found.users.size) == (1, 1, 1)
    assert found.parts(np.ones(5, dtype=np.int64), 3) is WHOLE


@pytest.mark.parametrize(
    ("model", "processes", "optimizer_type", "reason"),
    [
        (EASE(), Processes(all=several(), users=several()), "adam", "not trained by steps"),
        (MatrixFactorization(4), Processes(all=several(), users=several()), "als", "not trained by steps"),
        (RecVAE(), Processes(all=several(), items=several()), "adam", "parallel='users'"),
        (MatrixFactorization(4, fold_in=True), Processes(all=several(), items=several()), "adam", "parallel='users'"),
    ],
)
def test_models_that_processes_cannot_share_are_refused(model, processes, optimizer_type, reason):
    with pytest.raises(ConfigError, match=reason):
        check_parallel(model, processes, optimizer_type)


class Dense(DynamicAutoencoder):
    """Has a forward of its own."""

    def forward(self, input, input_users=None, input_items=None, target_users=None, target_items=None):
        return input


@pytest.mark.parametrize(
    ("model", "loss", "reason"),
    [
        (DynamicAutoencoder([4]), make_loss("logistic", {"pos_weight": 3.0}), "BCEWithLogitsLoss as it is here"),
        (DynamicAutoencoder([4]), torch.nn.MSELoss(reduction="sum"), "MSELoss as it is here"),
        (Dense([4]), make_loss("mse", {}), "what Dense.forward returns"),
        (ELSA(4), make_loss("mse", {}), "the loss of ELSA"),
    ],
)
def test_a_loss_that_is_no_sum_over_the_items_of_each_is_refused(model, loss, reason):
    with pytest.raises(
        ConfigError, match=rf"{reason} needs the scores of all items in one place; use parallel='users'"
    ):
        check_cut_loss(model, loss, Processes(all=several(), items=several()))
    check_cut_loss(model, loss, Processes(all=several(), users=several()))
    check_cut_loss(DynamicAutoencoder([4]), make_loss("logistic", {}), Processes(all=several(), items=several()))


def test_of_a_part_no_other_recoder_is_made():
    matrix = sparse.csr_matrix(np.eye(6))
    recoder = Recoder(DynamicAutoencoder([4]), seed=1)
    recoder.train(RecommendationDataset(matrix))
    recoder.model.parts = Parts(several(), torch.arange(3))
    for make in (lambda: recoder.extended(RecommendationDataset(matrix)), lambda: recoder.untrained(6, 6)):
        with pytest.raises(ConfigError, match=r"part of the model's items alone; make one file .*join_parts"):
            make()


def test_more_processes_than_items_or_users_are_refused():
    three = Processes(all=several(3), items=several(3))
    with pytest.raises(ConfigError, match="3 processes cannot share 2 items; start at most 2"):
        three.parts(np.ones(2, dtype=np.int64), None)
    with pytest.raises(ConfigError, match="3 processes cannot share 1 users"):
        three.parts(np.ones(5, dtype=np.int64), 1)


@pytest.mark.parametrize("kind", ["least squares", "folding in"])
def test_a_file_of_what_processes_cannot_share_is_refused_and_changes_nothing(kind, tmp_path):
    data = RecommendationDataset(sparse.random(9, 7, 0.5, "csr", np.float32, np.random.default_rng(0)))
    if kind == "least squares":
        single = Recoder(MatrixFactorization(3), optimizer_type="als", loss="mse", seed=1)
    else:
        single = Recoder(MatrixFactorization(3, fold_in=True), optimizer_type="adam", loss="mse", seed=1)
    single.train(data)
    path = single.save_state(tmp_path / "m")
    several_here = Recoder(MatrixFactorization(4), optimizer_type="adam", loss="mse", seed=1)
    several_here._processes = Processes(all=several(), items=several())
    with pytest.raises(ConfigError, match=r"processes have none to share|all items in one place"):
        several_here.init_from_model_file(path)
    assert several_here.model.model_params()["embedding_size"] == 4
    assert several_here.optimizer_type == "adam"
