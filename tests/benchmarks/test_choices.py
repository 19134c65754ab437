from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from benchmarks.choices import cli
from benchmarks.choices.alternatives import ALTERNATIVES, changed
from benchmarks.choices.page import render_page
from benchmarks.choices.trial import Outcome
from benchmarks.quality.sets import make_smoke_set

from recoder.recipes import RECIPES


def outcome(values: list[float], seconds: float = 1.0) -> Outcome:
    return Outcome(np.array(values), seconds)


@pytest.mark.parametrize("name", ALTERNATIVES)
def test_every_alternative_is_another_recipe_of_the_same_model(name: str) -> None:
    for change in ALTERNATIVES[name]:
        made = changed(name, change)
        assert made != RECIPES[name]
        assert made.make_model is RECIPES[name].make_model
        made.new_recoder(seed=0)


class TestPage:
    def test_differences_are_paired_over_users_and_seeds_are_averaged_before(self) -> None:
        # two seeds of the default: users have 0.2 and 0.6 on average; the change has 0.5 and 0.7
        default = [outcome([0.1, 0.5], 2.0), outcome([0.3, 0.7], 2.0)]
        change = [outcome([0.4, 0.7], 1.0), outcome([0.6, 0.7], 1.0)]
        text = render_page(
            {"ease": [({}, {"a": default}), ({"l2": 5.0}, {"a": change})]}, few_users=10, num_seeds=2, commit="c0ffee"
        )
        assert "| defaults | 0.4000 |" in text
        # of 0.3 and 0.1 the mean is 0.2, and its standard error 0.1414 / sqrt(2)
        assert "| l2=5.0 | +0.2000 ± 0.1000 | 0 | 0 | 0.50 |" in text
        assert "Commit c0ffee." in text

    def test_more_than_two_errors_count_as_higher_or_lower(self) -> None:
        default = {"a": [outcome([0.1, 0.2, 0.3])], "b": [outcome([0.4, 0.4, 0.4])]}
        change = {"a": [outcome([0.2, 0.31, 0.41])], "b": [outcome([0.3, 0.31, 0.29])]}
        text = render_page({"ease": [({}, default), ({"l2": 5.0}, change)]}, few_users=10, num_seeds=2, commit="")
        assert re.search(r"\| l2=5.0 \| \+0.1\d+ ± \S+ \| -0.1\d+ ± \S+ \| 1 \| 1 \| 1.00 \|", text)

    def test_what_was_not_run_is_left_open(self) -> None:
        default = {"a": [outcome([0.1, 0.2])], "b": [outcome([0.3, 0.4])]}
        change = {"a": [outcome([0.2, 0.4])], "b": []}
        text = render_page({"ease": [({}, default), ({"l2": 5.0}, change)]}, few_users=10, num_seeds=2, commit="")
        assert "| l2=5.0 | +0.1500 ± 0.0500 | - | 1 | 0 | 1.00 |" in text


class TestCommandLine:
    @pytest.fixture
    def made_up(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(cli, "DATA_SETS", {"made-up": ""})
        monkeypatch.setattr(cli, "has_set", lambda folder, name: True)
        monkeypatch.setattr(cli, "read_set", lambda folder, name: make_smoke_set(name))
        monkeypatch.setattr(cli, "ALTERNATIVES", {"ease": ({"l2": 10.0}, {"l2": 1e9})})
        monkeypatch.setattr(cli, "SEEDS", (0, 1))

    def test_trains_judges_writes_and_does_it_once(
        self, made_up: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        arguments = ["--out", str(tmp_path / "out"), "--page", str(tmp_path / "page.md"), "--processes", "1"]
        assert cli.main(arguments) == 0
        assert "[6/6] made-up, ease, l2=1000000000.0, seed 1: 0." in capsys.readouterr().err
        text = (tmp_path / "page.md").read_text()
        rows = {line.split(" | ")[0]: line.split(" | ")[1] for line in text.splitlines() if line.startswith("| ")}
        # with an endless penalty nearly all that is left is popularity
        assert float(rows["| l2=1000000000.0"].split()[0]) < -0.01
        assert float(rows["| defaults"]) > 0.1
        assert cli.main(arguments) == 0
        assert "made-up, ease" not in capsys.readouterr().err
        assert (tmp_path / "page.md").read_text() == text

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            (["--only", "nope"], "--only names nope; there are made-up"),
            (["--recipes", "nope"], "--recipes names nope; there are ease"),
        ],
    )
    def test_what_is_not_there_is_an_error(
        self, made_up: None, arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert cli.main(arguments) == 2
        assert words in capsys.readouterr().err

    def test_without_data_it_says_so(self, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
        assert cli.main(["--data", str(tmp_path)]) == 2
        assert "name the folder of the data sets" in capsys.readouterr().err
