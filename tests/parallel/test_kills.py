"""Training whose processes are killed at any moment ends by itself as if nobody had disturbed it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from benchmarks.scale.kills import (
    KILLS,
    Moment,
    differing,
    leftovers,
    moments,
    started_again,
    started_by_torchrun,
    task_of,
)

SIZES = {"users": 200, "items": 150, "factors": 16}


@pytest.fixture(scope="module", params=["items", "users"])
def undisturbed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    task = task_of(tmp_path_factory.mktemp("undisturbed") / "run", request.param, [], **SIZES)
    assert started_again(task) == 0
    return task


def assert_same(task: dict[str, Any], undisturbed: dict[str, Any]) -> None:
    assert differing(task, undisturbed) == []
    assert leftovers(task) == []
    assert len(list(Path(task["marks"]).iterdir())) == len(task["moments"])


def test_killed_at_ten_random_moments_it_ends_bit_for_bit_the_same(undisturbed, tmp_path) -> None:
    when = moments(0, undisturbed["parallel"], float(Path(undisturbed["took"]).read_text()))
    task = task_of(tmp_path / "run", undisturbed["parallel"], when, **SIZES)
    assert started_again(task) == KILLS
    assert_same(task, undisturbed)


@pytest.mark.parametrize("undisturbed", ["items"], indirect=True)
def test_torchrun_itself_starts_it_again(undisturbed, tmp_path) -> None:
    task = task_of(tmp_path / "run", undisturbed["parallel"], [Moment(1, "step", 9)], **SIZES)
    started_by_torchrun(task)
    assert_same(task, undisturbed)


@pytest.mark.parametrize("undisturbed", ["items"], indirect=True)
def test_checkpoints_of_an_earlier_run_are_not_taken_for_its_own(undisturbed, tmp_path) -> None:
    folder = tmp_path / "run"
    earlier = task_of(folder, undisturbed["parallel"], [], **{**SIZES, "users": 100}, epochs=4)
    started_again(earlier)
    task = {**undisturbed, **{name: earlier[name] for name in ("folder", "marks", "took")}}
    task["moments"] = [{"rank": 1, "what": "step", "at": 7}]
    assert started_again(task) == 1
    assert_same(task, undisturbed)
