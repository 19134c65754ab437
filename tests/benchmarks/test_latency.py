from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from benchmarks.__main__ import main as main_of_all
from benchmarks.speed import latency
from scipy import sparse

import recoder
from recoder.data import Interactions, strong_generalization
from recoder.errors import NotEnoughMemoryError


@pytest.fixture
def data() -> Interactions:
    return Interactions.from_matrix(sparse.random(60, 30, 0.3, "csr", np.float32, np.random.default_rng(0)))


def test_every_kind_of_request_is_timed(data: Interactions) -> None:
    split = strong_generalization(data, num_test_users=10, num_valid_users=1, seed=1)
    model = recoder.fit(split.train, "ease", seed=1)
    found = latency.latencies(model, split.train, split.test)
    assert len(found) == len(latency.COLUMNS)
    assert all(took is not None and took > 0 for took in found)


def test_the_time_of_one_call_is_divided_by_its_users(data: Interactions, monkeypatch: pytest.MonkeyPatch) -> None:
    split = strong_generalization(data, num_test_users=10, num_valid_users=1, seed=1)
    model = recoder.fit(split.train, "popularity", seed=1)
    monkeypatch.setattr(latency, "_milliseconds", lambda requests: 1000.0)
    numbers = 1, len(split.test.dataset), 1, 1, split.train.num_users, 1
    assert latency.latencies(model, split.train, split.test) == tuple(1000 / number for number in numbers)


def test_a_table_is_printed_and_a_model_that_needs_too_much_memory_left_out(
    data: Interactions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fit(train: Interactions, model: str, **settings: int) -> recoder.FittedModel:
        if model == "ease":
            raise NotEnoughMemoryError("a matrix of all pairs of items needs 9 TiB")
        return train_in_truth(train, model, **settings)

    train_in_truth = recoder.fit
    monkeypatch.setattr(recoder, "fit", fit)
    monkeypatch.setattr(latency, "read_data_set", lambda folder, name: data)
    monkeypatch.setattr(latency, "NUM_TOGETHER", 10)
    arguments = ["latency", "--data", str(tmp_path), "--only", "gowalla", "--recipes", "popularity,ease"]
    assert main_of_all(arguments) == 0
    printed = capsys.readouterr()
    assert re.search(r"^\| popularity \|( [\d.]+ \|){5} - \|$", printed.out, re.MULTILINE)
    assert "| ease" not in printed.out
    assert "Measured on 20" in printed.out
    assert "needs 9 TiB" in printed.err


def test_an_unknown_recipe_and_a_missing_folder_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (["--data", str(tmp_path), "--recipes", "magic"], ["--data", str(tmp_path / "none")]):
        with pytest.raises(SystemExit):
            main_of_all(["latency", *arguments])
        assert arguments[-1] in capsys.readouterr().err
