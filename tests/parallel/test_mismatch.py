"""Processes that do not fit together say so; they do not wait for each other for ever."""

from __future__ import annotations

import pytest

from parallel.launching import together

WORKER = "mismatch_worker.py"


def test_other_data_are_named_in_all_processes() -> None:
    for printed in together(WORKER, 2, "data"):
        assert "the processes differ in the users of train_dataset: 50 here, 51 there" in printed


def test_so_are_other_seeds() -> None:
    for printed in together(WORKER, 2, "seed"):
        assert "the processes differ in the seed: 0 here, 1 there" in printed


def test_so_are_files_of_other_epochs() -> None:
    for printed in together(WORKER, 2, "epoch"):
        assert "the processes differ in the epochs that are done (of the files that they loaded): 1 here, 2" in printed


def test_so_are_other_arguments() -> None:
    for printed in together(WORKER, 2, "batch"):
        assert "the processes differ in the batch_size: 10 here, 11 there" in printed


def test_without_a_seed_they_agree_on_one() -> None:
    first, second = together(WORKER, 2, "nothing")
    assert first.splitlines()[-1] == second.splitlines()[-1]


@pytest.mark.parametrize("event", ["on_epoch_end", "on_checkpoint"])
def test_where_a_callback_ends_the_run_in_one_process_it_ends_in_all(event: str) -> None:
    first, second = (printed.splitlines()[-1].strip() for printed in together(WORKER, 2, event))
    assert first == "2 ['m_epoch_2.model']"
    assert second == "2"
