from __future__ import annotations

import copy
import json
import pickle

import numpy as np
import pytest
from scipy import sparse

from recoder.data import (
    HeldOut,
    IdMap,
    Interactions,
    RecommendationDataset,
    global_time,
    leave_last_out,
    random_holdout,
    strong_generalization,
)
from recoder.errors import ConfigError, DataTypeError, ShapeError


@pytest.fixture
def interactions():
    rng = np.random.default_rng(0)
    matrix = sparse.random(40, 30, 0.2, "csr", np.float32, rng)
    made = Interactions.from_matrix(matrix)
    times = rng.integers(0, 1000, matrix.nnz)
    return Interactions(made.matrix, made.user_ids, made.item_ids, times=times)


SPLITS = {
    "strong_generalization": lambda x: strong_generalization(x, num_valid_users=5, num_test_users=6, seed=3),
    "random_holdout": lambda x: random_holdout(x, fraction=0.3, seed=3),
    "leave_last_out": lambda x: leave_last_out(x, k=2),
    "global_time": lambda x: global_time(x, fraction=0.25),
}


@pytest.mark.parametrize("name", SPLITS)
def test_protocol_says_how_the_split_was_made_in_json(name, interactions):
    protocol = SPLITS[name](interactions).protocol
    assert protocol["name"] == name
    assert json.loads(json.dumps(dict(protocol))) == dict(protocol)
    for size in ("users", "items", "interactions"):
        assert protocol[f"dropped_{size}"] >= 0
        assert protocol[f"train_{size}"] > 0
    assert repr(protocol).startswith(f"Protocol({{'name': '{name}'")


@pytest.mark.parametrize("name", SPLITS)
def test_split_can_be_copied_and_pickled(name, interactions):
    split = SPLITS[name](interactions)
    for other in (copy.deepcopy(split), pickle.loads(pickle.dumps(split))):
        assert dict(other.protocol) == dict(split.protocol)
        assert (other.train.matrix != split.train.matrix).nnz == 0


@pytest.mark.parametrize("name", SPLITS)
def test_protocol_does_not_change(name, interactions):
    protocol = SPLITS[name](interactions).protocol
    with pytest.raises(TypeError):
        protocol["seed"] = 5


def test_arguments_of_the_protocol_make_the_same_split(interactions):
    first = strong_generalization(interactions, num_valid_users=0.1, num_test_users=0.2, fold_in=0.6, seed=9)
    names = ("num_valid_users", "num_test_users", "fold_in", "seed", "min_interactions")
    again = strong_generalization(interactions, **{name: first.protocol[name] for name in names})
    assert again.protocol == first.protocol
    assert again.test.user_ids == first.test.user_ids
    assert (again.train.matrix != first.train.matrix).nnz == 0


def test_strong_generalization_accounts_for_every_interaction(interactions):
    split = SPLITS["strong_generalization"](interactions)
    judged = sum(
        matrix.nnz
        for part in (split.valid, split.test)
        for matrix in (part.dataset.interactions_matrix, part.dataset.target_interactions_matrix)
    )
    assert split.train.matrix.nnz + judged + split.protocol["dropped_interactions"] == interactions.matrix.nnz
    assert split.train.num_items + split.protocol["dropped_items"] == interactions.num_items
    assert len(split.train.times) == split.train.matrix.nnz


def test_random_holdout_counts_targets_that_training_lacks():
    # only user 1 has item 2, and of two interactions one is taken out
    interactions = Interactions.from_matrix(sparse.csr_matrix(np.array([[1, 1, 0], [1, 0, 1], [1, 1, 0]])))
    for seed in range(5):
        split = random_holdout(interactions, fraction=0.5, seed=seed)
        trained = set(split.train.matrix.indices)
        targets = split.test.dataset.target_interactions_matrix.indices.tolist()
        assert split.protocol["untrained_targets"] == sum(item not in trained for item in targets)


@pytest.mark.parametrize(("fraction", "number"), [(0.1, 4), (0.001, 1), (0.3, 12), (np.float32(0.1), 4)])
def test_held_out_users_may_be_a_fraction(fraction, number, interactions):
    split = strong_generalization(interactions, num_valid_users=fraction, num_test_users=2, seed=1)
    assert len(split.valid.user_ids) == number
    assert len(split.test.user_ids) == 2
    assert split.protocol["num_valid_users"] == number


@pytest.mark.parametrize("value", [0.0, 1.0, -0.1, 1.5, float("nan"), "0.1", None, True, 0])
def test_neither_number_nor_fraction_is_refused(value, interactions):
    with pytest.raises(ConfigError, match=r"num_test_users is .*least 1, or a fraction of the users above 0"):
        strong_generalization(interactions, num_valid_users=2, num_test_users=value, seed=1)


def test_held_out_users_are_checked_as_they_are_made():
    dataset = RecommendationDataset(sparse.csr_matrix(np.eye(2, 3)))
    with pytest.raises(DataTypeError, match=r"user_ids is a list; pass recoder\.data\.IdMap\(user_ids\)"):
        HeldOut(dataset, ["a", "b"], IdMap([1, 2, 3]))
    with pytest.raises(ShapeError, match="item_ids are 2, but the data set has 3"):
        HeldOut(dataset, IdMap(["a", "b"]), IdMap([1, 2]))
    with pytest.raises(DataTypeError, match="dataset is a csr_matrix"):
        HeldOut(dataset.interactions_matrix, IdMap(["a", "b"]), IdMap([1, 2, 3]))
