from __future__ import annotations

import itertools
import json
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from benchmarks.real_data import main, result_path, results_of_all
from benchmarks.real_data_design import (
    AUTOENCODER,
    FACTORIZATION,
    RUNS,
    Recipe,
    Run,
    possible_runs,
    recipe_of,
)
from benchmarks.real_data_page import render_page
from benchmarks.real_data_runner import Protocol, ReloadError, read_data_set, reloaded
from scipy import sparse

from benchmarks import real_data
from recoder.data import Interactions, RecommendationDataset
from recoder.model import Recoder
from recoder.nn import MatrixFactorization

PROTOCOL = Protocol(seed=1, num_eval_users=20, steps_per_epoch=10)
RECIPE = Recipe(layers=(8,), noise=0.0, lr=0.05, weight_decay=0, batch_size=20, num_steps=20)
SMALL_RUNS = (
    Run("board", AUTOENCODER, "logloss", "sampled", is_sparse=True, is_deep=False, is_tied=True),
    Run("board", FACTORIZATION, "logistic", "full", is_sparse=False),
)

Pair = frozenset[tuple[str, object]]


def pairs_of(runs: Iterable[Run]) -> set[Pair]:
    return {frozenset(pair) for run in runs for pair in itertools.combinations(run.levels().items(), 2)}


class TestDesign:
    @pytest.mark.parametrize("model", [AUTOENCODER, FACTORIZATION])
    def test_every_pair_of_levels_meets_in_a_run_of_each_model(self, model: str) -> None:
        wanted = pairs_of(run for run in possible_runs() if run.model == model)
        covered = pairs_of(run for run in RUNS if run.model == model)
        assert wanted - covered == set()

    def test_pairs_are_of_all_factors_and_levels(self) -> None:
        # 5 binary factors, a model and 3 losses: 10 + 5 pairs of factors; and the same without depth and tying
        assert len(pairs_of(run for run in possible_runs() if run.model == AUTOENCODER)) == 10 * 4 + 5 * 6 + 5 * 2 + 3
        assert len(pairs_of(run for run in possible_runs() if run.model == FACTORIZATION)) == 3 * 4 + 3 * 6 + 3 * 2 + 3

    def test_without_a_loss_pairs_are_missing(self) -> None:
        some = pairs_of(run for run in RUNS if run.loss != "mse")
        assert pairs_of(possible_runs()) - some

    def test_there_are_at_least_12_runs_and_all_are_possible_and_distinct(self) -> None:
        assert len(RUNS) >= 12
        assert len({run.name for run in RUNS}) == len(RUNS)
        assert set(RUNS) <= set(possible_runs())

    def test_depth_and_tying_apply_to_autoencoders_only(self) -> None:
        for run in possible_runs():
            applies = run.model == AUTOENCODER
            assert (run.is_deep is not None, run.is_tied is not None) == (applies, applies)

    def test_recipes_do_not_depend_on_the_data_set(self) -> None:
        for run in possible_runs():
            assert recipe_of(run) == recipe_of(replace(run, data_set="another"))
            assert (recipe_of(run).confidence is not None) == (run.loss == "mse")


@pytest.fixture
def board(checkerboard: sparse.csr_matrix) -> Interactions:
    return Interactions.from_matrix(checkerboard)


class TestResume:
    def test_a_finished_run_is_not_run_again(self, board: Interactions, tmp_path: Path) -> None:
        def refuse(name: str) -> Interactions:
            raise AssertionError(f"{name} was read again")

        first = results_of_all(
            SMALL_RUNS, lambda name: board, out=tmp_path, recipe_for=lambda run: RECIPE, protocol=PROTOCOL
        )
        again = results_of_all(SMALL_RUNS, refuse, out=tmp_path, recipe_for=lambda run: RECIPE, protocol=PROTOCOL)
        assert again == first
        assert list(first) == [run.name for run in SMALL_RUNS]

    def test_an_interrupted_benchmark_goes_on_with_the_run_that_is_missing(
        self, board: Interactions, tmp_path: Path
    ) -> None:
        def interrupt_second(name: str, reads: Iterable[int] = itertools.count()) -> Interactions:
            if next(iter(reads)) == 1:
                raise KeyboardInterrupt
            return board

        with pytest.raises(KeyboardInterrupt):
            results_of_all(SMALL_RUNS, interrupt_second, out=tmp_path, recipe_for=lambda run: RECIPE, protocol=PROTOCOL)
        (kept,) = tmp_path.iterdir()
        assert kept == result_path(tmp_path, SMALL_RUNS[0], RECIPE, PROTOCOL)
        was = kept.read_bytes(), kept.stat().st_mtime_ns
        results = results_of_all(
            SMALL_RUNS, lambda name: board, out=tmp_path, recipe_for=lambda run: RECIPE, protocol=PROTOCOL
        )
        assert (kept.read_bytes(), kept.stat().st_mtime_ns) == was
        assert len(results) == len(list(tmp_path.iterdir())) == 2

    def test_other_settings_are_another_file(self, tmp_path: Path) -> None:
        run = SMALL_RUNS[0]
        paths = {
            result_path(tmp_path, run, RECIPE, PROTOCOL),
            result_path(tmp_path, run, replace(RECIPE, lr=0.01), PROTOCOL),
            result_path(tmp_path, run, RECIPE, replace(PROTOCOL, seed=2)),
            result_path(tmp_path, replace(run, is_tied=False), RECIPE, PROTOCOL),
        }
        assert len(paths) == 4

    def test_what_other_code_made_is_run_again(
        self, board: Interactions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        names: list[str] = []

        def read(name: str) -> Interactions:
            names.append(name)
            return board

        for code, times in (("one", 1), ("one", 1), ("other", 2)):
            monkeypatch.setattr(real_data, "_hash_of_code", lambda code=code: code)
            results_of_all(SMALL_RUNS[:1], read, out=tmp_path, recipe_for=lambda run: RECIPE, protocol=PROTOCOL)
            assert names == ["board"] * times

    def test_the_code_of_a_run_is_all_that_it_runs(self) -> None:
        files = {path.as_posix() for pattern in real_data._CODE for path in Path().glob(pattern)}
        assert files >= {
            "src/recoder/model.py",
            "src/recoder/data/splits/strong.py",
            "src/recoder/metrics/evaluator.py",
            "src/recoder/ops/score_losses.py",
            "benchmarks/real_data_runner.py",
        }

    def test_the_same_settings_give_the_same_measurements(self, board: Interactions, tmp_path: Path) -> None:
        def measured(out: Path) -> list[object]:
            results = results_of_all(
                SMALL_RUNS, lambda name: board, out=out, recipe_for=lambda run: RECIPE, protocol=PROTOCOL
            )
            return [[result["measured"][key] for key in ("loss", "ndcg", "difference")] for result in results.values()]

        assert measured(tmp_path / "a") == measured(tmp_path / "b")


def test_a_reloaded_model_that_scores_otherwise_is_refused(checkerboard: sparse.csr_matrix) -> None:
    class Forgetful(Recoder):
        def init_from_model_file(self, model_file: object) -> None:
            super().init_from_model_file(model_file)  # type: ignore[arg-type]
            with torch.no_grad():
                self.model.items.bias += 1  # type: ignore[union-attr,operator]

    recoder = Recoder(MatrixFactorization(4), optimizer_type="adam", seed=1)
    data = RecommendationDataset(checkerboard)
    recoder.train(data)
    assert reloaded(recoder, Recoder(MatrixFactorization(4)), data).num_items == 40
    with pytest.raises(ReloadError, match="other scores"):
        reloaded(recoder, Forgetful(MatrixFactorization(4)), data)


class TestDataSets:
    def test_ratings_below_4_are_left_out(self, tmp_path: Path) -> None:
        (tmp_path / "goodbooks-10k-v1").mkdir()
        ratings = pa.table({"user_id": [7, 7, 8, 9], "item_id": [1, 2, 1, 3], "rating": [5.0, 3.0, 4.0, 1.0]})
        pq.write_table(ratings, tmp_path / "goodbooks-10k-v1" / "interactions.parquet")
        interactions = read_data_set(tmp_path, "goodbooks-10k-v1")
        np.testing.assert_array_equal(interactions.matrix.toarray(), [[1], [1]])
        assert interactions.user_ids.raw_ids([0, 1]) == [7, 8]

    def test_both_parts_of_gowalla_are_read(self, tmp_path: Path) -> None:
        (tmp_path / "gowalla").mkdir()
        pq.write_table(pa.table({"user_id": [0, 1], "item_id": [5, 6]}), tmp_path / "gowalla" / "train.parquet")
        pq.write_table(pa.table({"user_id": [0], "item_id": [6]}), tmp_path / "gowalla" / "test.parquet")
        np.testing.assert_array_equal(read_data_set(tmp_path, "gowalla").matrix.toarray(), [[1, 1], [0, 1]])


def result_of(run: Run, *, difference: tuple[float, float]) -> dict[str, object]:
    recipe = {"layers": [64], "noise": 0.5, "lr": 0.01, "batch_size": 500, "num_steps": 300, "confidence": None}
    return {
        "settings": {"run": vars(run), "recipe": recipe, "protocol": {"seed": 3}},
        "environment": {
            "processor": "Abacus 9",
            "num_cores": 2,
            "num_threads": 1,
            "python": "3.11.9",
            "recsys-recoder": "1.0",
            "torch": "2.13.0",
            "numpy": "2.0",
            "scipy": "1.15",
            "commit": "0123456789ab",
        },
        "measured": {
            "num_train_users": 20000,
            "num_items": 4000,
            "num_train_interactions": 1234567,
            "num_eval_users": 3000,
            "seconds": 41.6,
            "total_seconds": 90.0,
            "loss": 1.0,
            "ndcg": [0.25, 0.003],
            "popular": [0.125, 0.002],
            "difference": list(difference),
        },
    }


class TestPage:
    def test_each_run_is_a_row_with_its_numbers(self) -> None:
        page = render_page({run.name: result_of(run, difference=(0.125, 0.0025)) for run in RUNS})
        table = [line for line in page.splitlines() if "0.2500 ± 0.0030" in line]
        assert len(table) == len(RUNS)
        assert table[-1] == (
            "| goodbooks-10k-v1 | MF | mse | sampled | off | 64 factors | 42 | 0.2500 ± 0.0030 | 0.1250 ± 0.0020 "
            "| +0.1250 ± 0.0025 | 50.0 |"
        )
        assert "| 64, tied |" in table[0]

    def test_tables_are_rectangular(self) -> None:
        page = render_page({run.name: result_of(run, difference=(0.125, 0.0025)) for run in RUNS})
        for _, lines in itertools.groupby(page.splitlines(), key=lambda line: line.startswith("|")):
            assert len({line.count("|") for line in lines if line.startswith("|")}) <= 1

    def test_what_numbers_depend_on_is_said_once(self) -> None:
        page = render_page({run.name: result_of(run, difference=(0.125, 0.0025)) for run in RUNS})
        assert page.count("Abacus 9, 2 cores, torch threads: 1; python 3.11.9, recsys-recoder 1.0") == 1
        assert page.count("scipy 1.15; commit 0123456789ab.") == 1
        assert "Seed of splits and training: 3." in page
        assert f"All {len(RUNS)} runs took {1.5 * len(RUNS):.0f} minutes" in page


class TestMain:
    def test_without_data_it_says_what_is_missing(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("RECODER_DATA_DIR", raising=False)
        assert main([]) == 2
        assert "RECODER_DATA_DIR" in capsys.readouterr().err
        assert main(["--data", str(tmp_path / "none")]) == 2

    @pytest.mark.parametrize(("difference", "status"), [((0.021, 0.01), 0), ((0.02, 0.01), 1), ((-0.5, 0.01), 1)])
    def test_it_fails_unless_every_run_is_two_standard_errors_above_most_popular(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, difference: tuple[float, float], status: int
    ) -> None:
        results = {run.name: result_of(run, difference=(0.125, 0.0025)) for run in RUNS}
        results[RUNS[3].name] = result_of(RUNS[3], difference=difference)
        monkeypatch.setattr(real_data, "results_of_all", lambda *args, **kwargs: json.loads(json.dumps(results)))
        page = tmp_path / "page.md"
        assert main(["--data", str(tmp_path), "--page", str(page)]) == status
        assert page.read_text(encoding="utf-8").startswith("# On real data")

    def test_an_interrupt_leaves_the_page_alone(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def interrupt(*args: object, **kwargs: object) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr(real_data, "results_of_all", interrupt)
        assert main(["--data", str(tmp_path), "--page", str(tmp_path / "page.md")]) == 130
        assert list(tmp_path.iterdir()) == []
