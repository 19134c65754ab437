from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from torch import distributed as dist

from recoder.training.meeting import agree


def met(store: dist.Store, counts: list[int]) -> list[tuple[str, bool]]:
    """What processes with these counts of restarts come to, each in a thread."""
    with ThreadPoolExecutor(len(counts)) as pool:
        started = [
            pool.submit(agree, store, rank, len(counts), count, timeout_s=20.0)
            for rank, count in reversed(list(enumerate(counts)))
        ]
        return [each.result() for each in started]


@pytest.fixture
def store() -> dist.Store:
    return dist.HashStore()


@pytest.mark.parametrize("size", [1, 2, 5])
def test_all_have_the_same_name_and_no_earlier_start_had_it(store: dist.Store, size: int) -> None:
    starts = [met(store, [0] * size) for _ in range(3)]
    names = [{name for name, _ in start} for start in starts]
    assert [len(of_start) for of_start in names] == [1, 1, 1]
    assert len(set.union(*names)) == 3
    # the store remembers, though no agent counts
    assert [{again for _, again in start} for start in starts] == [{False}, {True}, {True}]


@pytest.mark.parametrize("counts", [[0, 1], [1, 0], [0, 0, 2]])
def test_a_restart_that_one_agent_counts_is_one_of_all(store: dist.Store, counts: list[int]) -> None:
    assert {again for _, again in met(store, counts)} == {True}


def test_what_a_start_left_that_did_not_come_about_does_no_harm(store: dist.Store) -> None:
    with ThreadPoolExecutor(2) as pool:
        alone = [pool.submit(agree, store, rank, 3, 0, timeout_s=0.2) for rank in (0, 2)]
        for each in alone:
            with pytest.raises(TimeoutError, match="did not come"):
                each.result()
    assert len({name for name, _ in met(store, [0, 0, 0])}) == 1
