from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from benchmarks.__main__ import main as main_of_all
from benchmarks.speed import cli, environments, sides, store
from benchmarks.speed.cli import main
from benchmarks.speed.data import FULL, QUICK, DataFolder, grown
from benchmarks.speed.environments import RIVALS, Environment, Unavailable, python_of
from benchmarks.speed.measure import measured
from benchmarks.speed.sides import WORKERS, Worker, python_and_variables, starter
from benchmarks.speed.store import Store
from benchmarks.speed.table import make_table
from benchmarks.speed.works import OURS, Measurement, Side, Training
from scipy import sparse

TASK = Training("ml20m-like", factors=8, batch_size=40, warm_up=1, steps=3)
SIDES = {"a": Side(OURS, TASK), "b": Side("other", TASK)}


class Recorded:
    """A starter of workers that only say when they were asked."""

    def __init__(self, failing: str = "") -> None:
        self.events: list[str] = []
        self.failing = failing

    @contextmanager
    def __call__(self, label: str, side: Side) -> Iterator[tuple[Any, dict[str, Any]]]:
        self.events.append(f"start {side.environment}")
        if self.failing == "start" and side.environment == "other":
            raise Unavailable("it does not install")
        yield _Answering(self, side.environment), {"versions": {"torch": "1"}}
        self.events.append(f"stop {side.environment}")


class _Answering:
    def __init__(self, recorded: Recorded, name: str) -> None:
        self._recorded, self._name = recorded, name

    def ask(self, command: dict[str, Any]) -> dict[str, Any]:
        assert command == {"measure": True}
        self._recorded.events.append(self._name)
        if self._recorded.failing == "measure" and self._name == "other":
            raise Unavailable("out of memory")
        return {"value": float(len(self._recorded.events)), "items": 5}


def run(measurement: Measurement, start: Any, rounds: int = 3) -> dict[str, Any]:
    return measured(measurement, start, rounds=rounds, why_not=lambda side: None, report=lambda text: None)


class TestTakingTurns:
    def test_sides_alternate_within_processes_that_last(self) -> None:
        start = Recorded()
        results = run(Measurement("m", SIDES), start)
        turns = ["start ours", "start other", *(["ours", "other"] * 3), "stop other", "stop ours"]
        assert start.events == turns
        assert results["a"] == {"values": [3, 5, 7], "about": {"versions": {"torch": "1"}, "items": 5}}

    def test_a_fresh_measurement_starts_a_process_for_every_sample(self) -> None:
        start = Recorded()
        run(Measurement("m", SIDES, is_fresh=True), start, rounds=2)
        assert start.events == ["start ours", "ours", "stop ours", "start other", "other", "stop other"] * 2

    @pytest.mark.parametrize("is_fresh", [True, False])
    @pytest.mark.parametrize("failing", ["start", "measure"])
    def test_a_side_that_fails_is_reported_with_its_reason_and_the_other_goes_on(
        self, failing: str, is_fresh: bool
    ) -> None:
        results = run(Measurement("m", SIDES, is_fresh=is_fresh), Recorded(failing))
        assert results["b"] == {"error": {"start": "it does not install", "measure": "out of memory"}[failing]}
        assert len(results["a"]["values"]) == 3

    def test_a_side_that_makes_no_sense_here_is_never_started(self) -> None:
        start = Recorded()
        results = measured(
            Measurement("m", SIDES),
            start,
            rounds=1,
            why_not=lambda side: "no bf16" if side.environment == "other" else None,
            report=lambda text: None,
        )
        assert results["b"] == {"error": "no bf16"}
        assert "start other" not in start.events


class TestWorker:
    def worker(self, code: str, tmp_path: Path) -> Worker:
        return Worker([sys.executable, "-c", code], {}, tmp_path / "log")

    def test_an_answer_with_an_error_is_raised(self, tmp_path: Path) -> None:
        worker = self.worker('input(); print(\'{"error": "no CUDA device here"}\', flush=True); input()', tmp_path)
        with pytest.raises(Unavailable, match="no CUDA device here"):
            worker.ask({})
        worker.stop()

    def test_a_process_that_ends_is_reported_with_its_last_words(self, tmp_path: Path) -> None:
        worker = self.worker("raise SystemExit('segment broken')", tmp_path)
        with pytest.raises(Unavailable, match="ended with code 1: segment broken"):
            worker.ask({})
        worker.stop()


class Lasting(Worker):
    """A worker that tests share: each prepares it for a task of its own."""

    def stop(self) -> None:
        """Leaves it to the next test."""

    end = Worker.stop


@pytest.fixture(scope="module")
def lasting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lasting]:
    folder = tmp_path_factory.mktemp("lasting")
    python, variables = python_and_variables(OURS, folder, threads=1)
    variables["CUDA_VISIBLE_DEVICES"] = ""
    worker = Lasting([python, str(WORKERS / "ours.py")], variables, folder / "log")
    yield worker
    worker.end()


class TestOurTasks:
    """Our own worker, run as the benchmark runs it, on tiny data."""

    def values(self, measurement: str, names: tuple[str, ...], tmp_path: Path, rounds: int = 2) -> dict[str, Any]:
        """What the sides measure, one after the other, so that one process may be both."""
        found = next(item for item in make_table(QUICK).measurements if item.name == measurement)
        start = starter(tmp_path, DataFolder(tmp_path / "data", QUICK), environments=tmp_path, threads=1)
        results: dict[str, Any] = {}
        for name in names:
            results |= run(replace(found, sides={name: found.sides[name]}), start, rounds=rounds)
        return results

    def assert_measured(self, results: dict[str, Any], rounds: int = 2) -> None:
        for side in results.values():
            assert "error" not in side, side
            assert len(side["values"]) == rounds
            assert min(side["values"]) > 0
            assert "torch" in side["about"]["versions"]

    @pytest.mark.slow
    @pytest.mark.parametrize(
        ("measurement", "names"),
        [
            ("sampled-logistic", ("fp32", "floor fp32")),
            ("factorization", ("fp32", "floor bf16")),
            ("full-mse", ("large", "floor")),
            ("recommend", ("fp32",)),
            ("evaluate", ("ours",)),
            ("frame", ("pandas", "polars")),
        ],
    )
    def test_it_measures(
        self,
        measurement: str,
        names: tuple[str, ...],
        lasting: Lasting,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(sides, "Worker", lambda command, variables, log: lasting)
        self.assert_measured(self.values(measurement, names, tmp_path))

    @pytest.mark.slow
    def test_it_measures_memory_in_processes_of_their_own(self, tmp_path: Path) -> None:
        self.assert_measured(self.values("memory", ("ours",), tmp_path, rounds=1), rounds=1)

    def test_without_a_cuda_device_it_says_so(
        self, lasting: Lasting, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(sides, "Worker", lambda command, variables, log: lasting)
        result = self.values("cuda", ("small",), tmp_path)["small"]
        assert result["error"].startswith("no CUDA device here; on a machine with one, run: python -m benchmarks speed")


def make_this_python(home: Path, **options: Any) -> None:
    """In the place of ``venv.create``: an environment whose Python is the one that runs the tests."""
    python = home / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} "$@"\n')
    python.chmod(0o755)


class TestEnvironments:
    def test_a_package_that_does_not_exist_is_unavailable_with_the_reason(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("PIP_NO_INDEX", "1")
        monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
        # making a real one takes seconds; nothing is installed, so ours may answer
        monkeypatch.setattr(environments.venv, "create", make_this_python)
        missing = Environment("missing", "Missing", ("no-such-package-here",), (), "pass", worker="missing.py")
        monkeypatch.setitem(RIVALS, "missing", missing)
        with pytest.raises(Unavailable, match="Missing does not install: ERROR"):
            python_of("missing", tmp_path)

    def test_an_environment_is_made_once(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        empty = Environment("empty", "Empty", (), (), "pass", worker="empty.py")
        monkeypatch.setitem(RIVALS, "empty", empty)
        ran: list[list[str]] = []
        monkeypatch.setattr(environments, "_run", lambda command, failure: ran.append(command))
        monkeypatch.setattr(environments.venv, "create", lambda home, **options: home.mkdir())
        assert python_of("empty", tmp_path) == python_of("empty", tmp_path)
        assert len([command for command in ran if command[-1] == "pass"]) == 1

    def test_an_environment_that_may_not_be_made_is_taken_as_it_is_or_said_to_be_missing(self, tmp_path: Path) -> None:
        with pytest.raises(Unavailable, match="implicit is not installed in "):
            python_of("implicit", tmp_path, may_install=False)
        (tmp_path / "implicit").mkdir()
        (tmp_path / "implicit" / "installed").write_text("of another day")
        assert python_of("implicit", tmp_path, may_install=False) == tmp_path / "implicit" / "bin" / "python"
        assert (tmp_path / "implicit" / "installed").read_text() == "of another day"

    def test_rivals_run_with_the_torch_that_the_constraints_name(self) -> None:
        pins = environments._pinned(("torch",))
        assert pins == [line for line in Path("constraints.txt").read_text().split() if line.startswith("torch==")]

    def test_variables_that_slow_openblas_down_do_not_reach_the_processes(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        started: list[dict[str, str]] = []

        class Caught:
            def __init__(self, command: list[str], variables: dict[str, str], log: Path) -> None:
                started.append(variables)
                raise Unavailable("enough")

        monkeypatch.setattr(sides, "Worker", Caught)
        monkeypatch.setattr(sides, "python_of", lambda name, folder, **options: folder)
        monkeypatch.setenv("OPENBLAS_CORETYPE", "Haswell")
        monkeypatch.setenv("OPENBLAS_L2_SIZE", "512")
        monkeypatch.setenv("PYTHONPATH", "of-ours")
        start = starter(tmp_path, DataFolder(tmp_path, QUICK), environments=tmp_path, threads=3)
        with pytest.raises(Unavailable), start("label", Side("implicit", TASK)):
            pass
        assert not started[0].keys() & {"OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"}
        assert "of-ours" not in started[0].get("PYTHONPATH", "")
        assert started[0]["OMP_NUM_THREADS"] == "3"
        assert started[0]["OPENBLAS_NUM_THREADS"] == "1"


class TestData:
    def test_a_file_is_made_once_and_evaluated_users_have_inputs_and_targets(self, tmp_path: Path) -> None:
        folder = DataFolder(tmp_path, QUICK)
        inputs, targets = (sparse.load_npz(folder.path(name)) for name in ("eval-input", "eval-target"))
        assert inputs.shape == targets.shape == (QUICK.eval_users, QUICK.shape.num_items)
        assert min(np.diff(inputs.indptr).min(), np.diff(targets.indptr).min()) > 0
        assert inputs.multiply(targets).nnz == 0
        before = folder.path("eval-input").stat().st_mtime_ns
        assert folder.path("eval-input").stat().st_mtime_ns == before

    @pytest.mark.parametrize("num_items", [20_000, 60_000])
    def test_batches_of_a_grown_catalogue_hold_as_many_items_whatever_its_size(self, num_items: int) -> None:
        matrix = grown(num_items, candidates=8_000, batch_size=500)
        of_batches = [len(np.unique(matrix[first : first + 500].indices)) for first in range(0, 5_000, 500)]
        assert np.mean(of_batches) == pytest.approx(8_000, rel=0.03)
        assert matrix.shape[1] == num_items


class TestStore:
    def store(self, tmp_path: Path, **changed: Any) -> Store:
        return Store(tmp_path / "speed.json", {"machine": {"cores": 2}, "source": "x", "sizes": (1, 2)} | changed)

    def test_a_result_is_found_again_for_the_same_code_and_settings_only(self, tmp_path: Path) -> None:
        measurement = Measurement("m", SIDES)
        self.store(tmp_path).keep(measurement, {"a": {"values": [1.0]}})
        other = Measurement("m", {"a": Side(OURS, replace(TASK, batch_size=41))})
        assert self.store(tmp_path).find(measurement, 1) == {"a": {"values": [1.0]}}
        assert self.store(tmp_path).find(other, 1) is None
        assert self.store(tmp_path, source="y").find(measurement, 1) is None
        assert self.store(tmp_path, sizes=(1, 3)).find(measurement, 1) is None

    def test_results_of_fewer_rounds_do_not_count_and_those_of_more_do(self, tmp_path: Path) -> None:
        measurement = Measurement("m", SIDES)
        sides = {"a": {"values": [1.0, 2.0, 3.0]}, "b": {"error": "out of memory"}}
        self.store(tmp_path).keep(measurement, sides)
        assert self.store(tmp_path).find(measurement, 3) == self.store(tmp_path).find(measurement, 2) == sides
        assert self.store(tmp_path).find(measurement, 4) is None


class TestSourceHash:
    SOURCE = '"""Says what."""\n\nSIZE = 3  # of it\n\n\ndef f(x):\n    """Returns more."""\n    return x + SIZE\n'

    def hashed(self, monkeypatch: pytest.MonkeyPatch, folder: Path, source: str, name: str = "a.py") -> str:
        monkeypatch.setattr(store, "PROJECT", folder)
        (folder / name).write_text(source)
        return store.source_hash([name])

    @pytest.mark.parametrize(
        ("old", "new"),
        [("of it", "of all"), ("Says what", "Says that"), ("Returns more", "Returns"), ("x + SIZE", "(x + SIZE)")],
    )
    def test_words_and_layout_do_not_count(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, old: str, new: str
    ) -> None:
        assert old in self.SOURCE
        changed = self.SOURCE.replace(old, new)
        assert self.hashed(monkeypatch, tmp_path, self.SOURCE) == self.hashed(monkeypatch, tmp_path, changed)

    @pytest.mark.parametrize(
        ("old", "new"), [("3", "4"), ("x +", "x -"), ("def f", "def g"), ('"""Says', 'A = """Says')]
    )
    def test_what_runs_counts(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, old: str, new: str) -> None:
        changed = self.SOURCE.replace(old, new)
        assert self.hashed(monkeypatch, tmp_path, self.SOURCE) != self.hashed(monkeypatch, tmp_path, changed)

    def test_what_is_left_out_does_not_count(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        one = self.hashed(monkeypatch, tmp_path, "A = 1")
        (tmp_path / "b.py").write_text("B = 1")
        assert store.source_hash(["*.py"]) != one
        assert store.source_hash(["*.py"], without=["b.py"]) == one

    def test_every_byte_of_other_files_counts(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        one, other = (self.hashed(monkeypatch, tmp_path, text, "a.c") for text in ("int a;", "int a; // b"))
        assert one != other


class TestCommandLine:
    @pytest.fixture
    def drawing(self, monkeypatch: pytest.MonkeyPatch) -> Recorded:
        recorded = Recorded()
        monkeypatch.setattr(cli, "starter", lambda *args, **options: recorded)
        return recorded

    @pytest.fixture
    def fake(self, drawing: Recorded, monkeypatch: pytest.MonkeyPatch) -> Recorded:
        """Draws no pictures."""
        monkeypatch.setattr(cli, "draw", lambda plot, points, path: None)
        return drawing

    def test_a_whole_run_prints_the_table_writes_json_page_and_pictures(
        self, drawing: Recorded, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main(["--quick", "--out", str(tmp_path), "--repeats", "2"]) == 0
        printed = capsys.readouterr().out
        table = make_table(QUICK)
        assert all(f"| {row.work} |" in printed for row in table.rows)
        out = tmp_path / "quick"
        kept = json.loads((out / "speed.json").read_text())
        assert kept["measurements"].keys() == {measurement.name for measurement in table.measurements}
        page = (out / "RESULTS.md").read_text()
        for plot in table.plots:
            assert f"({plot.name}.png)" in page.replace("./", "")
            assert (out / f"{plot.name}.png").read_bytes().startswith(b"\x89PNG")

    def test_an_interrupted_run_goes_on_with_what_is_missing(self, fake: Recorded, tmp_path: Path) -> None:
        command = ["--quick", "--out", str(tmp_path), "--repeats", "1"]
        assert main(command) == 0
        everything = len(fake.events)
        path = tmp_path / "quick" / "speed.json"
        kept = json.loads(path.read_text())
        del kept["measurements"]["evaluate"]
        path.write_text(json.dumps(kept))
        assert main(command) == 0
        assert fake.events[everything:] == [
            "start ours",
            "start recoder-0.4.0",
            "ours",
            "recoder-0.4.0",
            "stop recoder-0.4.0",
            "stop ours",
        ]

    def test_what_was_measured_in_fewer_rounds_is_measured_again(self, fake: Recorded, tmp_path: Path) -> None:
        command = ["--quick", "--out", str(tmp_path), "--repeats"]
        assert main([*command, "1"]) == 0
        of_one_round = len(fake.events)
        assert main([*command, "3"]) == 0
        assert len(fake.events) > of_one_round
        kept = json.loads((tmp_path / "quick" / "speed.json").read_text())["measurements"]
        assert len(kept["evaluate"]["sides"]["ours"]["values"]) == 3
        everything = len(fake.events)
        assert main([*command, "2"]) == 0
        assert len(fake.events) == everything

    def test_a_measurement_with_a_side_that_failed_is_taken_again(self, fake: Recorded, tmp_path: Path) -> None:
        command = ["--quick", "--out", str(tmp_path), "--repeats", "1"]
        assert main(command) == 0
        path = tmp_path / "quick" / "speed.json"
        kept = json.loads(path.read_text())
        kept["measurements"]["evaluate"]["sides"]["0.4.0"] = {"error": "it does not install"}
        path.write_text(json.dumps(kept))
        everything = len(fake.events)
        assert main(command) == 0
        assert fake.events[everything:].count("recoder-0.4.0") == 1
        assert "values" in json.loads(path.read_text())["measurements"]["evaluate"]["sides"]["0.4.0"]

    def test_a_side_that_makes_no_sense_here_is_not_taken_again(
        self, fake: Recorded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(cli, "has_bf16", lambda machine: False)
        command = ["--quick", "--out", str(tmp_path), "--repeats", "1"]
        assert main(command) == 0
        everything = len(fake.events)
        assert main(command) == 0
        assert len(fake.events) == everything

    def test_only_measures_anew_what_is_named_and_writes_no_page(
        self, fake: Recorded, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        for _ in range(2):
            assert main(["--quick", "--out", str(tmp_path), "--repeats", "1", "--only", "evaluate"]) == 0
        assert fake.events.count("start ours") == 2
        assert "| evaluate" in capsys.readouterr().out
        assert not (tmp_path / "quick" / "RESULTS.md").exists()

    def test_only_takes_a_family_of_names_and_refuses_unknown_ones(
        self, fake: Recorded, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main(["--quick", "--out", str(tmp_path), "--repeats", "1", "--only", "batch"]) == 0
        assert "2/2] batch-40: done" in capsys.readouterr().err
        assert main(["--quick", "--out", str(tmp_path), "--only", "bach"]) == 2
        assert "bach names no measurement; there are sampled-logistic" in capsys.readouterr().err

    def test_an_interrupt_ends_it_and_says_that_it_goes_on(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        def interrupted(*args: Any, **options: Any) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr(cli, "measured", interrupted)
        assert main(["--quick", "--out", str(tmp_path)]) == 130
        assert "goes on with the first measurement that is missing" in capsys.readouterr().err

    def test_the_name_of_no_benchmark_is_answered_with_those_that_there_are(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main_of_all(["sped"]) == 2
        assert "speed" in capsys.readouterr().err


class TestTable:
    def test_every_line_and_every_point_of_a_plot_is_measured(self) -> None:
        table = make_table(FULL)
        measured_sides = {item.name: item.sides for item in table.measurements}
        for row in table.rows:
            assert {row.ours, row.theirs} - {None} <= measured_sides[row.measurement].keys()
        for plot in table.plots:
            for curve in plot.curves:
                assert all(side in measured_sides[name] for name, side in curve.points.values())

    def test_sides_of_a_line_do_the_same_work_but_for_precision_and_what_the_line_names(self) -> None:
        table = make_table(FULL)
        sides_of = {item.name: item.sides for item in table.measurements}
        for row in table.rows:
            ours = sides_of[row.measurement][row.ours].task
            theirs = sides_of[row.measurement][row.theirs].task if row.theirs else None
            if isinstance(ours, Training) and isinstance(theirs, Training) and row.measurement != "items":
                same = replace(theirs, precision=ours.precision, batch_size=ours.batch_size)
                assert same == ours

    def test_everything_is_measured_in_at_least_five_rounds_but_for_slow_works(self) -> None:
        fewer = {item.name for item in make_table(FULL).measurements if item.rounds < 5}
        assert {name.split("-")[0] for name in fewer} == {"cuda"}
