from __future__ import annotations

import json
import multiprocessing
import os
import re
from pathlib import Path

import numpy as np
import pytest
from benchmarks.choices import cli
from benchmarks.choices.alternatives import ALTERNATIVES, change_text, changed
from benchmarks.choices.page import Line, Unit, line_of, mean_of, render_page
from benchmarks.choices.trial import Outcome, Trial, TrialStore
from benchmarks.quality.cells import defaults_of
from benchmarks.quality.sets import Protocol, make_smoke_set

from recoder.data import RecommendationDataset
from recoder.recipes import RECIPES


def outcome(values: list[float], seconds: float = 1.0) -> Outcome:
    return Outcome(np.array(values), seconds)


@pytest.mark.parametrize(
    ("name", "change"), [(name, change) for name, changes in ALTERNATIVES.items() for change in changes]
)
def test_every_alternative_trains_another_recipe_of_the_same_model(name: str, change: dict[str, object]) -> None:
    made = changed(name, change)
    assert made != RECIPES[name]
    assert made.make_model is RECIPES[name].make_model
    few = RecommendationDataset(make_smoke_set("made-up").matrix[:30])
    once = {} if made.make_model(**made.model).is_solved else {"num_epochs": 1}
    made.fit(few, seed=0, **once)


class TestNumbers:
    def test_differences_are_paired_over_users_and_seeds_are_averaged_before(self) -> None:
        # two seeds of the default: users have 0.2 and 0.6 on average; the change has 0.5 and 0.7
        default = [outcome([0.1, 0.5], 2.0), outcome([0.3, 0.7], 2.0)]
        change = [outcome([0.4, 0.7], 1.0), outcome([0.6, 0.7], 1.0)]
        line = line_of("l2=5.0", change, default)
        # of 0.3 and 0.1 the mean is 0.2, and its standard error 0.1414 / sqrt(2)
        assert line.difference == pytest.approx(0.2)
        assert line.stderr == pytest.approx(0.1)
        assert line.time == pytest.approx(0.5)
        assert mean_of(default) == pytest.approx(0.4)

    def test_recipes_count_when_every_change_was_run_with_every_seed(self) -> None:
        trials = [Trial("a", "ease", change, seed) for change in ({}, {"l2": 5.0}) for seed in (0, 1)]
        found = {trial: outcome([0.1, 0.2 + 0.1 * trial.seed]) for trial in trials}
        store = TrialStore(Path("nowhere"), {"a": "split"}, Protocol(), 1)
        (unit,) = cli.units_of(found, "c0ffee", store)
        assert (unit.data_set, unit.recipe, unit.commit) == ("a", "ease", "c0ffee")
        assert unit.made_by["split"] == "split"
        assert unit.defaults == pytest.approx(0.175)
        assert [line.change for line in unit.lines] == ["l2=5.0"]
        assert cli.units_of({**found, trials[-1]: None}, "c0ffee", store) == []

    def test_outcomes_are_found_by_all_that_decides_them(self, tmp_path: Path) -> None:
        trial = Trial("a", "ease", {"l2": 5.0}, 0)
        store = TrialStore(tmp_path, {"a": "split"}, Protocol(), 1)
        store.keep(trial, outcome([0.25, 0.5], 3.0))
        kept = store.find(Trial("a", "ease", {"l2": 5.0}, 0))
        assert kept is not None
        assert (kept.values.tolist(), kept.seconds) == ([0.25, 0.5], 3.0)
        for other in (Trial("a", "ease", {"l2": 6.0}, 0), Trial("a", "ease", {"l2": 5.0}, 1)):
            assert store.find(other) is None
        for fingerprint, protocol, threads in (
            ("other", Protocol(), 1),
            ("split", Protocol(count=20), 1),
            ("split", Protocol(), 2),
        ):
            assert TrialStore(tmp_path, {"a": fingerprint}, protocol, threads).find(trial) is None


class TestPage:
    def test_shows_the_units_of_each_recipe_beside_each_other(self) -> None:
        lines = [Line("l2=5.0", 0.2, 0.05, 0.5), Line("l2=6.0", -0.02, 0.05, 1.0)]
        first = Unit("a", "ease", "c0ffee", {"l2": 1.0}, {}, 0.4, lines)
        second = Unit("b", "ease", "facade", {"l2": 1.0}, {}, 0.3, [Line("l2=5.0", -0.1, 0.01, 2.0)])
        text = render_page([first, second], {"ease": ["l2=5.0", "l2=6.0"], "als": []}, few_users=10, num_seeds=2)
        text = text.replace("\N{NO-BREAK SPACE}", " ")
        assert "| defaults |  |  |  | 0.4000 | 0.3000 |" in text
        # more than two errors count; the time is the geometric mean
        assert "| l2=5.0 | 1 | 1 | 1.00 | +0.2000 ± 0.0500 | -0.1000 ± 0.0100 |" in text
        assert "| l2=6.0 | 0 | 0 | 1.00 | -0.0200 ± 0.0500 | - |" in text
        assert "- c0ffee: ease on a\n- facade: ease on b\n" in text
        assert "## als" not in text


class TestCommandLine:
    @pytest.fixture
    def made_up(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(cli, "DATA_SETS", {"made-up": "", "absent": ""})
        monkeypatch.setattr(cli, "_SPAWN", multiprocessing.get_context("forkserver"))  # which has imported PyTorch
        monkeypatch.setattr(cli, "has_set", lambda folder, name: name == "made-up")
        monkeypatch.setattr(cli, "read_set", lambda folder, name: make_smoke_set(name))
        monkeypatch.setattr(cli, "ALTERNATIVES", {"ease": ({"l2": 10.0}, {"l2": 1e9}), "als": ()})

    @pytest.fixture
    def arguments(self, tmp_path: Path) -> list[str]:
        places = {"out": "out", "results": "results.json", "page": "page.md"}
        named = [text for option, place in places.items() for text in (f"--{option}", str(tmp_path / place))]
        return [*named, "--processes", "1", "--recipes", "ease"]

    def test_trains_judges_publishes_and_does_it_once(
        self, made_up: None, arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        threads = os.environ.get("OMP_NUM_THREADS")
        assert cli.main(arguments) == 0
        assert os.environ.get("OMP_NUM_THREADS") == threads
        assert "[3/3] made-up, ease, l2=1000000000.0, seed 0: 0." in capsys.readouterr().err
        text = (tmp_path / "page.md").read_text()
        rows = {
            line.split(" | ")[0]: line.split(" | ")[4].strip(" |")
            for line in text.splitlines()
            if line.startswith("| ")
        }
        # with an endless penalty nearly all that is left is popularity
        assert float(rows["| l2=1000000000.0"].split()[0]) < -0.01
        assert float(rows["| defaults"]) > 0.1
        assert cli.main(arguments) == 0
        assert "made-up, ease" not in capsys.readouterr().err
        assert (tmp_path / "page.md").read_text() == text

    def test_one_that_fails_stops_no_other_and_publishes_nothing(
        self,
        made_up: None,
        arguments: list[str],
        monkeypatch: pytest.MonkeyPatch,
        tmp_path: Path,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        settings = defaults_of("ease")
        made_by = TrialStore(tmp_path, {"absent": "then"}, Protocol(), 1).judges("absent")
        before = [
            {"data_set": name, "recipe": "ease", "commit": commit, "settings": of_then, "made_by": by, "defaults": 0.5}
            | {"lines": []}
            for name, commit, of_then, by in (
                ("absent", "c0ffee", settings, made_by),
                ("made-up", "facade", {"l2": 17.0}, made_by),
                ("absent", "decade", settings, made_by | {"rules": "of old"}),
            )
        ]
        (tmp_path / "results.json").write_text(json.dumps(before))
        monkeypatch.setattr(cli, "ALTERNATIVES", {"ease": ({"l2": -1.0}, {"l2": 10.0})})
        assert cli.main(arguments) == 1
        said = capsys.readouterr().err
        assert re.search(r"\[2/3\] made-up, ease, l2=-1.0, seed 0: ConfigError: l2 is -1", said)
        assert "[3/3] made-up, ease, l2=10.0, seed 0: 0." in said
        # what other defaults gave is no longer there
        left_out = "ease on made-up is left out: its defaults and split or rules of judging are others now"
        assert left_out in said
        assert "ease on absent is left out: its split or rules of judging are others now" in said
        assert json.loads((tmp_path / "results.json").read_text()) == before[:1]
        assert "- c0ffee: ease on absent\n" in (tmp_path / "page.md").read_text()

    @pytest.mark.parametrize(
        ("more", "words"),
        [
            (["--only", "absent"], "--only names absent; there are made-up"),
            (["--recipes", "nope"], "--recipes names nope; there are ease"),
        ],
    )
    def test_what_is_not_there_is_an_error(
        self, made_up: None, arguments: list[str], more: list[str], words: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert cli.main([*arguments, *more]) == 2
        assert words in capsys.readouterr().err

    def test_without_data_it_says_so(self, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
        assert cli.main(["--data", str(tmp_path)]) == 2
        assert "name the folder of the data sets" in capsys.readouterr().err


def test_changes_are_told_apart_by_their_words() -> None:
    for changes in ALTERNATIVES.values():
        assert len({change_text(change) for change in changes}) == len(changes)
