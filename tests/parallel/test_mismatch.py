"""Processes that do not fit together say so; they do not wait for each other for ever."""

from __future__ import annotations

from parallel.launching import together

WORKER = "mismatch_worker.py"


def test_other_data_are_named_in_all_processes() -> None:
    for printed in together(WORKER, 2, "data"):
        assert "the processes differ in the users of train_dataset: 50 here, 51 there" in printed


def test_so_are_other_seeds() -> None:
    for printed in together(WORKER, 2, "seed"):
        assert "the processes differ in the seed: 0 here, 1 there" in printed


def test_without_a_seed_they_agree_on_one() -> None:
    first, second = together(WORKER, 2, "nothing")
    assert first.splitlines()[-1] == second.splitlines()[-1]
