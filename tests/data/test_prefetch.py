from __future__ import annotations

import threading
import time

import pytest

from recoder.data.prefetch import prefetched

TIMEOUT_S = 10


def threads():
    return [thread for thread in threading.enumerate() if thread.name.startswith("recoder-prefetch")]


class Counting:
    """Yields 0, 1, 2, ... and remembers how many it made, and in which threads."""

    def __init__(self, stop):
        self.stop = stop
        self.made = 0
        self.makers = set()

    def __iter__(self):
        for number in range(self.stop):
            self.made += 1
            self.makers.add(threading.current_thread())
            yield number


def wait_until(is_true):
    give_up = time.monotonic() + TIMEOUT_S
    while not is_true():
        assert time.monotonic() < give_up
        time.sleep(0.001)


@pytest.mark.parametrize("ahead", [1, 2, 5])
@pytest.mark.parametrize("size", [0, 1, 2, 3, 20])
def test_every_item_comes_once_and_in_order(size, ahead):
    assert list(prefetched(iter(range(size)), ahead=ahead)) == list(range(size))
    assert not threads()


def test_items_that_are_none_or_false_are_items():
    assert list(prefetched(iter([None, False, 0, None]))) == [None, False, 0, None]


def test_items_are_made_in_one_other_thread():
    source = Counting(10)
    list(prefetched(iter(source)))
    (maker,) = source.makers
    assert maker is not threading.current_thread()


def test_nothing_is_made_before_the_first_item_is_asked_for():
    source = Counting(10)
    items = prefetched(iter(source))
    assert source.made == 0
    assert next(items) == 0
    items.close()


@pytest.mark.parametrize("ahead", [1, 3])
def test_at_most_so_many_items_are_made_in_advance(ahead):
    source = Counting(12)
    for number in prefetched(iter(source), ahead=ahead):
        expected = min(number + 1 + ahead, 12)
        wait_until(lambda expected=expected: source.made >= expected)
        time.sleep(0.002)  # time enough to make more
        assert source.made == expected


def test_an_item_is_made_while_the_one_before_is_used():
    made = threading.Event()

    def source():
        yield "first"
        made.set()
        yield "second"

    items = prefetched(source(), ahead=1)
    assert next(items) == "first"
    assert made.wait(TIMEOUT_S)
    assert list(items) == ["second"]


def test_an_error_comes_in_its_place():
    def source():
        yield 1
        yield 2
        raise ValueError("no third")

    items = prefetched(source(), ahead=5)
    assert [next(items), next(items)] == [1, 2]
    with pytest.raises(ValueError, match="no third"):
        next(items)
    assert not threads()
    assert list(items) == []


def test_closing_early_stops_the_thread():
    source = Counting(1000)
    items = prefetched(iter(source))
    assert next(items) == 0
    assert len(threads()) == 1
    items.close()
    assert not threads()
    made = source.made
    time.sleep(0.01)
    assert source.made == made <= 3


def test_an_error_of_the_user_of_the_items_stops_the_thread():
    def use():
        for _ in prefetched(iter(range(100))):
            raise KeyError("user")

    with pytest.raises(KeyError, match="user"):
        use()
    assert not threads()
