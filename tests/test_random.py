from __future__ import annotations

import hashlib

import numpy as np
import pytest
import torch
from scipy import stats

from recoder._random import derive_seed, epoch_order, fresh_seed, uniform_hash


def splitmix64_finaliser(x):
    """The published mixing steps, in Python's unbounded integers."""
    mask = (1 << 64) - 1
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & mask
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & mask
    return x ^ (x >> 31)


def test_derived_seed_is_a_hash_of_its_parts():
    digest = hashlib.blake2b(b"7/order/3/11", digest_size=8).hexdigest()
    little_endian = int("".join(digest[i : i + 2] for i in range(14, -1, -2)), 16)
    assert derive_seed(7, "order", 3, 11) == little_endian % 2**63


def test_derived_seeds_differ_in_every_part_and_fit_every_generator():
    seeds = [
        derive_seed(seed, stream, *counters)
        for seed in (0, 1, 11, 2**63)
        for stream in ("order", "noise")
        for counters in ((), (1,), (11,), (1, 1), (1, 11), (11, 1))
    ]
    assert len(set(seeds)) == len(seeds)
    assert all(0 <= seed < 2**63 for seed in seeds)
    torch.Generator().manual_seed(max(seeds))


def test_fresh_seed_follows_the_global_seed_of_torch():
    with torch.random.fork_rng():
        torch.manual_seed(3)
        drawn = [fresh_seed() for _ in range(5)]
        torch.manual_seed(3)
        assert [fresh_seed() for _ in range(5)] == drawn
    assert len(set(drawn)) == 5
    assert all(0 <= seed < 2**31 for seed in drawn)


@pytest.mark.parametrize("size", [0, 1, 2, 1000])
def test_epoch_order_is_a_permutation(size):
    order = epoch_order(0, 1, size)
    assert order.dtype == np.int64
    assert sorted(order.tolist()) == list(range(size))


def test_epoch_order_depends_on_seed_and_epoch_alone():
    first = epoch_order(5, 2, 100)
    epoch_order(5, 3, 100)
    np.testing.assert_array_equal(epoch_order(5, 2, 100), first)
    assert not np.array_equal(epoch_order(5, 3, 100), first)
    assert not np.array_equal(epoch_order(6, 2, 100), first)


def test_hash_equals_the_published_mixing_function():
    users, items = [0, 1, 2**40, 12345], [0, 7, 2**33, 99]
    key = derive_seed(9, "uniform")
    expected = [
        (splitmix64_finaliser(splitmix64_finaliser((user + key) % 2**64) ^ item) >> 40) / 2**24
        for user, item in zip(users, items, strict=True)
    ]
    assert uniform_hash(9, torch.tensor(users), torch.tensor(items)).tolist() == expected


def grid(seed, num_users, num_items):
    return uniform_hash(seed, torch.arange(num_users)[:, None], torch.arange(num_items)[None, :])


def test_hash_is_uniform_on_small_consecutive_ids():
    drawn = grid(0, 500, 400)
    assert drawn.dtype == torch.float32
    assert drawn.min() >= 0
    assert drawn.max() < 1
    # the null hypothesis holds for a good hash: p-values are themselves uniform, and this one is fixed by the seed
    assert stats.kstest(drawn.flatten().numpy(), "uniform").pvalue > 0.001
    assert stats.kstest(drawn.mean(dim=0).numpy(), stats.norm(0.5, (1 / 12 / 500) ** 0.5).cdf).pvalue > 0.001
    assert stats.kstest(drawn.mean(dim=1).numpy(), stats.norm(0.5, (1 / 12 / 400) ** 0.5).cdf).pvalue > 0.001


def correlation(a, b):
    return np.corrcoef(a.flatten().numpy(), b.flatten().numpy())[0, 1]


def test_neighbouring_users_items_and_seeds_are_uncorrelated():
    drawn, other = grid(0, 300, 300), grid(1, 300, 300)
    limit = 5 / 300  # five standard deviations of the correlation of 90,000 independent pairs
    assert abs(correlation(drawn[1:], drawn[:-1])) < limit
    assert abs(correlation(drawn[:, 1:], drawn[:, :-1])) < limit
    assert abs(correlation(drawn, drawn.T)) < limit
    assert abs(correlation(drawn, other)) < limit


def test_hash_of_a_pair_does_not_depend_on_where_it_stands():
    drawn = grid(3, 50, 40)
    users, items = torch.tensor([49, 0, 7, 7]), torch.tensor([3, 39, 7, 7])
    assert torch.equal(uniform_hash(3, users, items), drawn[users, items])
    for user, item in zip(users, items, strict=True):
        assert uniform_hash(3, user, item) == drawn[user, item]


def test_hash_uses_no_shared_state():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        first = grid(3, 5, 5)
        torch.manual_seed(1)
        assert torch.equal(grid(3, 5, 5), first)
