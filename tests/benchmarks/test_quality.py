from __future__ import annotations

import importlib
import json
import math
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from benchmarks.__main__ import main as main_of_all
from benchmarks.quality import cells, judging, running
from benchmarks.quality import cli as quality_cli
from benchmarks.quality.adopting import adopt
from benchmarks.quality.archive import pack, splits_in, unpack
from benchmarks.quality.cells import Cell, CellStore, Outcome, code_of
from benchmarks.quality.contestants import CONTESTANTS, GRID_SIZE, SMOKE_CONTESTANTS, Contestant, settings_text
from benchmarks.quality.epochs import Epochs, EpochStore, measure_epochs
from benchmarks.quality.judging import METRICS, judged, rules_of_judging
from benchmarks.quality.overview import overview_text
from benchmarks.quality.page import render_page, results_text
from benchmarks.quality.plots import draw
from benchmarks.quality.running import Runner, needed_mib
from benchmarks.quality.schedule import Schedule
from benchmarks.quality.sets import (
    DATA_SETS,
    Protocol,
    SplitFiles,
    SplitFolder,
    make_smoke_set,
    read_set,
    share_tested,
)
from benchmarks.quality.summary import (
    Entry,
    Point,
    SetResults,
    chosen_point,
    compared,
    coverage,
    entries_of,
    front_of,
    points_of,
)
from benchmarks.speed import sides, store
from benchmarks.speed.environments import RIVALS, Unavailable
from benchmarks.speed.works import OURS
from benchmarks.synthetic import Shape, make_interactions
from scipy import sparse

from recoder.data import Interactions, RecommendationDataset
from recoder.recipes import RECIPES, recipe

GRID = ({}, {"lr": 0.1}, {"lr": 0.2}, {"lr": 0.3})
MINE = Contestant("mine", OURS, "ours.py", "autoencoder", GRID, source="somewhere")
THEIRS = Contestant("implicit ALS", "implicit", "implicit_quality.py", "als", GRID, source="their manual")
TWIN = Contestant(
    "irspack DenseSLIM", "irspack", "irspack_quality.py", "slim", GRID, source="it", kin="mine", is_twin=True
)
USERS = 40


def outcome(
    valid: float, test: float, seconds: float = 1.0, *, spread: float = 0.1, others_busy: float = 0.0
) -> Outcome:
    """A measured outcome whose test users' values alternate around ``test``."""
    names = [metric.metric_name for metric in METRICS]
    values = test + spread * np.where(np.arange(USERS) % 2, 1.0, -1.0)
    return Outcome(
        "measured",
        60.0,
        numbers={
            "train_seconds": seconds,
            "recommend_seconds": 0.5,
            "peak_mib": 100.0,
            "others_busy": others_busy,
            "valid": dict.fromkeys(names, valid),
            "test": dict.fromkeys(names, test),
        },
        test_values=dict.fromkeys(names, values),
        about={
            "versions": {"torch": "1"},
            "machine": {"cores": 2, "flags": ["avx2"]},
            "commit": "abc",
        },
    )


LATE = Outcome("over time", 60.0, "more than 1 minutes")
RESULTS = SetResults(
    "some-set",
    {
        MINE: {
            (0, 0): outcome(0.30, 0.31, 1.0),
            (1, 0): outcome(0.40, 0.39, 2.0),
            (2, 0): LATE,
            (3, 0): LATE,
            (1, 1): outcome(0.40, 0.41, 4.0),
        },
        THEIRS: {
            (0, 0): outcome(0.20, 0.50, 0.5),
            (1, 0): outcome(0.35, 0.35, 2.0),
            (2, 0): LATE,
            (3, 0): LATE,
            (1, 1): outcome(0.35, 0.33, 3.0),
        },
        TWIN: {
            (0, 0): outcome(0.38, 0.38, 9.0),
            (1, 0): LATE,
            (2, 0): LATE,
            (3, 0): LATE,
            (0, 1): outcome(0.38, 0.40, 9.0),
        },
    },
)


def refuse(name: str) -> Interactions:
    raise AssertionError(f"{name} was read")


class TestContestants:
    def test_everyone_chooses_from_as_many_settings_of_which_the_first_is_the_default(self) -> None:
        for who in CONTESTANTS:
            assert len(who.grid) == (1 if who.model == "popularity" else GRID_SIZE), who.name
            assert dict(who.grid[0]) == {}
            assert len({settings_text(who, point) for point in range(len(who.grid))}) == len(who.grid)
            assert who.source

    def test_names_are_different_and_every_rival_has_an_environment_and_a_worker(self) -> None:
        assert len({who.name for who in CONTESTANTS}) == len(CONTESTANTS)
        for who in CONTESTANTS:
            assert who.is_ours or {who.environment, *who.elsewhere.values()} <= set(RIVALS)
            assert set(who.elsewhere) <= set(DATA_SETS)
            assert (running.WORKERS / who.worker).exists()

    def test_all_points_of_ours_are_settings_that_the_recipe_has(self) -> None:
        for who in (*CONTESTANTS, *SMOKE_CONTESTANTS):
            if who.is_ours:
                for settings in who.grid:
                    recipe(who.model).but(**settings)

    def test_least_squares_have_up_to_400_factors_on_each_side(self) -> None:
        names = {"als": "embedding_size", "implicit ALS": "factors", "irspack iALS": "n_components"}
        for who in CONTESTANTS:
            if who.name in names:
                assert max(settings.get(names[who.name], 0) for settings in who.grid) == 400, who.name

    def test_rivals_are_there_with_every_model_that_is_compared(self) -> None:
        rivals = {who.name for who in CONTESTANTS if not who.is_ours}
        assert rivals == {
            "implicit ALS",
            "implicit BPR",
            "irspack iALS",
            "irspack DenseSLIM",
            "irspack EDLAE",
            "recoder 0.4.0",
        }


class TestJudging:
    def held_out(self) -> RecommendationDataset:
        history = sparse.csr_matrix(np.array([[1, 0, 0, 0], [0, 1, 0, 0]], dtype=np.float32))
        target = sparse.csr_matrix(np.array([[0, 1, 0, 0], [0, 0, 1, 1]], dtype=np.float32))
        return RecommendationDataset(history, target)

    def test_lists_are_worth_what_they_find(self) -> None:
        result = judged(np.array([[2, 1, 3], [3, -1, -1]]), self.held_out())
        # one hit at the second rank of one; one hit at the first rank of two
        of_second = 1 / (1 + 1 / math.log2(3))
        np.testing.assert_allclose(result["NDCG@100"], [1 / math.log2(3), of_second])
        np.testing.assert_allclose(result["Recall@20"], [1.0, 0.5])

    def test_the_rules_have_the_same_mark_each_time_and_others_another(self, monkeypatch: pytest.MonkeyPatch) -> None:
        marks = {rules_of_judging.__wrapped__() for _ in range(2)}
        hits = judging.RecommenderEvaluator.evaluate

        def with_another_rule(*arguments: Any, **options: Any) -> Any:
            result = hits(*arguments, **options)
            result[METRICS[0]][3] += 1e-6
            return result

        monkeypatch.setattr(judging.RecommenderEvaluator, "evaluate", with_another_rule)
        assert len(marks) == 1
        assert rules_of_judging.__wrapped__() not in marks

    @pytest.mark.parametrize(
        ("lists", "why"),
        [
            ([[0, 1], [3, 2]], "1 items were recommended to users who had seen them"),
            ([[1, 2]], "1 lists came back for 2 users"),
            ([[1, 4], [3, 2]], "item 4 was recommended, but there are 4"),
        ],
    )
    def test_lists_that_break_the_rules_are_refused(self, lists: list[list[int]], why: str) -> None:
        with pytest.raises(Unavailable, match=why):
            judged(np.array(lists), self.held_out())


class TestSplits:
    def folder(self, path: Path, protocol: Protocol | None = None) -> SplitFolder:
        return SplitFolder(path, make_smoke_set, protocol or Protocol())

    def test_a_split_is_made_once_and_the_same_again(self, tmp_path: Path) -> None:
        first = self.folder(tmp_path / "a").split("made-up", 0)
        before = first.path("train").stat().st_mtime_ns
        again = self.folder(tmp_path / "a").split("made-up", 0)
        elsewhere = self.folder(tmp_path / "b").split("made-up", 0)
        assert again.path("train").stat().st_mtime_ns == before
        assert first.about == again.about == elsewhere.about

    def test_another_seed_or_protocol_is_another_split(self, tmp_path: Path) -> None:
        splits = [
            self.folder(tmp_path).split("made-up", 0),
            self.folder(tmp_path).split("made-up", 1),
            self.folder(tmp_path, Protocol(fold_in=0.5)).split("made-up", 0),
        ]
        assert len({split.about["fingerprint"] for split in splits}) == 3

    def test_where_few_have_enough_interactions_most_of_them_stay_in_training(self, tmp_path: Path) -> None:
        active = [(user, item) for user in range(40) for item in range(5)]
        others = [(40 + user, item) for user in range(160) for item in range(2)]
        users, items = zip(*active, *others, strict=True)
        counts = sparse.csr_matrix((np.ones(len(users)), (users, items)))
        splits = SplitFolder(tmp_path, lambda name: Interactions.from_matrix(counts), Protocol())
        split = splits.split("made-up", 0)
        assert (split.about["held out"], split.about["users"]) == (10, 180)
        assert share_tested(split.about) == 0.25
        # what was published before it told how many have enough
        assert share_tested({"held out": 10}) == share_tested(None) == 0.25

    def test_where_most_have_enough_interactions_the_share_of_the_test_is_of_those(self, tmp_path: Path) -> None:
        counts = sparse.csr_matrix(np.repeat([[1] * 6, [1] * 2 + [0] * 4], [80, 20], axis=0))
        splits = SplitFolder(tmp_path, lambda name: Interactions.from_matrix(counts), Protocol())
        assert share_tested(splits.split("made-up", 0).about) == 10 / 80

    @pytest.mark.parametrize(
        "file",
        [
            "src/recoder/data/interactions.py",
            "src/recoder/data/splits/strong.py",
            "src/recoder/_random.py",
            "benchmarks/real_data_runner.py",
            "benchmarks/quality/sets.py",
        ],
    )
    def test_a_split_is_made_anew_when_the_code_that_makes_it_has_changed(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str
    ) -> None:
        assert (store.PROJECT / file).exists()
        monkeypatch.setattr(store, "PROJECT", tmp_path)
        (tmp_path / file).parent.mkdir(parents=True)
        splits = []
        for source in ("A = 1", "A = 2"):
            (tmp_path / file).write_text(source)
            splits.append(self.folder(tmp_path / "splits").split("made-up", 0).about)
        assert splits[0]["made"] != splits[1]["made"]
        assert splits[0]["fingerprint"] == splits[1]["fingerprint"]

    @pytest.mark.parametrize("where", ["on disk", "published"])
    def test_what_a_split_holds_is_told_without_making_it_again(self, tmp_path: Path, where: str) -> None:
        made = self.folder(tmp_path / "a").split("made-up", 0).about
        published = {"made-up": {0: json.loads(json.dumps(made))}} if where == "published" else {}
        folder = tmp_path / ("a" if where == "on disk" else "b")
        for has in (True, False):
            splits = SplitFolder(folder, refuse, Protocol(), has=lambda name, has=has: has, published=published)
            assert splits.about("made-up", 0) == made
            assert splits.fingerprint("made-up", 0) == made["fingerprint"]

    def test_what_other_code_made_of_a_set_counts_only_where_the_set_is_not_there(self, tmp_path: Path) -> None:
        made = self.folder(tmp_path / "a").split("made-up", 0).about
        other = {**made, "made": {**made["made"], "made by": "other code"}, "fingerprint": "other"}
        published = {"made-up": {0: other}}
        absent = SplitFolder(tmp_path / "b", refuse, Protocol(), has=lambda name: False, published=published)
        assert absent.about("made-up", 0) == other
        assert absent.about("made-up", 1) is None
        assert absent.fingerprint("made-up", 1) is None
        there = SplitFolder(tmp_path / "b", make_smoke_set, Protocol(), published=published)
        assert there.about("made-up", 0) == made

    def test_a_split_that_was_made_counts_more_than_what_was_published_of_it(self, tmp_path: Path) -> None:
        made = self.folder(tmp_path / "a").split("made-up", 0).about
        published = {"made-up": {0: {**made, "fingerprint": "of other data"}}}
        splits = SplitFolder(tmp_path / "b", make_smoke_set, Protocol(), published=published)
        assert splits.fingerprint("made-up", 0) == "of other data"
        splits.split("made-up", 0)
        assert splits.fingerprint("made-up", 0) == made["fingerprint"]

    def test_a_set_that_cannot_be_read_leaves_what_was_made_before(self, tmp_path: Path) -> None:
        made = self.folder(tmp_path).split("made-up", 0)
        with pytest.raises(AssertionError):
            SplitFolder(tmp_path, refuse, Protocol(fold_in=0.5)).split("made-up", 0)
        assert made.path("train").exists()
        assert SplitFolder(tmp_path, refuse, Protocol()).split("made-up", 0).about == made.about

    def test_held_out_users_have_a_history_and_a_target_over_the_items_of_training(self, tmp_path: Path) -> None:
        split = self.folder(tmp_path).split("made-up", 0)
        train = sparse.load_npz(split.path("train"))
        assert train.shape == (split.about["users"], split.about["items"])
        for part in ("valid", "test"):
            held_out = split.held_out(part)
            assert len(held_out) == split.about["held out"] == 90
            assert held_out.num_items == train.shape[1]
            target = held_out.target_interactions_matrix
            assert target is not None
            assert min(np.diff(target.indptr).min(), np.diff(held_out.interactions_matrix.indptr).min()) > 0


class TestStore:
    def store(self, folder: Path, *, code: str = "x", threads: int = 2, split: str = "s") -> CellStore:
        return CellStore(
            folder,
            fingerprint_of=lambda name, seed: f"{split}-{name}-{seed}",
            code_of=lambda who, data_set: code,
            protocol=Protocol(),
            threads=threads,
        )

    def test_an_outcome_is_found_again_as_it_was_kept(self, tmp_path: Path) -> None:
        cell, kept = Cell("some-set", 0, MINE, 1), outcome(0.2, 0.3)
        assert self.store(tmp_path).find(cell) is None
        assert not self.store(tmp_path).has_any("some-set")
        self.store(tmp_path).keep(cell, kept)
        found = self.store(tmp_path).find(cell)
        assert found is not None
        assert found.test_values is not None
        assert kept.test_values is not None
        for name, values in kept.test_values.items():
            np.testing.assert_array_equal(found.test_values[name], values)
        assert replace(found, test_values=None) == replace(kept, test_values=None)
        assert self.store(tmp_path).has_any("some-set")
        assert not self.store(tmp_path).has_any("other-set")

    def test_a_failure_is_kept_with_its_reason(self, tmp_path: Path) -> None:
        self.store(tmp_path).keep(Cell("some-set", 0, MINE, 1), LATE)
        assert self.store(tmp_path).find(Cell("some-set", 0, MINE, 1)) == LATE

    def test_what_earlier_code_made_is_there_to_be_shown_until_the_cell_is_run_anew(self, tmp_path: Path) -> None:
        cell, first, second = Cell("some-set", 0, MINE, 1), outcome(0.2, 0.3), outcome(0.3, 0.4)
        self.store(tmp_path).keep(cell, first)
        newer = self.store(tmp_path, code="y")
        assert newer.find(cell) is None
        shown = newer.find_or_earlier(cell)
        assert shown is not None
        assert shown.is_of_earlier_code
        assert shown.numbers == first.numbers
        assert newer.path_or_earlier(cell) == self.store(tmp_path).path(cell)
        # other settings are another cell
        assert self.store(tmp_path, code="y", threads=1).find_or_earlier(cell) is None
        newer.keep(cell, second)
        shown = newer.find_or_earlier(cell)
        assert shown is not None
        assert not shown.is_of_earlier_code
        assert shown.numbers == second.numbers
        assert len(list(tmp_path.glob("*.json"))) == len(list(tmp_path.glob("*.npz"))) == 1

    @pytest.mark.parametrize("code", ["x", "y"])
    def test_a_failure_never_takes_the_place_of_numbers(self, tmp_path: Path, code: str) -> None:
        cell, measured = Cell("some-set", 0, MINE, 1), outcome(0.2, 0.3)
        assert self.store(tmp_path).keep(cell, measured)
        again = self.store(tmp_path, code=code)
        assert not again.keep(cell, Outcome("failed", 60.0, "no wheel"))
        shown = again.find_or_earlier(cell)
        assert shown is not None
        assert shown.numbers == measured.numbers
        assert shown.since == "failed: no wheel"
        assert shown.is_of_earlier_code == (code == "y")
        # with the code of today it was run, so that the benchmark goes on to the next, and the archive tells of it
        found = again.find(cell)
        assert found is not None
        assert found.kind == ("failed" if code == "y" else "measured")
        archive = tmp_path / "some-set.parquet"
        pack(archive, [path for path in [again.path_or_earlier(cell)] if path], {})
        unpack(archive, tmp_path / "again")
        assert replace(self.store(tmp_path / "again", code=code).find(cell) or LATE, test_values=None) == replace(
            found, test_values=None
        )
        assert self.store(tmp_path, code="z").find(cell) is None

    def test_a_failure_takes_the_place_of_another_one(self, tmp_path: Path) -> None:
        cell, newer = Cell("some-set", 0, MINE, 1), self.store(tmp_path, code="y")
        self.store(tmp_path).keep(cell, LATE)
        for reason in ("no wheel", "no memory"):
            assert newer.keep(cell, Outcome("failed", 60.0, reason))
        found = newer.find(cell)
        assert found is not None
        assert found.reason == "no memory"
        assert len(list(tmp_path.glob("*.json"))) == 1

    def test_whatever_decides_a_result_decides_the_file(self, tmp_path: Path) -> None:
        cell = Cell("some-set", 0, MINE, 1)
        other_settings = Contestant("mine", OURS, "ours.py", "autoencoder", ({}, {"lr": 0.7}), source="")
        paths = [
            self.store(tmp_path).path(cell),
            self.store(tmp_path, code="y").path(cell),
            self.store(tmp_path, threads=1).path(cell),
            self.store(tmp_path, split="t").path(cell),
            self.store(tmp_path).path(replace(cell, seed=1)),
            self.store(tmp_path).path(replace(cell, point=2)),
            self.store(tmp_path).path(replace(cell, contestant=other_settings)),
        ]
        assert len(set(paths)) == len(paths)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(cells, "RECIPES", {"autoencoder": RECIPES["autoencoder"].but(num_epochs=11)})
            assert self.store(tmp_path).path(cell) not in paths
            theirs = replace(cell, contestant=THEIRS)
            of_theirs = self.store(tmp_path).path(theirs)
        assert self.store(tmp_path).path(theirs) == of_theirs
        reworded = Contestant("mine", OURS, "ours.py", "autoencoder", GRID, source="another", note="a note")
        assert self.store(tmp_path).path(replace(cell, contestant=reworded)) == paths[0]

    def test_the_code_of_a_rival_is_its_worker_and_its_versions(self, tmp_path: Path) -> None:
        packages = tmp_path / "implicit" / "lib" / "python3.11" / "site-packages" / "implicit-0.7.dist-info"
        packages.mkdir(parents=True)
        seen = []
        for version in ("0.7.2", "0.7.3"):
            (packages / "METADATA").write_text(f"Metadata-Version: 2.1\nName: implicit\nVersion: {version}\n")
            seen.append(code_of(THEIRS, "any", tmp_path))
        assert [versions for _, versions in seen] == [{"implicit": "0.7.2"}, {"implicit": "0.7.3"}]
        assert seen[0][0] == seen[1][0]
        assert code_of(MINE, "any", tmp_path) == code_of(MINE, "any", tmp_path / "elsewhere")

    @pytest.mark.parametrize("name", ["version", "library"])
    def test_the_code_of_ours_is_its_sources_and_what_they_compute_with(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
    ) -> None:
        before = code_of(MINE, "any", tmp_path)
        monkeypatch.setattr(cells, name, {"version": lambda package: "0", "library": lambda: None}[name])
        assert code_of(MINE, "any", tmp_path) != before

    def test_other_rules_of_judging_are_another_result(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        cell = Cell("some-set", 0, MINE, 1)
        self.store(tmp_path).keep(cell, outcome(0.2, 0.3))
        monkeypatch.setattr(cells, "rules_of_judging", lambda: "others")
        assert self.store(tmp_path).find_or_earlier(cell) is None

    def test_a_rival_runs_elsewhere_on_the_sets_where_it_fails(self, tmp_path: Path) -> None:
        moved = replace(THEIRS, elsewhere={"large": "another"})
        assert [moved.environment_on(name) for name in ("small", "large")] == [THEIRS.environment, "another"]
        store = self.store(tmp_path)
        small, large = (Cell(name, 0, moved, 0) for name in ("small", "large"))
        assert [store.settings(cell)["environment"] for cell in (small, large)] == [THEIRS.environment, "another"]
        assert store.path(small) == store.path(replace(small, contestant=THEIRS))
        assert store.path(large) != store.path(replace(large, contestant=THEIRS))
        packages = tmp_path / "another" / "lib" / "python3.11" / "site-packages" / "implicit-0.7.dist-info"
        packages.mkdir(parents=True)
        (packages / "METADATA").write_text("Metadata-Version: 2.1\nName: implicit\nVersion: 0.7.1\n")
        with pytest.MonkeyPatch.context() as patch:
            patch.setitem(RIVALS, "another", replace(RIVALS[THEIRS.environment], name="another"))
            assert code_of(moved, "large", tmp_path)[1] == {"implicit": "0.7.1"}
            assert code_of(moved, "small", tmp_path)[1] == {}


class TestAdopting:
    WHO = Contestant("mine", OURS, "ours.py", "autoencoder", ({}, {"lr": 0.1}), source="somewhere")

    def store(self, folder: Path, code: str) -> CellStore:
        return CellStore(
            folder,
            fingerprint_of=lambda name, seed: f"{name}-{seed}",
            code_of=lambda who, data_set: code,
            protocol=Protocol(),
            threads=2,
        )

    def adopted(self, folder: Path, values: float) -> CellStore:
        """The store after today's code gave so much on one of two data sets that earlier code had run."""
        before = self.store(folder, "before")
        for name in ("small", "large"):
            for point in (0, 1):
                before.keep(Cell(name, 0, self.WHO, point), outcome(0.2 + point, 0.3))
        before.keep(Cell("large", 0, THEIRS, 0), outcome(0.2, 0.3))
        now = self.store(folder, "now")
        schedule = Schedule(now.find_or_earlier, limit_s=60.0, seeds=[0])
        adopt(lambda who: ["small"], (self.WHO, THEIRS), now, schedule, lambda cell: outcome(0.2, values, seconds=7.0))
        return now

    def found(self, store: CellStore, name: str, who: Contestant | None = None) -> Outcome:
        found = store.find_or_earlier(Cell(name, 0, who or self.WHO, 0))
        assert found is not None
        return found

    def test_what_is_computed_equally_is_taken_over_with_its_times(self, tmp_path: Path, capsys: Any) -> None:
        store = self.adopted(tmp_path, 0.3)
        assert "mine: 2 cells of small are the same; 2 others are taken over" in capsys.readouterr().err
        for name, seconds in (("small", 7.0), ("large", 1.0)):
            found = self.found(store, name)
            assert not found.is_of_earlier_code
            assert found.numbers is not None
            assert found.numbers["train_seconds"] == seconds
            assert found.test_values is not None
        about = self.found(store, "large").about
        assert about is not None
        assert about["same on"] == ["small"]
        assert self.found(store, "large", THEIRS).is_of_earlier_code
        assert len(list(tmp_path.glob("*.json"))) == len(list(tmp_path.glob("*.npz"))) == 5

    def test_where_a_value_differs_earlier_results_stay_marked(self, tmp_path: Path, capsys: Any) -> None:
        store = self.adopted(tmp_path, 0.30001)
        assert "differ, so what earlier code made stays marked" in capsys.readouterr().err
        assert not self.found(store, "small").is_of_earlier_code
        assert self.found(store, "large").is_of_earlier_code

    def test_all_sets_that_tell_are_compared_before_anything_is_taken_over(self, tmp_path: Path) -> None:
        before, now = self.store(tmp_path, "before"), self.store(tmp_path, "now")
        for name in ("small", "large", "others"):
            for point in (0, 1):
                before.keep(Cell(name, 0, self.WHO, point), outcome(0.2 + point, 0.3))
        ran = []

        def run(cell: Cell) -> Outcome:
            ran.append(cell.name)
            return outcome(0.2, 0.3 if cell.data_set == "small" else 0.4)

        schedule = Schedule(now.find_or_earlier, limit_s=60.0, seeds=[0])
        adopt(lambda who: ["small", "large"], [self.WHO], now, schedule, run)
        assert len(ran) == 4
        assert self.found(now, "others").is_of_earlier_code

    def test_who_was_run_in_part_with_todays_code_is_left_alone(self, tmp_path: Path, capsys: Any) -> None:
        before, now = self.store(tmp_path, "before"), self.store(tmp_path, "now")
        for name in ("small", "large"):
            for point in (0, 1):
                before.keep(Cell(name, 0, self.WHO, point), outcome(0.2 + point, 0.3))
        now.keep(Cell("small", 0, self.WHO, 1), outcome(0.2, 0.5))
        schedule = Schedule(now.find_or_earlier, limit_s=60.0, seeds=[0])
        adopt(lambda who: ["small"], [self.WHO], now, schedule, lambda cell: pytest.fail(f"{cell.name} was run"))
        assert "1 of 2 cells of small have no numbers of earlier code" in capsys.readouterr().err
        assert self.found(now, "large").is_of_earlier_code

    def test_a_closed_form_is_judged_on_a_set_of_each_shape(self) -> None:
        class Splits:
            def about(self, name: str, seed: int) -> dict[str, int] | None:
                sizes = {"wide": (10, 90), "long": (90, 20), "short": (90, 10), "unknown": None}[name]
                return None if sizes is None else {"users": sizes[0], "items": sizes[1]}

        splits: Any = Splits()
        ease = replace(self.WHO, model="ease")
        there = ["unknown", "wide", "long", "short"]
        assert quality_cli._telling_sets(["wide"], there, splits, ease) == ["wide", "short"]
        assert quality_cli._telling_sets(["wide"], ["wide"], splits, ease) == ["wide"]
        assert quality_cli._telling_sets(["wide"], there, splits, self.WHO) == ["wide"]

    def test_trainings_epoch_by_epoch_are_taken_over_too(self, tmp_path: Path) -> None:
        stores = [
            EpochStore(tmp_path, lambda name, code=code: {"split": name, "code": code}) for code in ("before", "now")
        ]
        epochs = Epochs((1.0, 2.0), (0.1, 0.2), (0.2, 0.3), {})
        for name in ("small", "large"):
            stores[0].keep(name, epochs)
        stores[1].take_over("small", replace(epochs, seconds=(3.0, 4.0)))
        small, large = (stores[1].find(name) for name in ("small", "large"))
        assert small is not None
        assert large is not None
        assert (small.seconds, large.seconds) == ((3.0, 4.0), (1.0, 2.0))
        assert (small.is_of_earlier_code, large.is_of_earlier_code) == (False, False)
        stores[0].keep("small", epochs)
        stores[0].keep("large", epochs)
        stores[1].take_over("small", replace(epochs, test=(0.1, 0.3)))
        after = [stores[1].find(name) for name in ("small", "large")]
        assert [each is not None and each.is_of_earlier_code for each in after] == [False, True]


class TestArchive:
    ABOUT: Mapping[int, Mapping[str, Any]] = {
        0: {"fingerprint": "a", "users": 5, "made": {"protocol": {"fold_in": 0.8}}},
        2: {},
    }

    def test_it_tells_of_the_splits_and_gives_the_cells_back(self, tmp_path: Path) -> None:
        cells = TestStore().store(tmp_path / "cells")
        kept = {Cell("some-set", 0, MINE, 0): outcome(0.2, 0.3), Cell("some-set", 0, MINE, 1): LATE}
        for cell, result in kept.items():
            cells.keep(cell, result)
        archive = tmp_path / "some-set.parquet"
        pack(archive, map(cells.path, kept), self.ABOUT)
        assert splits_in(archive) == self.ABOUT
        unpack(archive, tmp_path / "again")
        found = {cell: TestStore().store(tmp_path / "again").find(cell) for cell in kept}
        assert {cell: result and result.numbers for cell, result in found.items()} == {
            cell: result.numbers for cell, result in kept.items()
        }

    def test_one_without_a_word_of_the_splits_gives_the_cells_back(self, tmp_path: Path) -> None:
        cell, archive = Cell("some-set", 0, MINE, 0), tmp_path / "some-set.parquet"
        cells = TestStore().store(tmp_path / "cells")
        cells.keep(cell, LATE)
        pack(archive, [cells.path(cell)], self.ABOUT)
        without_splits(archive)
        assert splits_in(archive) == {}
        assert splits_in(tmp_path / "missing.parquet") == {}
        unpack(archive, tmp_path / "again")
        assert TestStore().store(tmp_path / "again").find(cell) == LATE


def without_splits(archive: Path) -> None:
    """Makes an archive one as they were before they told of the splits."""
    pq.write_table(pq.read_table(archive).replace_schema_metadata(None), archive)


class TestSchedule:
    """What is run, in a benchmark whose results are known before."""

    VALID = (0.1, 0.3, 0.2, 0.3)

    def run_all(
        self, kept: dict[tuple[int, int], Outcome], *, seeds: tuple[int, ...] = (0, 1, 2), **options: Any
    ) -> list[tuple[int, int]]:
        """Runs what is missing, and returns it as (point, seed)."""
        schedule = Schedule(
            lambda cell: kept.get((cell.point, cell.seed)), limit_s=options.pop("limit_s", 60.0), seeds=seeds, **options
        )
        ran = []
        for cell in schedule.missing(["some-set"], [MINE]):
            kept[cell.point, cell.seed] = outcome(self.VALID[cell.point], 0.5)
            ran.append((cell.point, cell.seed))
        return ran

    def test_the_grid_comes_first_and_then_the_best_of_it_with_the_other_seeds(self) -> None:
        # of two that are equally good the one nearer to the default
        assert self.run_all({}) == [(0, 0), (1, 0), (2, 0), (3, 0), (1, 1), (1, 2)]

    def test_a_stopped_run_goes_on_with_what_is_missing(self) -> None:
        kept: dict[tuple[int, int], Outcome] = {}
        everything = self.run_all(kept)
        assert self.run_all(kept) == []
        for cell in ((2, 0), (1, 2)):
            del kept[cell]
        assert self.run_all(kept) == [(2, 0), (1, 2)]
        assert kept.keys() == set(everything)

    def test_only_what_took_too_long_under_a_lower_limit_is_run_again(self) -> None:
        kept = {(0, 0): LATE}
        assert (0, 0) not in self.run_all(dict(kept))
        assert (0, 0) in self.run_all(dict(kept), limit_s=61.0)

    def test_what_failed_is_run_again_on_demand_only(self) -> None:
        kept = {(0, 0): Outcome("failed", 60.0, "no wheel")}
        assert (0, 0) not in self.run_all(dict(kept))
        assert (0, 0) in self.run_all(dict(kept), retry_kinds=("failed",))

    def test_what_ran_on_other_processors_is_run_again_on_demand_only(self) -> None:
        elsewhere = replace(outcome(0.1, 0.5), about={"machine": {"processor": "x", "flags": ["avx512f"]}})
        kept = {(0, 0): elsewhere}
        assert (0, 0) not in self.run_all(dict(kept))
        here = outcome(0.1, 0.5).machine
        assert (0, 0) in self.run_all(kept, machine=here)
        assert kept[0, 0].machine == here
        assert self.run_all(kept, machine=here) == []
        kept[1, 0] = outcome(0.3, 0.5, others_busy=0.5)
        assert self.run_all(dict(kept)) == []
        assert self.run_all(kept, machine=here) == [(1, 0)]

    def test_other_seeds_than_the_tuning_one_wait_for_the_whole_grid(self) -> None:
        kept = {(point, 0): outcome(0.1, 0.1) for point in range(3)}
        schedule = Schedule(lambda cell: kept.get((cell.point, cell.seed)), limit_s=60, seeds=(0, 1))
        assert [(cell.point, cell.seed) for cell in schedule.missing(["some-set"], [MINE])] == [(3, 0)]
        assert schedule.status_text(["some-set"], [MINE], schedule.find).splitlines()[-2:] == [
            "some-set, mine, lr=0.3, seed 0: missing",
            "3 of 4 were run",
        ]

    def test_the_status_says_of_what_is_known_whether_it_is_run_again(self) -> None:
        kept = {(0, 0): outcome(0.1, 0.1), (1, 0): LATE, (2, 0): Outcome("failed", 60.0, "no wheel")}
        of_earlier_code = replace(outcome(0.1, 0.1), is_of_earlier_code=True)
        schedule = Schedule(
            lambda cell: kept.get((cell.point, cell.seed)), limit_s=61.0, seeds=(0,), retry_kinds=("failed",)
        )
        text = schedule.status_text(["s"], [MINE], lambda cell: kept.get((cell.point, cell.seed), of_earlier_code))
        assert [line.split("seed 0: ")[-1] for line in text.splitlines()] == [
            "measured",
            "over time: more than 1 minutes, to be run again",
            "failed: no wheel, to be run again",
            "measured with earlier code, to be run again",
            "1 of 4 were run",
        ]

    def test_nobody_has_more_seeds_where_nothing_of_the_grid_was_measured(self) -> None:
        kept = {(point, 0): LATE for point in range(4)}
        assert self.run_all(kept) == []


class TestSummary:
    def test_settings_are_chosen_by_the_validation_users_not_by_the_test(self) -> None:
        assert chosen_point(RESULTS.outcomes[THEIRS]) == 1
        assert chosen_point({(0, 0): LATE}) is None
        assert chosen_point({(0, 1): outcome(0.9, 0.9), (1, 0): outcome(0.1, 0.1)}) == 1

    def test_entries_stand_in_the_order_of_their_mean_over_all_seeds(self) -> None:
        entries = entries_of(RESULTS)
        assert [entry.contestant.name for entry in entries] == ["mine", "irspack DenseSLIM", "implicit ALS"]
        mine = entries[0]
        assert mine.over_users("NDCG@100").value == pytest.approx(0.40)
        values = np.concatenate([0.39 + 0.1 * np.resize([-1, 1], USERS), 0.41 + 0.1 * np.resize([-1, 1], USERS)])
        assert mine.over_users("NDCG@100").stderr == pytest.approx(values.std(ddof=1) / math.sqrt(2 * USERS))
        assert mine.over_seeds("train_seconds").value == 3.0
        assert mine.over_seeds("train_seconds").stderr == pytest.approx(1.0)

    def test_a_paired_difference_is_the_mean_over_the_users_of_the_seeds_that_both_have(self) -> None:
        mine, twin, theirs = entries_of(RESULTS)
        paired, of_seeds = compared(mine, theirs)
        assert of_seeds == pytest.approx([0.04, 0.08])
        # 0.04 with seed 0, 0.08 with seed 1, the same for all users of each
        assert paired.difference == pytest.approx(0.06)
        assert paired.stderr == pytest.approx(np.resize([0.04, 0.08], 2 * USERS).std(ddof=1) / math.sqrt(2 * USERS))
        assert paired.low < 0.06 < paired.high
        only = replace(twin, outcomes={0: twin.outcomes[0]})
        assert len(compared(mine, only)[1]) == 1

    def test_users_of_several_seeds_make_errors_larger(self) -> None:
        apart, shared = (entries_of(replace(RESULTS, share_tested=share)) for share in (0.0, 0.25))
        # as if each user of a share of a quarter of the tests of two seeds gave the same value twice
        larger = math.sqrt(1.25)
        assert shared[0].over_users("NDCG@100").stderr == pytest.approx(larger * apart[0].over_users("NDCG@100").stderr)
        before, after = (compared(entries[0], entries[2])[0] for entries in (apart, shared))
        assert after.difference == before.difference
        assert after.stderr == pytest.approx(larger * before.stderr)
        assert after.high - after.low == pytest.approx(larger * (before.high - before.low))
        assert after.high + after.low == pytest.approx(2 * after.difference)
        one_seed = [replace(entry, outcomes={0: entry.outcomes[0]}) for entry in (apart[2], shared[2])]
        assert len({entry.over_users("NDCG@100").stderr for entry in one_seed}) == 1

    def test_errors_are_right_for_users_who_are_the_same_in_every_seed(self) -> None:
        """Three tests of 25 of 100 users each, again and again with other users."""
        random = np.random.default_rng(0)
        means, told = [], []
        for _ in range(1_000):
            users = random.normal(size=100)
            tests = [replace(LATE, test_values={"NDCG@100": random.permutation(users)[:25]}) for _ in range(3)]
            mean = Entry(MINE, 0, dict(enumerate(tests)), 4, 4, share_tested=0.25).over_users("NDCG@100")
            means.append(mean.value)
            told.append(mean.stderr)
        assert np.mean(told) == pytest.approx(np.std(means), rel=0.05)
        # without the repeats they would be a fifth too small
        assert np.mean(told) / math.sqrt(1.5) < 0.87 * np.std(means)

    def test_a_front_is_what_no_other_beats_in_both(self) -> None:
        seconds_and_quality = [(1, 0.1), (2, 0.3), (2, 0.2), (3, 0.3), (4, 0.25), (5, 0.4)]
        points = [
            Point(MINE, at, outcome(0.1, quality, seconds)) for at, (seconds, quality) in enumerate(seconds_and_quality)
        ]
        assert [point.point for point in front_of(points)] == [0, 1, 5]

    @pytest.mark.parametrize(
        ("seconds", "quality", "is_covered"),
        [
            (2.0, 0.3, True),
            (2.0, 0.30009, True),
            (2.0, 0.3002, False),
            (1.91, 0.3, True),  # ours takes 4.7 % longer
            (1.9, 0.3, False),
            (1.0, 0.1, True),
            (0.5, 0.01, False),
        ],
    )
    def test_a_rival_is_covered_by_one_of_ours_that_is_as_quick_and_as_good(
        self, seconds: float, quality: float, is_covered: bool
    ) -> None:
        ours = [outcome(0.1, 0.1, 1.0), outcome(0.1, 0.3, 2.0), outcome(0.1, 0.9, 50.0)]
        points = [Point(MINE, at, each) for at, each in enumerate(ours)]
        [covered] = coverage([*points, Point(THEIRS, 0, outcome(0.1, quality, seconds))])
        assert (covered.no_lower is not None) == is_covered

    def test_of_ours_that_are_as_quick_the_best_of_the_validation_users_is_compared(self) -> None:
        ours = [outcome(0.2, 0.2, 1.0), outcome(0.3, 0.25, 2.0), outcome(0.1, 0.4, 2.0), outcome(0.9, 0.9, 50.0)]
        points = [Point(MINE, at, each) for at, each in enumerate(ours)]
        none, covered = coverage(
            [*points, *(Point(THEIRS, 0, outcome(0.1, 0.3, seconds, spread=0.2)) for seconds in (0.5, 2.0))]
        )
        assert (none.ours, none.paired, none.no_lower) == (None, None, None)
        assert (covered.ours, covered.no_lower) == (points[1], points[2])
        assert covered.paired is not None
        assert covered.paired.difference == pytest.approx(-0.05)
        assert covered.paired.low < -0.05 < covered.paired.high

    def test_points_are_those_of_the_tuning_seed(self) -> None:
        points = {(point.contestant.name, point.point): point.quality for point in points_of(RESULTS)}
        assert points["mine", 1] == 0.39
        assert len(points) == 5


class TestPage:
    def facts(self) -> dict[str, Any]:
        split = {"users": 8_000, "items": 900, "interactions": 70_000, "held out": 1_000}
        return {
            "protocol": Protocol(),
            "threads": 2,
            "seeds": [0, 1, 2],
            "contestants": [MINE, THEIRS, TWIN],
            "used": {"some-set": "all of it"},
            "splits": {"some-set": split},
            "epochs": {},
        }

    def page(self) -> str:
        return render_page([RESULTS], self.facts(), images="../docs/images", pictures={"some-set": "quality-s.png"})

    def rows(self, text: str, start: str) -> list[list[str]]:
        """The cells of the lines that start so."""
        return [
            [cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith(start)
        ]

    def test_the_table_is_sorted_by_quality_and_shows_means_and_errors(self) -> None:
        table = results_text(RESULTS).split("###")[0]
        rows = self.rows(table, "| ")[2:]
        assert [row[0] for row in rows] == ["**mine**", "irspack DenseSLIM", "implicit ALS"]
        assert rows[0][1:4] == ["best of 2 of 4 settings, 2 without numbers: lr=0.1", "2", "3 ± 1"]
        assert rows[0][6].startswith("0.4000 ± 0.01")

    def test_our_best_of_the_validation_users_is_compared_with_every_rival(self) -> None:
        pairs = results_text(RESULTS).split("###")[1]
        assert "Ours is **mine** (lr=0.1)" in pairs
        [theirs] = self.rows(pairs, "| implicit ALS")
        assert theirs[2] == "+0.0600"
        assert theirs[-1] == "higher"
        [twin] = self.rows(pairs, "| irspack DenseSLIM")
        assert twin[-1] == "higher"

    def test_a_tie_of_the_same_closed_form_is_said(self) -> None:
        same = {key: outcome(0.38, 0.39, spread=0.3) for key in ((0, 0), (1, 0), (2, 0), (3, 0))}
        results = replace(RESULTS, outcomes={**RESULTS.outcomes, TWIN: same})
        [twin] = self.rows(results_text(results).split("###")[1], "| irspack DenseSLIM")
        assert twin[-1] == "no difference shown, the same closed form"

    def test_the_first_table_has_our_best_beside_the_best_of_the_others(self) -> None:
        overview, _ = self.page().split("## How it was measured")
        assert "Ours is higher than the best rival on 1 of 1 data sets; on none it is lower." in overview
        [row] = self.rows(overview, "| some-set")
        assert row[1:4] == ["mine (best of 2 of 4 settings, 2 without numbers: lr=0.1)", "3", "0.4000"]
        assert row[4].startswith("irspack DenseSLIM (")
        assert row[-2:] == ["+0.0100 to +0.0100", "higher"]
        better = {(point, 0): outcome(0.38, 0.5) for point in range(4)}
        other = replace(RESULTS, outcomes={**RESULTS.outcomes, TWIN: better})
        assert "on 1 of 2 data sets; **on 1 it is lower**." in overview_text([RESULTS, other], [MINE, THEIRS, TWIN])

    def test_nothing_is_overviewed_where_nothing_can_be_compared(self) -> None:
        page = render_page([self.without(MINE, 3)], self.facts(), images="", pictures={})
        assert "best rival" not in page

    def without(self, contestant: Contestant, *points: int) -> SetResults:
        """The results, but for some points of a contestant's grid."""
        rest = {key: result for key, result in RESULTS.outcomes[contestant].items() if key[0] not in points}
        return replace(RESULTS, outcomes={**RESULTS.outcomes, contestant: rest})

    @pytest.mark.parametrize(
        ("points", "num_run", "reason"),
        [((3,), 3, "1 of its 4 settings is not run"), ((2, 3), 2, "2 of its 4 settings are not run")],
    )
    def test_whoever_has_not_run_the_whole_grid_is_shown_and_not_compared(
        self, points: tuple[int, ...], num_run: int, reason: str
    ) -> None:
        entries, pairs, *_, every_point = results_text(self.without(THEIRS, *points)).split("### ")
        [entry] = self.rows(entries, "| implicit ALS")
        without = num_run - 2
        said = f", {without} without numbers" if without else ""
        assert entry[1] == f"best of 2 of 4 settings{said}: lr=0.1"
        assert entry[6].startswith("0.3400 ±")
        [pair] = self.rows(pairs, "| implicit ALS")
        assert pair[2:] == ["-", "-", "-", f"not compared: {reason}"]
        [twin] = self.rows(pairs, "| irspack DenseSLIM")
        assert len(twin[4].split(", ")) == 2
        chosen = [row[0] for row in self.rows(every_point, "| ") if row[-1] == "chosen"]
        assert chosen == ["**mine**", "irspack DenseSLIM"]

    def test_our_best_is_one_that_has_run_its_whole_grid(self) -> None:
        other = Contestant("other", OURS, "ours.py", "ease", ({},), source="somewhere")
        results = self.without(MINE, 3)
        results = replace(results, outcomes={**results.outcomes, other: {(0, 0): outcome(0.3, 0.3)}})
        assert "Ours is **other** (default)" in results_text(results)
        assert "Nothing to compare." in results_text(self.without(MINE, 3))

    def test_the_same_model_of_both_is_compared_where_both_have_run_their_grids(self) -> None:
        [text] = [part for part in results_text(RESULTS).split("### ") if part.startswith("The same model")]
        [row] = self.rows(text, "| irspack DenseSLIM")
        assert row[2:4] == ["9", "0.3900"]
        assert row[4:9] == ["**mine**", "best of 2 of 4 settings, 2 without numbers: lr=0.1", "3", "0.4000", "3.0"]
        assert row[-2:] == ["+0.0100 to +0.0100", "higher"]
        assert not self.rows(text, "| implicit ALS")
        for results in (self.without(MINE, 3), self.without(TWIN, 3)):
            assert "The same model" not in results_text(results)

    def test_rivals_that_are_not_counted_are_said_beside_the_first_table(self) -> None:
        without = replace(RESULTS, name="other", outcomes={MINE: RESULTS.outcomes[MINE], THEIRS: {}})
        everyone = [MINE, THEIRS, TWIN]
        assert "not counted" not in overview_text([RESULTS], everyone)
        assert "implicit BPR on some-set." in overview_text(
            [RESULTS], [*everyone, replace(THEIRS, name="implicit BPR")]
        )
        text = overview_text([RESULTS, self.without(THEIRS, 3), without], everyone)
        assert ("not counted: implicit ALS on some-set; implicit ALS and irspack DenseSLIM on other.\n") in text

    def test_points_that_we_do_not_cover_are_said(self) -> None:
        text = results_text(RESULTS).split("###")[2]
        assert (
            "Ours is higher than 2 of 3 points; none is higher than ours; **for 1 none of ours is as quick**.\n" in text
        )
        assert "than 2 of the 3.\n" in text
        [uncovered] = [row for row in self.rows(text, "| implicit ALS") if "**none**" in row]
        assert uncovered[:4] == ["implicit ALS", "default", "0.5", "0.5000"]

    def test_covered_points_that_rest_on_a_time_that_is_marked_are_counted(self) -> None:
        marked = {
            (0, 0): replace(outcome(0.2, 0.2, 3.0), is_of_earlier_code=True),
            (1, 0): outcome(0.2, 0.2, 3.0, others_busy=0.4),
            (2, 0): outcome(0.2, 0.2, 3.0),
            (3, 0): outcome(0.2, 0.9, 0.1, others_busy=0.4),  # not covered
        }
        results = replace(RESULTS, outcomes={MINE: RESULTS.outcomes[MINE], THEIRS: marked})
        assert "as quick**. 2 rest on a time that is marked.\n" in results_text(results).split("### ")[2]
        ours = {**RESULTS.outcomes[MINE], (1, 0): outcome(0.4, 0.39, 2.0, others_busy=0.4)}
        results = replace(RESULTS, outcomes={MINE: ours, THEIRS: marked})
        assert "as quick**. 3 rest on a time that is marked.\n" in results_text(results).split("### ")[2]

    def test_where_the_choice_by_validation_is_not_as_good_another_one_is_named(self) -> None:
        ours = {(0, 0): outcome(0.4, 0.3, spread=0.2), (1, 0): outcome(0.3, 0.4), (2, 0): LATE, (3, 0): LATE}
        results = replace(RESULTS, outcomes={MINE: ours, THEIRS: {(0, 0): outcome(0.2, 0.35)}})
        text = results_text(results).split("### ")[2]
        assert "Ours is higher than 0 of 1 points; **1 are higher than ours**.\n" in text
        assert "than 1 of the 1, not always the one below: for implicit ALS (default) it is mine (lr=0.1)." in text
        [row] = self.rows(text, "| implicit ALS")
        assert row[4:8] == ["**mine**", "default", "1", "0.3000"]
        assert (row[8], row[-1]) == ("-0.0500", "**lower**")

    def test_what_has_no_numbers_is_there_with_its_reason(self) -> None:
        text = results_text(RESULTS).split("###")[-1]
        reasons = [row[-1] for row in self.rows(text, "| **mine**") if row[3] == "-"]
        assert reasons == ["over time: more than 1 minutes"] * 2
        assert sum(row[-1] == "chosen" for row in self.rows(text, "| ")) == 3

    def test_whoever_has_no_numbers_at_all_ends_the_table_with_the_reason(self) -> None:
        too_large = Outcome("no memory", 60.0, "needs about 64.0 GiB")
        results = replace(RESULTS, outcomes={TWIN: {(0, 0): too_large, (1, 0): too_large}, MINE: {(0, 0): LATE}})
        rows = self.rows(results_text(results).split("###")[0], "| ")[2:]
        assert rows == [
            ["irspack DenseSLIM", "no memory: needs about 64.0 GiB", "0", *["-"] * 6],
            ["**mine**", "over time: more than 1 minutes", "0", *["-"] * 6],
        ]

    def test_the_page_tells_protocol_grids_sources_and_what_it_was_measured_on(self) -> None:
        page = self.page()
        assert "seeds 0, 1 and 2" in page
        assert "at least 5 interactions" in page
        assert "![some-set: training time against NDCG@100](../docs/images/quality-s.png)" in page
        assert "8,000 users in training, 900 items, 70,000 interactions; 1,000 users for validation" in page
        assert "which are at most 0.0% of those" in page
        told = {**self.facts(), "splits": {"some-set": {**self.facts()["splits"]["some-set"], "with enough": 8_000}}}
        shared = replace(RESULTS, share_tested=0.125)
        assert "which are 12.5% of those" in render_page([shared], told, images="", pictures={})
        [grid] = self.rows(page, "| implicit ALS | default; ")
        assert grid[1:3] == ["default; lr=0.1; lr=0.2; lr=0.3", "their manual"]
        assert self.rows(page, "| commit |") == [["commit", "abc"]]
        assert self.rows(page, "| cores |") == [["cores", "2"]]
        assert not any(line != line.rstrip() for line in page.splitlines())

    def test_the_minutes_are_those_that_the_trainings_had(self) -> None:
        longer = {point: replace(result, limit_s=3600.0) for point, result in RESULTS.outcomes[THEIRS].items()}
        both = replace(RESULTS, outcomes={**RESULTS.outcomes, THEIRS: longer})
        assert "2 threads and 1 minutes, one" in self.page()
        assert "2 threads and 1 or 60 minutes, one" in render_page([both], self.facts(), images="", pictures={})
        assert "2 threads, one" in render_page([], self.facts(), images="", pictures={})

    def test_what_was_not_run_on_a_set_is_listed(self) -> None:
        outcomes = {MINE: {(0, 0): outcome(0.1, 0.1), (1, 0): outcome(0.1, 0.1)}}
        page = render_page(
            [RESULTS, SetResults("other", outcomes)], self.facts_of("some-set", "other"), images="", pictures={}
        )
        assert (
            "\nNot run on other: **mine** (2 of its 4 settings), implicit ALS (all of its 4 settings), "
            "irspack DenseSLIM (all of its 4 settings).\n" in page
        )

    def test_seeds_that_are_missing_are_listed(self) -> None:
        page = render_page([RESULTS], self.facts(), images="", pictures={})
        assert "\nNot run on some-set: **mine** (seed 2), implicit ALS (seed 2), " in page

    def facts_of(self, *names: str) -> dict[str, Any]:
        return {**self.facts(), "used": dict.fromkeys(names, "all of it")}

    def test_results_of_two_machines_are_not_passed_off_as_one(self) -> None:
        elsewhere = replace(outcome(0.1, 0.1), about={"versions": {}, "machine": {"cores": 64}, "commit": "def"})
        other = SetResults("some-set", {MINE: {(0, 0): outcome(0.1, 0.1), (1, 0): elsewhere}})
        page = render_page([other], self.facts(), images="", pictures={})
        assert self.rows(page, "| cores |") == [["cores", "2 / 64"]]
        assert self.rows(page, "| commit |") == [["commit", "abc / def"]]

    def test_trainings_that_had_not_the_machine_to_themselves_are_marked_wherever_their_seconds_stand(self) -> None:
        alone, disturbed = outcome(0.1, 0.1, 2.0), outcome(0.2, 0.2, 3.0, others_busy=0.4)
        results = SetResults("some-set", {MINE: {(0, 0): alone, (1, 0): disturbed}, THEIRS: {(0, 0): disturbed}})
        entries, _, covered, points = results_text(results).split("### ")
        assert [row[3] for row in self.rows(entries, "| ")[2:]] == ["3†", "3†"]
        assert [row[2] for row in self.rows(covered, "| implicit")] == ["3†"]
        assert [row[3] for row in self.rows(points, "| ")[2:]] == ["2", "3†", "3†"]
        assert "Those marked † had not the\n  machine to themselves" in self.page()

    def test_what_ran_on_other_processors_than_most_of_ours_is_marked(self) -> None:
        elsewhere = replace(outcome(0.2, 0.2, 3.0), about={"machine": {"processor": "x", "flags": ["avx512f"]}})
        here = {(0, 0): outcome(0.1, 0.1, 2.0), (1, 0): outcome(0.1, 0.1, 2.5)}
        results = SetResults("some-set", {MINE: {**here, (2, 0): elsewhere}, THEIRS: {(0, 0): elsewhere}})
        entries, _, covered, points = results_text(results).split("### ")
        assert [row[3] for row in self.rows(entries, "| ")[2:]] == ["3‡", "3‡"]
        assert [row[2] for row in self.rows(covered, "| implicit")] == ["3‡"]
        assert [row[3] for row in self.rows(points, "| ")[2:]] == ["2", "2.5", "3‡", "3‡"]

    def test_what_earlier_code_made_is_marked(self) -> None:
        earlier = replace(outcome(0.2, 0.2, 3.0), is_of_earlier_code=True)
        results = SetResults("some-set", {MINE: {(0, 0): outcome(0.1, 0.1, 2.0), (1, 0): earlier}})
        assert [row[3] for row in self.rows(results_text(results).split("### ")[-1], "| ")[2:]] == ["2", "3§"]

    @pytest.mark.parametrize(
        ("seconds", "quality", "end"), [(2.0, 0.3, ["10.0", "yes"]), (40.0, 0.29, ["0.5", "**no**"])]
    )
    def test_the_recipe_stands_beside_the_old_manual_s_settings(
        self, seconds: float, quality: float, end: list[str]
    ) -> None:
        old, new = (next(who for who in CONTESTANTS if who.name == name) for name in ("recoder 0.4.0", "autoencoder"))
        both = {
            old: {(0, 0): outcome(0.2, 0.3, 20.0), (1, 0): outcome(0.1, 0.5, 1.0)},
            new: {(0, 0): outcome(0.2, quality, seconds), (1, 0): outcome(0.1, 0.1, 0.1)},
        }
        [text] = [part for part in results_text(SetResults("s", both)).split("### ") if part.startswith("In the place")]
        assert [row[-2:] for row in self.rows(text, "| ")[2:]] == [["1", "-"], end]
        # another point of theirs, where that is better
        both[old][1, 0] = outcome(0.5, 0.5, 5.0)
        [text] = [part for part in results_text(SetResults("s", both)).split("### ") if part.startswith("In the place")]
        assert [row[-2:] for row in self.rows(text, "| ")[2:]] == [["1", "-"], ["4.0", "yes"], end]
        assert "In the place" not in results_text(SetResults("s", {new: both[new]}))

    def test_the_recipe_s_first_epoch_that_is_as_good_is_named(self) -> None:
        old, new = (next(who for who in CONTESTANTS if who.name == name) for name in ("recoder 0.4.0", "autoencoder"))
        both = {old: {(0, 0): outcome(0.2, 0.3, 20.0)}, new: {(0, 0): outcome(0.2, 0.5, 10.0)}}
        epochs = Epochs((0.5, 1.0, 1.5), (0.1, 0.2, 0.3), (0.1, 0.31, 0.4), {}, is_of_earlier_code=True)
        text = results_text(SetResults("s", both), epochs)
        assert "| **autoencoder** | default, after epoch 2 of 3 | 1§ | 0.3100 | 20.0 | yes |" in text
        text = results_text(SetResults("s", both), replace(epochs, test=(0.1, 0.29, 0.4)))
        assert "| **autoencoder** | default, after epoch 2 of 3 | 1§ | 0.2900 | 20.0 | **no** |" in text
        for none in (Epochs((1.0,), (0.1,), (0.5,), {}), None):
            assert "after epoch" not in results_text(SetResults("s", both), none)

    def test_a_picture_is_drawn_of_any_number_of_points(self, tmp_path: Path) -> None:
        points = points_of(RESULTS)
        for number in (1, len(points)):
            draw("title", points[:number], [(MINE, 1)], tmp_path / "p.png")
            assert (tmp_path / "p.png").read_bytes().startswith(b"\x89PNG")


class TestEpochs:
    def test_what_is_kept_is_found_and_code_that_changed_is_said(self, tmp_path: Path) -> None:
        settings = {"code": "now", "split": "one"}
        store = EpochStore(tmp_path, lambda name: dict(settings))
        assert store.find("a") is None
        store.keep("a", Epochs((1.0, 2.0), (0.1, 0.2), (0.2, 0.3), {"commit": "abc"}))
        assert store.find("a") == Epochs((1.0, 2.0), (0.1, 0.2), (0.2, 0.3), {"commit": "abc"})
        settings["code"] = "later"
        found = store.find("a")
        assert found is not None
        assert found.is_of_earlier_code
        settings["split"] = "another"
        assert store.find("a") is None

    @pytest.mark.slow
    def test_each_epoch_is_judged_and_the_last_is_the_training_of_the_cell(self, tmp_path: Path) -> None:
        few = Interactions.from_matrix(make_interactions(Shape(300, 200, mean_interactions=20, num_tastes=6)))
        split = SplitFolder(tmp_path / "splits", lambda name: few, Protocol()).split("made-up", 0)
        runner = Runner(
            environments=tmp_path,
            logs=tmp_path / "logs",
            protocol=Protocol(),
            threads=1,
            limit_s=120.0,
            may_install=False,
            about={"commit": "abc"},
        )
        successor = next(who for who in CONTESTANTS if who.name == "autoencoder")
        whole = runner.run(Cell("made-up", 0, successor, 0), split)
        assert whole.numbers is not None, whole.reason
        epochs = measure_epochs(split, runner, "made-up")
        assert len(epochs.seconds) == len(epochs.valid) == len(epochs.test) == 10
        assert list(epochs.seconds) == sorted(epochs.seconds)
        assert epochs.valid[-1] == pytest.approx(whole.numbers["valid"]["NDCG@100"], abs=1e-3)
        assert epochs.test[-1] == pytest.approx(whole.numbers["test"]["NDCG@100"], abs=1e-3)
        assert epochs.first_with(epochs.valid[-1]) is not None
        assert epochs.first_with(1.1) is None


class TestRunner:
    """A cell in a process of its own, of workers that are written here."""

    @pytest.fixture
    def split(self, tmp_path: Path) -> SplitFiles:
        return SplitFolder(tmp_path / "splits", make_smoke_set, Protocol()).split("made-up", 0)

    def run(self, split: SplitFiles, folder: Path, code: str, *, limit_s: float = 60.0, **settings: Any) -> Outcome:
        (folder / "worker.py").write_text(code)
        who = Contestant("mine", OURS, str(folder / "worker.py"), "m", ({"a": 1},), source="", **settings)
        runner = Runner(
            environments=folder,
            logs=folder / "logs",
            protocol=Protocol(),
            threads=1,
            limit_s=limit_s,
            may_install=False,
            about={"commit": "abc"},
            available=lambda: 1_000.0,
        )
        return runner.run(Cell("made-up", 0, who, 0), split)

    LISTS = """
import sys
sys.path.insert(0, {workers!r})
import numpy as np
from cell import serve_cells, top_unseen

def fit(task, train):
    assert task["settings"] == {{"a": 1}} and task["seed"] == 0 and task["threads"] == 1
    popular = np.asarray(train.sum(axis=0), dtype=float).ravel()
    def rank(users, histories):
        {check}
        return top_unseen(np.tile(popular, (len(users), 1)), histories, task["count"])
    return rank

serve_cells(fit, ("numpy",))
"""

    def code(self, check: str = "pass") -> str:
        return self.LISTS.format(workers=str(running.WORKERS), check=check)

    def test_what_a_worker_ranks_is_judged_on_both_groups(self, split: SplitFiles, tmp_path: Path) -> None:
        result = self.run(split, tmp_path, self.code())
        assert result.kind == "measured", result.reason
        assert result.numbers is not None
        assert result.test_values is not None
        assert result.about is not None
        # most popular first, by hand
        train = sparse.load_npz(split.path("train"))
        held_out = split.held_out("test")
        scores = np.tile(np.asarray(train.sum(axis=0)).ravel().astype(float), (len(held_out), 1))
        scores[held_out.interactions_matrix.nonzero()] = -1
        target = held_out.target_interactions_matrix
        assert target is not None
        best = np.argsort(-scores, axis=1, kind="stable")[:, :20]
        hits = np.take_along_axis(target.toarray(), best, axis=1).sum(axis=1)
        # ties of popularity can fall either way
        np.testing.assert_allclose(
            result.test_values["Recall@20"].mean(), np.mean(hits / np.minimum(np.diff(target.indptr), 20)), atol=0.02
        )
        assert result.numbers["test"]["NDCG@100"] == pytest.approx(result.test_values["NDCG@100"].mean())
        assert result.numbers["train_seconds"] >= 0
        assert result.about["commit"] == "abc"
        assert "numpy" in result.about["versions"]

    def test_what_other_processes_used_of_the_machine_meanwhile_is_recorded(
        self, split: SplitFiles, tmp_path: Path
    ) -> None:
        code = self.code().replace("    popular =", "    import time; time.sleep(0.5)\n    popular =")
        with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as other:
            try:
                result = self.run(split, tmp_path, code)
            finally:
                other.kill()
        assert result.numbers is not None
        assert result.numbers["others_busy"] > 0.3
        assert result.was_disturbed

    def test_a_worker_that_fails_is_recorded_with_its_reason(self, split: SplitFiles, tmp_path: Path) -> None:
        failed = self.run(split, tmp_path, self.code("raise RuntimeError('singular matrix')"))
        assert (failed.kind, failed.reason) == ("failed", "singular matrix")
        large = "from recoder.errors import NotEnoughMemoryError; raise NotEnoughMemoryError('needs about 9 GiB')"
        found = self.run(split, tmp_path, self.code(large))
        assert (found.kind, found.reason) == ("no memory", "needs about 9 GiB")
        gone = self.run(split, tmp_path, "raise SystemExit('no library')")
        assert gone.kind == "failed"
        assert gone.reason.endswith("no library")

    def test_a_worker_that_recommends_what_was_seen_is_refused(self, split: SplitFiles, tmp_path: Path) -> None:
        failed = self.run(split, tmp_path, self.code("histories = histories * 0; histories.eliminate_zeros()"))
        assert failed.kind == "failed"
        assert "had seen them" in failed.reason

    def test_a_worker_over_its_time_is_ended_and_said(self, split: SplitFiles, tmp_path: Path) -> None:
        late = self.run(split, tmp_path, "import time; time.sleep(60)", limit_s=0.6)
        assert late == Outcome("over time", 0.6, "more than 0.01 minutes")

    def test_what_does_not_fit_into_memory_is_not_started(self, split: SplitFiles, tmp_path: Path) -> None:
        result = self.run(split, tmp_path, "raise SystemExit('started')", bytes_per_item_pair=2e4)
        assert result.kind == "no memory"
        assert result.reason == f"needs about 1.7 GiB for {split.about['items']} items, 1.0 GiB are free"

    def test_needs_grow_with_the_square_of_the_items(self) -> None:
        who = Contestant("mine", OURS, "ours.py", "m", ({},), source="", bytes_per_item_pair=8.0)
        assert needed_mib(Cell("s", 0, who, 0), 1024) == 8.0
        assert needed_mib(Cell("s", 0, MINE, 0), 1024) == 0.0

    def test_of_a_rival_that_is_not_installed_nothing_is_kept_and_it_is_tried_once(
        self, split: SplitFiles, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        asked = []

        class Absent:
            def run(self, cell: Cell, split: SplitFiles) -> Outcome:
                asked.append(cell.contestant.name)
                if cell.contestant == THEIRS:
                    return Outcome("not installed", 60.0, "implicit is not installed in envs/")
                return outcome(0.1, 0.1)

        store = TestStore().store(tmp_path / "cells")
        schedule = Schedule(store.find, limit_s=60.0, seeds=(0,))
        splits: Any = SplitFolder(tmp_path / "splits", make_smoke_set, Protocol())
        runner: Any = Absent()
        quality_cli._run_missing(schedule, ["made-up"], [THEIRS, MINE], runner, store, splits, math.inf)
        assert asked == ["implicit ALS", *["mine"] * 4]
        assert "implicit is not run: implicit is not installed" in capsys.readouterr().err
        assert not list((tmp_path / "cells").glob("*implicit*"))

    def test_a_rival_that_is_not_installed_says_so(self, split: SplitFiles, tmp_path: Path) -> None:
        runner = Runner(
            environments=tmp_path,
            logs=tmp_path,
            protocol=Protocol(),
            threads=1,
            limit_s=9,
            may_install=False,
            about={},
        )
        result = runner.run(Cell("made-up", 0, THEIRS, 0), split)
        assert result.kind == "not installed"
        assert result.reason.startswith("implicit is not installed in ")


@pytest.fixture
def worker_module(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The part that workers share; they find it beside them."""
    monkeypatch.syspath_prepend(str(sides.WORKERS))
    monkeypatch.syspath_prepend(str(running.WORKERS))
    return importlib.import_module("cell")


class TestWorkers:
    def test_the_best_unseen_columns_come_best_first_and_then_nothing(self, worker_module: ModuleType) -> None:
        scores = np.array([[0.1, 0.9, 0.5, 0.7], [0.4, 0.3, 0.2, 0.1]])
        seen = sparse.csr_matrix(np.array([[0, 1, 0, 0], [1, 1, 1, 0]]))
        ranked = worker_module.top_unseen(scores, seen, 3)
        assert ranked.tolist() == [[3, 2, 0], [3, -1, -1]]

    def test_blocks_of_users_are_ranked_as_all_at_once(self, worker_module: ModuleType) -> None:
        histories = sparse.csr_matrix(np.eye(7))
        asked = []

        def rank(users: np.ndarray, rows: sparse.csr_matrix) -> np.ndarray:
            asked.append(len(users))
            return np.column_stack([users, rows.indices])

        ranked = worker_module.in_blocks(rank, 3)(np.arange(7), histories)
        assert ranked.tolist() == [[user, user] for user in range(7)]
        assert asked == [3, 3, 1]


class TestCommandLine:
    @pytest.fixture
    def ran(self, monkeypatch: pytest.MonkeyPatch) -> list[Cell]:
        """Cells that were run, in benchmarks that only pretend to."""
        cells: list[Cell] = []

        def run(self: Runner, cell: Cell, split: SplitFiles) -> Outcome:
            cells.append(cell)
            return outcome(0.2 + cell.point / 10, 0.3)

        def draw(title: str, points: object, chosen: object, path: Path) -> None:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"\x89PNG")

        monkeypatch.setattr(Runner, "run", run)
        monkeypatch.setattr(quality_cli, "draw", draw)
        return cells

    def test_a_smoke_run_writes_page_and_picture_and_goes_on_where_it_stopped(
        self, ran: list[Cell], tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        command = ["quality", "--smoke", "--out", str(tmp_path), "--seeds", "0,1"]
        assert main_of_all([*command, "--budget-minutes", "0"]) == 0
        assert ran == []
        assert main_of_all(command) == 0
        # one point of popularity, two of the autoencoder; the best of each with seed 1
        assert [(cell.contestant.name, cell.point, cell.seed) for cell in ran] == [
            ("popularity", 0, 0),
            ("popularity", 0, 1),
            ("autoencoder", 0, 0),
            ("autoencoder", 1, 0),
            ("autoencoder", 1, 1),
        ]
        assert "| **autoencoder** | num_epochs=4 | 2 |" in capsys.readouterr().out
        out = tmp_path / "smoke"
        assert "## made-up" in (out / "QUALITY.md").read_text()
        assert (out / "quality-made-up.png").read_bytes().startswith(b"\x89PNG")
        next((out / "cells").glob("*autoencoder-0-seed0*.json")).unlink()
        (out / "results" / "made-up.parquet").unlink()
        assert main_of_all(command) == 0
        assert [(cell.point, cell.seed) for cell in ran[5:]] == [(0, 0)]

    def test_a_run_goes_on_from_the_published_results_alone(self, ran: list[Cell], tmp_path: Path) -> None:
        command = ["quality", "--smoke", "--out", str(tmp_path), "--seeds", "0,1"]
        assert main_of_all(command) == 0
        out = tmp_path / "smoke"
        page, published = (out / "QUALITY.md").read_text(), (out / "results" / "made-up.parquet").read_bytes()
        shutil.rmtree(out / "cells")
        (out / "QUALITY.md").unlink()
        ran.clear()
        assert main_of_all(command) == 0
        assert ran == []
        assert (out / "QUALITY.md").read_text() == page
        assert (out / "results" / "made-up.parquet").read_bytes() == published

    def test_a_failure_is_said_and_the_numbers_of_before_stay_on_the_page(
        self,
        ran: list[Cell],
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        command = ["quality", "--smoke", "--out", str(tmp_path), "--seeds", "0"]
        assert main_of_all(command) == 0
        # the code has changed since
        monkeypatch.setattr(quality_cli, "code_of", lambda who, data_set, environments: "another")
        monkeypatch.setattr(Runner, "run", lambda self, cell, split: Outcome("failed", 60.0, "no wheel"))
        capsys.readouterr()
        assert main_of_all(command) == 0
        said = capsys.readouterr().err
        assert "made-up-popularity-0-seed0: failed: no wheel; the numbers of an earlier run stay\n" in said
        [row] = [
            line
            for line in (tmp_path / "smoke" / "QUALITY.md").read_text().splitlines()
            if line.startswith("| **popularity** | default | 1 |")
        ]
        assert "0.3000" in row
        assert "§" in row
        again = (
            "Run anew without numbers, so that those of earlier code stand: **popularity** (default, seed 0) failed: no"
        )
        assert again in (tmp_path / "smoke" / "QUALITY.md").read_text()

    def test_status_tells_what_is_missing_and_runs_nothing(
        self, ran: list[Cell], tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main_of_all(["quality", "--smoke", "--out", str(tmp_path), "--status"]) == 0
        assert "made-up, popularity, default, seed 0: missing\n" in capsys.readouterr().out
        assert ran == []

    @pytest.fixture
    def data(self, tmp_path: Path) -> Path:
        """The folder of two data sets, which hold the same."""
        users, items = make_smoke_set("made-up").matrix.nonzero()
        for name in ("lastfm-2k", "citeulike-a"):
            folder = tmp_path / "data" / name
            folder.mkdir(parents=True)
            pq.write_table(pa.table({"user_id": users, "item_id": items}), folder / "interactions.parquet")
        return tmp_path / "data"

    def command(self, folder: Path, *more: str) -> list[str]:
        """Popularity on the sets in ``folder / "data"``, and nothing written outside of the folder."""
        names = {"data": "data", "out": "out", "archives": "results", "page": "QUALITY.md", "envs": "envs"}
        places = [word for option, name in names.items() for word in (f"--{option}", str(folder / name))]
        return ["quality", "--no-install", "--contestants", "popularity", "--seeds", "0,1", *places, *more]

    def test_a_set_that_is_not_there_is_not_run_and_stays_on_the_page_as_published(
        self, ran: list[Cell], data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        written = [tmp_path / name for name in ("QUALITY.md", "results/citeulike-a.parquet")]
        assert main_of_all(self.command(tmp_path, "--only", "lastfm-2k,citeulike-a")) == 0
        assert [cell.data_set for cell in ran] == ["lastfm-2k", "lastfm-2k", "citeulike-a", "citeulike-a"]
        before = [path.read_bytes() for path in written]
        shutil.rmtree(tmp_path / "out")
        shutil.rmtree(data / "citeulike-a")
        ran.clear()
        assert main_of_all(self.command(tmp_path, "--only", "lastfm-2k")) == 0
        assert [path.read_bytes() for path in written] == before
        capsys.readouterr()
        assert main_of_all(self.command(tmp_path)) == 0
        said = capsys.readouterr().err
        assert f"citeulike-a is not run: its files are not in {data / 'citeulike-a'}\n" in said
        assert "lastfm-2k is" not in said
        assert [path.read_bytes() for path in written] == before
        assert ran == []
        # showing what is known took no split
        assert not (tmp_path / "out" / "splits").exists()
        assert main_of_all(self.command(tmp_path, "--only", "citeulike-a")) == 2
        assert f"citeulike-a, whose files are not in {data / 'citeulike-a'}\n" in capsys.readouterr().err

    def test_archives_that_do_not_tell_of_their_splits_need_the_data(
        self, ran: list[Cell], data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        archive, page = tmp_path / "results" / "lastfm-2k.parquet", tmp_path / "QUALITY.md"
        assert main_of_all(self.command(tmp_path, "--only", "lastfm-2k")) == 0
        told, before = splits_in(archive), page.read_text()
        assert told.keys() == {0, 1}
        shutil.rmtree(tmp_path / "out")
        without_splits(archive)
        ran.clear()
        assert main_of_all(self.command(tmp_path, "--only", "lastfm-2k")) == 0
        assert ran == []
        assert splits_in(archive) == told
        assert page.read_text() == before
        shutil.rmtree(tmp_path / "out")
        shutil.rmtree(data / "lastfm-2k")
        without_splits(archive)
        assert main_of_all(self.command(tmp_path, "--only", "citeulike-a")) == 2
        assert f"{archive} does not tell of which splits its results are" in capsys.readouterr().err
        assert page.read_text() == before

    def test_the_status_needs_no_data_where_archives_tell_of_the_splits(
        self, ran: list[Cell], data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main_of_all(self.command(tmp_path, "--only", "lastfm-2k")) == 0
        shutil.rmtree(tmp_path / "out")
        shutil.rmtree(data)
        capsys.readouterr()
        assert main_of_all(self.command(tmp_path, "--only", "lastfm-2k", "--status")) == 0
        assert "lastfm-2k, popularity, default, seed 1: measured\n" in capsys.readouterr().out

    @pytest.mark.parametrize("seeds", ["", "1,2"])
    def test_seeds_without_the_one_that_settings_are_chosen_with_are_refused(
        self, ran: list[Cell], tmp_path: Path, capsys: pytest.CaptureFixture[str], seeds: str
    ) -> None:
        assert main_of_all(["quality", "--smoke", "--out", str(tmp_path), "--seeds", seeds]) == 2
        assert "--seeds must name 0" in capsys.readouterr().err
        assert ran == []

    @pytest.mark.parametrize("other", [["--seeds", "0"], ["--threads", "1"]])
    @pytest.mark.parametrize("elsewhere", [None, "--page", "--archives"])
    def test_results_of_other_seeds_or_threads_never_take_the_place_of_the_published_ones(
        self,
        ran: list[Cell],
        data: Path,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
        other: list[str],
        elsewhere: str | None,
    ) -> None:
        for name in ("PAGE", "ARCHIVES", "IMAGES"):
            monkeypatch.setattr(quality_cli, name, tmp_path / "published" / name)
        named = [] if elsewhere is None else [elsewhere, str(tmp_path / "named")]
        command = ["quality", "--data", str(data), "--out", str(tmp_path / "out"), "--no-install", *other, *named]
        assert main_of_all(command) == 2
        assert "name another --page and other --archives" in capsys.readouterr().err
        assert ran == []
        assert not (tmp_path / "published").exists()

    def test_pictures_stand_beside_a_page_that_is_not_the_published_one(
        self, ran: list[Cell], data: Path, tmp_path: Path
    ) -> None:
        assert main_of_all(self.command(tmp_path, "--only", "lastfm-2k")) == 0
        assert ran
        assert (tmp_path / "quality-lastfm-2k.png").exists()
        assert "](./quality-lastfm-2k.png)" in (tmp_path / "QUALITY.md").read_text()

    def test_the_status_says_what_earlier_code_made_and_what_is_run_again(
        self,
        ran: list[Cell],
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        command = ["quality", "--smoke", "--out", str(tmp_path), "--seeds", "0,1"]
        assert main_of_all(command) == 0
        monkeypatch.setattr(quality_cli, "code_of", lambda who, data_set, environments: "another")
        ran.clear()
        capsys.readouterr()
        assert main_of_all([*command, "--status"]) == 0
        lines = capsys.readouterr().out.splitlines()
        assert lines[:2] == [
            f"made-up, popularity, default, seed {seed}: measured with earlier code, to be run again" for seed in (0, 1)
        ]
        assert lines[-1] == "0 of 5 were run"
        assert ran == []

    def test_sets_and_contestants_can_be_chosen_and_unknown_ones_are_refused(
        self, ran: list[Cell], tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        command = ["quality", "--smoke", "--out", str(tmp_path), "--seeds", "0"]
        assert main_of_all([*command, "--contestants", "popularity"]) == 0
        assert {cell.contestant.name for cell in ran} == {"popularity"}
        assert main_of_all([*command, "--contestants", "populrity"]) == 2
        assert "--contestants names populrity; there are popularity, autoencoder" in capsys.readouterr().err
        assert main_of_all([*command, "--only", "gowala"]) == 2
        assert main_of_all(["quality", "--data", str(tmp_path / "nowhere")]) == 2

    def test_an_interrupt_keeps_what_was_run(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        def run(self: Runner, cell: Cell, split: SplitFiles) -> Outcome:
            if cell.contestant.name == "autoencoder":
                raise KeyboardInterrupt
            return outcome(0.2, 0.3)

        monkeypatch.setattr(Runner, "run", run)
        assert main_of_all(["quality", "--smoke", "--out", str(tmp_path), "--seeds", "0"]) == 130
        assert "goes on with the first cell that is missing" in capsys.readouterr().err
        assert "**popularity**" in (tmp_path / "smoke" / "QUALITY.md").read_text()

    @pytest.mark.slow
    def test_a_smoke_run_with_real_workers_measures_everything(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main_of_all(["quality", "--smoke", "--out", str(tmp_path), "--seeds", "0", "--threads", "1"]) == 0
        kept = [json.loads(path.read_text()) for path in (tmp_path / "smoke" / "cells").glob("*.json")]
        assert [cell["kind"] for cell in kept] == ["measured"] * 3
        assert all(cell["numbers"]["test"]["NDCG@100"] > 0.1 for cell in kept)


def test_ratings_below_four_do_not_count_where_there_are_ratings(tmp_path: Path) -> None:
    folder = tmp_path / "goodbooks-10k-v1"
    folder.mkdir()
    columns: Mapping[str, Any] = {"user_id": [1, 1, 2], "item_id": [5, 6, 5], "rating": [4.0, 3.0, 5.0]}
    pq.write_table(pa.table(columns), folder / "interactions.parquet")
    assert read_set(tmp_path, "goodbooks-10k-v1").matrix.toarray().tolist() == [[1.0], [1.0]]
