from __future__ import annotations

import signal
from itertools import chain

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from recoder._random import epoch_order
from recoder.data import Batch, RecommendationDataLoader, RecommendationDataset, UsersInteractions, loader
from recoder.errors import ConfigError

NUM_USERS, NUM_ITEMS = 23, 40


def matrix(seed, num_users=NUM_USERS):
    generator = np.random.default_rng(seed)
    return sparse.random(num_users, NUM_ITEMS, 0.05, "csr", np.float32, generator)


PLAIN = RecommendationDataset(matrix(0))
WITH_TARGET = RecommendationDataset(matrix(0), matrix(1))


def users_of(pairs):
    return [batch.users.tolist() for batch, _ in pairs]


def order_of(pairs):
    return [user for users in users_of(pairs) for user in users]


def content(batch):
    """All that a batch holds, as something that can be compared."""
    if batch is None:
        return None
    items = None if batch.items is None else batch.items.tolist()
    return batch.users.tolist(), items, batch.indices.tolist(), batch.values.tolist(), tuple(batch.size)


def contents(pairs):
    return [(content(batch), content(target)) for batch, target in pairs]


def test_pairs_are_batches_of_the_input_and_of_the_target():
    loader = RecommendationDataLoader(WITH_TARGET, 5, seed=1)
    for batch, target in loader:
        assert isinstance(batch, Batch)
        assert isinstance(target, Batch)
        assert batch.items is None
        users = batch.users.numpy()
        np.testing.assert_array_equal(target.users.numpy(), users)
        np.testing.assert_array_equal(batch.rows.to_dense().numpy(), matrix(0)[users].toarray())
        np.testing.assert_array_equal(target.rows.to_dense().numpy(), matrix(1)[users].toarray())


def test_target_is_none_where_the_data_set_has_none():
    assert all(target is None for _, target in RecommendationDataLoader(PLAIN, 5, seed=1))


@given(
    num_users=st.integers(1, 12),
    batch_size=st.integers(1, 5),
    batches_per_super_batch=st.integers(0, 4),
)
@settings(max_examples=60, deadline=None)
def test_length_is_the_number_of_batches_and_every_user_comes_once(num_users, batch_size, batches_per_super_batch):
    loader = RecommendationDataLoader(
        RecommendationDataset(matrix(0, num_users)),
        batch_size,
        negative_sampling=True,
        num_sampling_users=batches_per_super_batch * batch_size,
        seed=1,
    )
    users = users_of(loader)
    assert len(users) == len(loader)
    assert sorted(chain.from_iterable(users)) == list(range(num_users))
    assert all(len(batch) == batch_size for batch in users[:-1])


def test_order_is_a_function_of_the_seed_and_the_pass():
    loader = RecommendationDataLoader(PLAIN, 5, seed=7)
    passes = [order_of(loader) for _ in range(3)]
    assert passes == [epoch_order(7, number, NUM_USERS).tolist() for number in (1, 2, 3)]
    assert order_of(loader.epoch(2)) == passes[1]


def test_asking_for_an_epoch_is_no_pass():
    loader = RecommendationDataLoader(PLAIN, 5, seed=7)
    users_of(loader.epoch(9))
    assert users_of(loader) == users_of(loader.epoch(1))


def test_order_does_not_depend_on_sizes_or_sampling():
    expected = epoch_order(7, 1, NUM_USERS).tolist()
    for arguments in ((3,), (8, True), (4, True, 12), (100,)):
        assert order_of(RecommendationDataLoader(PLAIN, *arguments, seed=7)) == expected


def test_a_seed_that_is_not_given_follows_that_of_torch_and_is_kept():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        first = RecommendationDataLoader(PLAIN, 5)
        other = RecommendationDataLoader(PLAIN, 5)
        torch.manual_seed(0)
        again = RecommendationDataLoader(PLAIN, 5)
    assert first.seed == again.seed != other.seed
    assert users_of(first) == users_of(RecommendationDataLoader(PLAIN, 5, seed=first.seed))


def test_without_shuffling_users_come_in_order_in_every_pass():
    loader = RecommendationDataLoader(PLAIN, 5, shuffle=False)
    for _ in range(2):
        assert order_of(loader) == list(range(NUM_USERS))


@pytest.mark.parametrize("arguments", [(4,), (4, True), (4, True, 12)])
def test_worker_processes_make_the_same_batches(arguments):
    alone, helped = (
        RecommendationDataLoader(WITH_TARGET, *arguments, num_workers=workers, seed=3) for workers in (0, 2)
    )
    for _ in range(2):
        assert contents(helped) == contents(alone)


@pytest.mark.parametrize("arguments", [(4,), (4, True, 12)])
@pytest.mark.parametrize("num_workers", [0, 2])
def test_skipping_batches_is_dropping_them(arguments, num_workers):
    loader = RecommendationDataLoader(WITH_TARGET, *arguments, num_workers=num_workers, seed=3)
    whole = contents(loader.epoch(2))
    for skip in (0, 1, 3, 4, 5, 6, 7):
        assert contents(loader.epoch(2, skip=skip)) == whole[skip:]


def drawn_by_workers(seed, number):
    loader = RecommendationDataLoader(PLAIN, 23, num_workers=1, collate_fn=_draws, seed=seed)
    return [drawn for drawn, _ in loader.epoch(number)]


def _draws(interactions):
    return [float(torch.rand(()))]


def test_what_workers_draw_follows_from_the_seed_and_the_epoch():
    assert drawn_by_workers(1, 1) == drawn_by_workers(1, 1)
    assert len({drawn_by_workers(seed, number)[0] for seed in (1, 2) for number in (1, 2)}) == 4


def test_skipped_super_batches_are_not_loaded():
    loaded = []

    def collate(interactions):
        loaded.append(interactions.users.tolist())
        return [interactions.users] * 3

    loader = RecommendationDataLoader(PLAIN, 2, True, 6, collate_fn=collate, shuffle=False)
    assert len(list(loader.epoch(1, skip=7))) == 12 - 7
    assert loaded == [list(range(12, 18)), list(range(18, 23))]


@given(
    num_users=st.integers(1, 60),
    batch_size=st.integers(1, 9),
    batches_per_super_batch=st.integers(1, 5),
    data=st.data(),
)
@settings(max_examples=75, deadline=None)
def test_even_batches_are_as_many_of_nearly_equal_sizes(num_users, batch_size, batches_per_super_batch, data):
    loader, full = (
        RecommendationDataLoader(
            RecommendationDataset(matrix(0, num_users)),
            batch_size,
            negative_sampling=True,
            num_sampling_users=batches_per_super_batch * batch_size,
            seed=1,
            num_uniform_negatives=2,
            even=even,
        )
        for even in (True, False)
    )
    pairs = list(loader.epoch(3))
    assert len(pairs) == len(loader) == len(full)
    assert order_of(pairs) == order_of(full.epoch(3))
    sizes = [len(batch) for batch, _ in pairs]
    assert max(sizes) <= batch_size
    assert max(sizes) - min(sizes) <= 2  # at most 1 among super-batches, and 1 in each
    skip = data.draw(st.integers(0, len(pairs) + 1))
    assert contents(loader.epoch(3, skip=skip)) == contents(pairs[skip:])


def test_no_even_super_batch_is_a_rest():
    loader = RecommendationDataLoader(
        RecommendationDataset(matrix(0, 41)), 4, negative_sampling=True, num_sampling_users=20, seed=1, even=True
    )
    pairs = list(loader)
    candidates = [tuple(batch.items.tolist()) for batch, _ in pairs]
    # eleven batches, three super-batches: 3, 4 and 4 of them, not 5, 5 and 1
    assert [candidates.count(items) for items in dict.fromkeys(candidates)] == [3, 4, 4]
    assert sum(len(batch) for batch, _ in pairs) / 3 == pytest.approx(loader.mean_sampling_users)
    assert {len(batch) for batch, _ in pairs} == {3, 4}


def test_even_batches_need_the_loaders_own_collator():
    with pytest.raises(ConfigError, match="even needs the loader's own collate_fn"):
        RecommendationDataLoader(PLAIN, 4, collate_fn=list, even=True)


def test_candidates_are_the_items_of_the_super_batch_shared_by_its_batches():
    loader = RecommendationDataLoader(PLAIN, 4, negative_sampling=True, num_sampling_users=8, seed=3)
    batches = [batch for batch, _ in loader]
    for start in range(0, len(batches), 2):
        super_batch = batches[start : start + 2]
        users = np.concatenate([batch.users.numpy() for batch in super_batch])
        candidates = sorted(set(matrix(0)[users].indices.tolist()))
        assert 0 < len(candidates) < NUM_ITEMS
        for batch in super_batch:
            assert batch.items.tolist() == candidates
            dense = matrix(0)[batch.users.numpy()][:, candidates].toarray()
            np.testing.assert_array_equal(batch.rows.to_dense().numpy(), dense)


def test_without_num_sampling_users_a_batch_is_its_own_super_batch():
    loader = RecommendationDataLoader(PLAIN, 4, negative_sampling=True, seed=3)
    assert loader.num_sampling_users == 4
    for batch, _ in loader:
        assert batch.items.tolist() == sorted(set(matrix(0)[batch.users.numpy()].indices.tolist()))


@pytest.mark.parametrize("as_list", [False, True])
def test_a_collate_function_of_ones_own_is_called_for_input_and_target(as_list):
    def collate(interactions):
        assert isinstance(interactions, UsersInteractions)
        collated = interactions.users.tolist(), interactions.interactions_matrix.nnz
        return [collated] if as_list else Collated(collated)

    class Collated:
        def __init__(self, pair):
            self.pair = pair

    loader = RecommendationDataLoader(WITH_TARGET, 9, collate_fn=collate, shuffle=False)
    pairs = list(loader) if as_list else [(batch.pair, target.pair) for batch, target in loader]
    starts = (0, 9, 18)
    assert pairs == [
        tuple((list(range(NUM_USERS))[s : s + 9], matrix(seed)[s : s + 9].nnz) for seed in (0, 1)) for s in starts
    ]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"batch_size": 0}, "batch_size is 0"),
        ({"batch_size": 4, "num_workers": -1}, "num_workers is -1"),
        ({"batch_size": 4, "num_sampling_users": 8}, "negative_sampling is False"),
        ({"batch_size": 4, "negative_sampling": True, "num_sampling_users": 10}, "no multiple of batch_size 4; .* 8"),
        ({"batch_size": 4, "negative_sampling": True, "num_sampling_users": 2}, "no multiple of batch_size 4; .* 4"),
        ({"batch_size": 4, "negative_sampling": True, "num_sampling_users": -4}, "num_sampling_users is -4"),
    ],
)
def test_sizes_that_do_not_fit_are_errors(arguments, words):
    with pytest.raises(ConfigError, match=words):
        RecommendationDataLoader(PLAIN, **arguments)


def test_a_collate_function_that_cuts_input_and_target_differently_is_an_error():
    def collate(interactions):
        is_target = (interactions.interactions_matrix != matrix(0)[interactions.users]).nnz > 0
        return [interactions] * (1 if is_target else 2)

    loader = RecommendationDataLoader(WITH_TARGET, 100, collate_fn=collate, shuffle=False)
    with pytest.raises(ConfigError, match="2 batches for the input and 1 for the target"):
        list(loader)


def uniform(dataset, count=6, **kwargs):
    return RecommendationDataLoader(dataset, 4, True, seed=3, num_uniform_negatives=count, **kwargs)


def candidates(pairs, of_target=False):
    return [(target if of_target else batch).items.tolist() for batch, target in pairs]


def test_uniform_negatives_are_candidates_beside_those_of_the_users():
    plain = list(RecommendationDataLoader(PLAIN, 4, True, seed=3))
    drawn = []
    for few, many in zip(candidates(plain), candidates(uniform(PLAIN)), strict=True):
        assert set(few) <= set(many)
        assert len(many) <= len(few) + 6
        drawn += set(many) - set(few)
    assert len(set(drawn)) > 10  # other ones for each super-batch


def test_every_item_is_drawn_as_often_as_any_other():
    nobody_has = RecommendationDataset(sparse.csr_matrix(([1.0], ([0], [0])), (400, 10)))
    seen = np.bincount(list(chain.from_iterable(candidates(uniform(nobody_has, 1)))), minlength=10)
    assert len(uniform(nobody_has, 1)) == 100
    assert 2 <= seen[1:].min() <= seen[1:].max() <= 25


def test_where_there_is_a_target_it_alone_has_them():
    plain = RecommendationDataLoader(WITH_TARGET, 4, True, seed=3)
    assert candidates(uniform(WITH_TARGET)) == candidates(plain)
    assert candidates(uniform(WITH_TARGET), of_target=True) != candidates(plain, of_target=True)


@pytest.mark.parametrize("num_workers", [0, 1])
@pytest.mark.parametrize("skip", [0, 1, 2, 5])
def test_what_is_drawn_depends_on_seed_epoch_and_super_batch_alone(skip, num_workers):
    loader = uniform(PLAIN, num_sampling_users=8, num_workers=num_workers)
    whole = contents(loader.epoch(2))
    assert contents(loader.epoch(2, skip=skip)) == whole[skip:]
    assert contents(uniform(PLAIN, num_sampling_users=8).epoch(2)) == whole
    assert candidates(loader.epoch(1)) != candidates(loader.epoch(2))


def test_uniform_negatives_need_sampling_and_the_loaders_own_collator():
    with pytest.raises(ConfigError, match="num_uniform_negatives is 5 but negative_sampling is False"):
        RecommendationDataLoader(PLAIN, 4, num_uniform_negatives=5)
    with pytest.raises(ConfigError, match="own collate_fn"):
        uniform(PLAIN, collate_fn=lambda users: users)
    with pytest.raises(ConfigError, match="num_uniform_negatives is -1; it must be"):
        uniform(PLAIN, -1)


def test_starting_an_epoch_draws_nothing_from_the_global_generator():
    before = torch.get_rng_state()
    list(RecommendationDataLoader(PLAIN, 4, seed=3))
    assert torch.equal(torch.get_rng_state(), before)


def test_workers_leave_interrupts_to_the_process_that_trains():
    dataset = RecommendationDataset(sparse.csr_matrix(np.eye(6)))
    loader = RecommendationDataLoader(dataset, 3, num_workers=1, collate_fn=_way_of_interrupts, shuffle=False)
    assert [pair[0] for pair in loader] == [signal.SIG_IGN] * 2


def _way_of_interrupts(users):
    return signal.getsignal(signal.SIGINT)


def test_workers_are_forked_where_nobody_chose_another_way(monkeypatch):
    monkeypatch.setattr(loader.sys, "platform", "linux")
    for chosen, expected in ((None, "fork"), ("spawn", None), ("forkserver", None)):
        monkeypatch.setattr(loader.multiprocessing, "get_start_method", lambda allow_none, chosen=chosen: chosen)
        assert loader._start_method() == expected
    monkeypatch.setattr(loader.sys, "platform", "darwin")
    monkeypatch.setattr(loader.multiprocessing, "get_start_method", lambda allow_none: None)
    assert loader._start_method() is None
