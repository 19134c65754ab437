from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import sparse

from recoder.data import IdMap, Interactions, random_holdout, strong_generalization
from recoder.data.splits.strong import held_out_groups
from recoder.errors import ConfigError, EmptyDataError


def random_interactions(num_users, num_items, density, seed):
    matrix = sparse.random(num_users, num_items, density, "csr", np.float32, np.random.default_rng(seed))
    matrix.data += 1  # weights differ, so that a test sees them follow their pairs
    users = IdMap([f"user {row}" for row in range(num_users)])
    return Interactions(matrix, users, IdMap(np.arange(num_items) * 10), tuple(f"title {c}" for c in range(num_items)))


def triples(matrix, user_ids, item_ids):
    """What a matrix says, in raw ids."""
    coo = sparse.coo_matrix(matrix)
    return set(zip(user_ids.raw_ids(coo.row), item_ids.raw_ids(coo.col), coo.data.tolist(), strict=True))


any_interactions = st.builds(
    random_interactions,
    num_users=st.integers(3, 25),
    num_items=st.integers(1, 15),
    density=st.sampled_from([0.1, 0.3, 0.7, 1.0]),
    seed=st.integers(0, 10_000),
)


def parts_of(held_out):
    return held_out.dataset.interactions_matrix, held_out.dataset.target_interactions_matrix


@given(any_interactions, st.integers(1, 4), st.integers(1, 4), st.floats(0.05, 0.95), st.integers(0, 99))
@settings(max_examples=75, deadline=None)
def test_strong_generalization_leaks_nothing_and_loses_nothing(interactions, num_valid, num_test, fold_in, seed):
    try:
        split = strong_generalization(
            interactions, num_valid_users=num_valid, num_test_users=num_test, fold_in=fold_in, seed=seed
        )
    except ConfigError:
        assume(False)
    train = split.train
    assert len(split.valid.user_ids) == num_valid == len(split.valid.dataset)
    assert len(split.test.user_ids) == num_test == len(split.test.dataset)

    everyone = [*train.user_ids.to_dict(), *split.valid.user_ids.to_dict(), *split.test.user_ids.to_dict()]
    assert sorted(everyone) == sorted(interactions.user_ids.to_dict())  # each user in one part

    # the catalogue: the items of the training users, all of them and no others
    all_triples = triples(interactions.matrix, interactions.user_ids, interactions.item_ids)
    kept = {item for user, item, _ in all_triples if user in train.user_ids}
    assert kept == set(train.item_ids.to_dict())
    assert train.titles == tuple(f"title {item // 10}" for item in train.item_ids.to_dict())

    found = triples(train.matrix, train.user_ids, train.item_ids)
    for part in (split.valid, split.test):
        history, target = parts_of(part)
        assert history.shape == target.shape == (len(part.user_ids), train.num_items)
        assert history.multiply(target).nnz == 0
        counts = np.diff(history.indptr) + np.diff(target.indptr)
        assert (counts >= 2).all()
        expected = np.clip(np.floor(fold_in * counts + 0.5), 1, counts - 1)
        np.testing.assert_array_equal(np.diff(history.indptr), expected)
        for matrix in (history, target):
            found |= triples(matrix, part.user_ids, train.item_ids)
    assert found == {triple for triple in all_triples if triple[1] in kept}


@given(any_interactions, st.floats(0.05, 0.95), st.integers(0, 99))
@settings(max_examples=100, deadline=None)
def test_random_holdout_takes_out_the_right_number_of_each_user(interactions, fraction, seed):
    assume((np.diff(interactions.matrix.indptr) >= 2).any())
    kept_interactions, held_out = random_holdout(interactions, fraction=fraction, seed=seed)
    train, dataset = kept_interactions.matrix, held_out.dataset
    target = dataset.target_interactions_matrix
    assert (dataset.interactions_matrix != train).nnz == 0
    assert train.shape == target.shape == interactions.matrix.shape
    assert train.multiply(target).nnz == 0
    assert (train + target != interactions.matrix).nnz == 0
    counts = np.diff(interactions.matrix.indptr)
    kept = np.diff(train.indptr)
    np.testing.assert_array_equal(kept[counts < 2], counts[counts < 2])
    many = counts[counts >= 2]
    np.testing.assert_array_equal(kept[counts >= 2], np.clip(np.floor((1 - fraction) * many + 0.5), 1, many - 1))


def split_triples(split):
    return [
        triples(split.train.matrix, split.train.user_ids, split.train.item_ids),
        *(
            triples(matrix, part.user_ids, split.train.item_ids)
            for part in (split.valid, split.test)
            for matrix in parts_of(part)
        ),
    ]


def test_same_seed_gives_the_same_split_and_another_seed_another():
    interactions = random_interactions(60, 20, 0.4, seed=1)
    settings_ = {"num_valid_users": 8, "num_test_users": 9}
    state = np.random.get_state()[1].copy()  # noqa: NPY002 - that nobody uses it is what is tested
    first = split_triples(strong_generalization(interactions, seed=5, **settings_))
    np.random.seed(123)  # noqa: NPY002
    assert split_triples(strong_generalization(interactions, seed=5, **settings_)) == first
    other = split_triples(strong_generalization(interactions, seed=6, **settings_))
    assert all(a != b for a, b in zip(first, other, strict=True))
    assert not np.array_equal(state, np.random.get_state()[1])  # noqa: NPY002 - the seeding above was real


def test_same_seed_gives_the_same_holdout_and_another_seed_another():
    interactions = random_interactions(30, 20, 0.4, seed=1)
    first, again, other = (random_holdout(interactions, seed=seed).train.matrix for seed in (5, 5, 6))
    assert (first != again).nnz == 0
    assert (first != other).nnz > 0


def test_how_the_rest_is_split_does_not_change_who_is_held_out():
    interactions = random_interactions(60, 20, 0.4, seed=1)
    one, two = (
        strong_generalization(interactions, num_valid_users=8, num_test_users=9, fold_in=fold_in, seed=5)
        for fold_in in (0.8, 0.5)
    )
    assert one.test.user_ids == two.test.user_ids
    assert one.valid.user_ids == two.valid.user_ids


def test_every_interaction_is_equally_likely_to_be_history():
    interactions = Interactions.from_matrix(sparse.csr_matrix(np.ones((2000, 10), np.float32)))
    split = strong_generalization(interactions, num_valid_users=1, num_test_users=1900, fold_in=0.3, seed=0)
    history, _ = parts_of(split.test)
    share = np.asarray(history.mean(axis=0)).ravel()
    # 1,900 draws at 0.3: standard deviation 0.0105
    assert np.abs(share - 0.3).max() < 5 * 0.0105


def test_every_user_is_equally_likely_to_be_held_out():
    interactions = Interactions.from_matrix(sparse.csr_matrix(np.ones((10, 4), np.float32)))
    drawn = np.zeros(10)
    for seed in range(400):
        split = strong_generalization(interactions, num_valid_users=1, num_test_users=2, seed=seed)
        drawn[split.test.user_ids.raw_ids(range(2))] += 1
    # 400 draws at 0.2: standard deviation 8
    assert np.abs(drawn - 80).max() < 5 * 8


def test_held_out_users_stand_in_the_order_of_the_data():
    split = strong_generalization(random_interactions(60, 20, 0.4, 1), num_valid_users=8, num_test_users=9, seed=5)
    rows = [int(name.split()[1]) for name in split.test.user_ids.to_dict()]
    assert rows == sorted(rows)


def test_users_with_few_interactions_are_trained_on():
    dense = np.ones((8, 6), np.float32)
    dense[:5, 3:] = 0
    split = strong_generalization(
        Interactions.from_matrix(sparse.csr_matrix(dense)),
        num_valid_users=1,
        num_test_users=1,
        min_interactions=4,
        seed=0,
    )
    assert set(range(5)) <= set(split.train.user_ids.to_dict())


def test_users_who_share_too_few_items_with_the_rest_are_trained_on():
    # user 0 has 3 items to themself and 1 in common; users 1 to 5 share items
    dense = np.zeros((6, 7), np.float32)
    dense[0, :3] = 1
    dense[:, 3] = 1
    dense[1:, 4:] = 1
    interactions = Interactions.from_matrix(sparse.csr_matrix(dense))
    for seed in range(20):
        split = strong_generalization(interactions, num_valid_users=2, num_test_users=2, seed=seed)
        assert 0 in split.train.user_ids
        assert split.train.num_items == 7


def test_users_whose_items_went_with_other_held_out_users_are_replaced():
    # pairs of users share 3 items with one another and 1 with everyone: holding both of a pair out loses the 3
    dense = np.zeros((20, 31), np.float32)
    dense[:, 30] = 1
    for pair in range(10):
        dense[2 * pair : 2 * pair + 2, 3 * pair : 3 * pair + 3] = 1
    interactions = Interactions.from_matrix(sparse.csr_matrix(dense))
    for seed in range(20):
        split = strong_generalization(interactions, num_valid_users=3, num_test_users=5, seed=seed)
        held = split.valid.user_ids.raw_ids(range(3)) + split.test.user_ids.raw_ids(range(5))
        assert len({user // 2 for user in held}) == 8  # one of each pair


def test_items_of_held_out_users_alone_are_dropped():
    dense = np.ones((4, 3), np.float32)
    dense = np.hstack([dense, np.eye(4, dtype=np.float32), np.zeros((4, 1), np.float32)])
    split = strong_generalization(
        Interactions.from_matrix(sparse.csr_matrix(dense)), num_valid_users=1, num_test_users=1, seed=3
    )
    own = [3 + user for user in split.train.user_ids.to_dict()]
    assert list(split.train.item_ids.to_dict()) == [0, 1, 2, *own]


@pytest.mark.parametrize(("num_valid", "num_test"), [(3, 4), (100, 1)])
def test_too_many_users_are_refused_naming_how_many_there_are(num_valid, num_test):
    dense = np.ones((12, 5), np.float32)
    dense[6:, 1:] = 0  # six users with a single interaction
    with pytest.raises(ConfigError, match=f"{num_valid + num_test} users are to be held out, but only 6 of 12"):
        strong_generalization(
            Interactions.from_matrix(sparse.csr_matrix(dense)),
            num_valid_users=num_valid,
            num_test_users=num_test,
            seed=0,
        )


def test_someone_is_left_to_train_on():
    everyone = Interactions.from_matrix(sparse.csr_matrix(np.ones((5, 5), np.float32)))
    with pytest.raises(ConfigError, match="only 4 of 5"):
        strong_generalization(everyone, num_valid_users=2, num_test_users=3, seed=0)
    split = strong_generalization(everyone, num_valid_users=2, num_test_users=2, seed=0)
    assert split.train.num_users == 1


@pytest.mark.parametrize(
    "change",
    [
        {"num_valid_users": 0},
        {"num_test_users": -1},
        {"fold_in": 0.0},
        {"fold_in": 1.0},
        {"fold_in": 1.5},
        {"fold_in": float("nan")},
        {"min_interactions": 1},
    ],
)
def test_arguments_out_of_range_are_refused(change):
    (name,) = change
    arguments = {"num_valid_users": 1, "num_test_users": 1, "seed": 0, **change}
    with pytest.raises(ConfigError, match=f"{name} is"):
        strong_generalization(random_interactions(9, 9, 0.9, 0), **arguments)


@pytest.mark.parametrize("fraction", [0.0, 1.0, -0.1])
def test_holdout_fraction_out_of_range_is_refused(fraction):
    with pytest.raises(ConfigError, match="fraction is"):
        random_holdout(random_interactions(9, 9, 0.9, 0), fraction=fraction, seed=0)


def test_nothing_to_hold_out_is_said():
    alone = Interactions.from_matrix(sparse.eye(4, 6, format="csr"))
    with pytest.raises(EmptyDataError, match="none of the 4 users has two interactions"):
        random_holdout(alone, seed=0)


def test_a_fraction_is_one_number():
    with pytest.raises(ConfigError, match="it must be above 0 and below 1"):
        random_holdout(Interactions.from_matrix(sparse.eye(4, 6, format="csr")), fraction=np.array([0.1, 0.2]), seed=0)


def test_one_group_of_users_can_be_held_out_alone():
    interactions = random_interactions(40, 30, 0.3, seed=1)
    train, groups, protocol = held_out_groups(interactions, {"test": 5}, seed=3)
    assert list(groups) == ["test"]
    held = groups["test"]
    assert len(held.user_ids) == 5 == protocol["num_test_users"]
    assert train.num_users == interactions.num_users - 5
    assert held.item_ids == train.item_ids
    assert not set(held.user_ids.ids.to_pylist()) & set(train.user_ids.ids.to_pylist())
