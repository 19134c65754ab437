"""Callbacks of the user's own in whole runs."""

from __future__ import annotations

import math
import signal

import numpy as np
import pytest
import torch

from recoder.errors import DataTypeError
from recoder.metrics import NDCG
from recoder.model import Recoder
from recoder.nn import MatrixFactorization, Popularity
from recoder.recipes import recipe
from recoder.training import Callback, EarlyStopping
from small_runs import dataset, recoder, run


def facts(made):
    return [(record.epoch, record.loss, record.val_loss, record.metrics) for record in made.history]


def assert_same(first, second):
    for name, tensor in second.model.state_dict().items():
        assert torch.equal(first.model.state_dict()[name], tensor), name
    assert facts(first) == facts(second)
    assert first.history.best_epoch == second.history.best_epoch


class At(Callback):
    """Does something at an event of an epoch, once."""

    def __init__(self, event, epoch, do):
        self.event, self.epoch, self.do = event, epoch, do
        self.ended_by = "nothing yet"

    def on_train_end(self, error):
        self.ended_by = error

    def on_epoch_end(self, report):
        self.hear("on_epoch_end", report)

    def on_checkpoint(self, report):
        self.hear("on_checkpoint", report)

    def hear(self, event, report):
        if (event, report.epoch) == (self.event, self.epoch):
            self.epoch = None
            self.do(report)


def fail(report):
    raise ZeroDivisionError


def end(report):
    report.is_last = True


@pytest.mark.parametrize("event", ["on_epoch_end", "on_checkpoint"])
def test_a_callback_sees_the_epochs_validation_and_ends_the_run(event, tmp_path):
    seen = []

    def look(report):
        seen.append((report.val_loss, report.metrics))
        report.is_last = True

    ended = run(recoder(), At(event, 2, look), model_checkpoint_prefix=tmp_path / "x")
    last = ended.history[-1]
    assert seen == [(last.val_loss, last.metrics)]
    assert last.epoch == 2
    assert [path.name for path in tmp_path.iterdir()] == ["x_epoch_2.model"]
    assert_same(run(ended), run(recoder()))  # and the run can be taken further


def test_what_a_callback_adds_to_the_report_stays_in_the_history_and_the_file(tmp_path):
    def add(report):
        report.metrics["own"] = 0.25

    made = run(recoder(), At("on_epoch_end", 2, add))
    assert [record.metrics.get("own") for record in made.history] == [None, 0.25, None, None]
    assert math.isnan(made.history[1].error_of("own"))
    assert "own 0.2500," in str(made.history[1])
    loaded = recoder()
    loaded.init_from_model_file(made.save_state(tmp_path / "x"))
    assert loaded.history[1] == made.history[1]
    assert made.history.plot().axes


@pytest.fixture(scope="module", params=[None, EarlyStopping(NDCG(5), patience=2)])
def changes(request):
    """The arguments of a run of several epochs."""
    return {"num_epochs": 9, "early_stopping": request.param}


@pytest.fixture(scope="module")
def undisturbed(changes):
    return run(recoder(), **changes)


@pytest.mark.parametrize("through_a_file", [False, True])
@pytest.mark.parametrize("event", ["on_epoch_end", "on_checkpoint"])
def test_a_run_that_a_callback_broke_goes_on_as_if_it_had_not(event, changes, undisturbed, through_a_file, tmp_path):
    last = len(undisturbed.history) - (event == "on_checkpoint")  # after the last one the run is complete
    assert last > 1
    for epoch in sorted({1, min(5, last), last}):
        broken, bystander = recoder(), Callback()
        failing = At(event, epoch, fail)
        with pytest.raises(ZeroDivisionError):
            run(broken, bystander, failing, bystander, **changes)
        assert isinstance(failing.ended_by, ZeroDivisionError)
        if through_a_file:
            path = broken.save_state(tmp_path / "x")
            broken = recoder()
            broken.init_from_model_file(path)
        assert_same(run(broken, **changes), undisturbed)


def test_an_error_after_the_last_epoch_leaves_the_run_complete(changes, undisturbed, tmp_path):
    broken = recoder()
    with pytest.raises(ZeroDivisionError):
        run(
            broken,
            At("on_checkpoint", len(undisturbed.history), fail),
            **changes,
            model_checkpoint_prefix=tmp_path / "x",
        )
    assert_same(broken, undisturbed)
    loaded = recoder()
    loaded.init_from_model_file(tmp_path / f"x_epoch_{len(undisturbed.history)}.model")
    assert_same(loaded, undisturbed)


@pytest.mark.usefixtures("python_handles_interrupts")
@pytest.mark.parametrize("event", ["on_epoch_end", "on_checkpoint"])
def test_an_interrupt_within_a_callback_ends_the_run_after_the_epoch(event):
    undisturbed = run(recoder())
    stopped = recoder()
    with pytest.raises(KeyboardInterrupt):
        run(stopped, At(event, 2, lambda report: signal.raise_signal(signal.SIGINT)))
    assert len(stopped.history) == 2
    assert_same(run(stopped), undisturbed)


def test_a_file_that_is_saved_at_a_checkpoint_goes_on_as_the_run_does(tmp_path):
    class Saves(Callback):
        def on_train_start(self, run):
            self.run = run

        def on_checkpoint(self, report):
            self.run.save(tmp_path / "own")

    stopping = EarlyStopping(NDCG(5), patience=2)
    undisturbed = run(recoder(), Saves(), num_epochs=9, early_stopping=stopping)
    for epoch in range(1, len(undisturbed.history)):
        resumed = recoder()
        resumed.init_from_model_file(tmp_path / f"own_epoch_{epoch}.model")
        assert_same(run(resumed, num_epochs=9, early_stopping=stopping), undisturbed)


def test_at_a_checkpoint_the_model_still_has_the_weights_of_the_epoch():
    weights = []

    class Looks(Callback):
        def on_train_start(self, run):
            self.run = run

        def on_checkpoint(self, report):
            weights.append(self.run.model.items.bias.detach().clone())
            assert self.run.history[-1].epoch == report.epoch

    stopped = run(recoder(), Looks(), num_epochs=9, early_stopping=EarlyStopping(NDCG(5), patience=2))
    unstopped = run(recoder(), num_epochs=len(stopped.history))
    assert torch.equal(weights[-1], unstopped.model.items.bias)
    assert torch.equal(weights[stopped.history.best_epoch - 1], stopped.model.items.bias)


class Starts(Callback):
    def __init__(self):
        self.runs = []

    def on_train_start(self, run):
        self.runs.append(run)


def test_the_start_tells_the_arguments_and_what_is_done_already():
    starts = Starts()
    made = run(run(recoder(), starts, num_epochs=2), starts)
    first, second = starts.runs
    assert (first.num_epochs, first.num_steps, first.first_step) == (2, 8, 0)
    assert (second.num_epochs, second.num_steps, second.first_step) == (4, 16, 8)
    assert first.has_validation
    assert first.model is made.model
    assert first.history is made.history
    assert first.arguments["model"]["class"] == "DynamicAutoencoder"
    assert first.arguments["model"]["hidden_layers"] == [6]
    assert first.arguments["recoder"] == {
        "optimizer_type": "adam",
        "loss": "logloss",
        "loss_params": {},
        "seed": 11,
        "precision": "fp32",
        "device": "cpu",
        "optimizer_state": "fp32",
    }
    assert (first.arguments["train"]["lr"], first.arguments["train"]["metrics"]) == (0.05, ["NDCG@5"])


@pytest.mark.parametrize(
    ("made", "steps"),
    [
        (Recoder(Popularity(), seed=1), 1),
        (Recoder(MatrixFactorization(3, fold_in=True), optimizer_type="als", loss="mse", seed=1), 4),
    ],
)
def test_models_without_gradient_steps_tell_the_same_events(made, steps):
    starts = Starts()
    run(made, starts, At("on_checkpoint", 2, end), batch_size=6)
    assert starts.runs[0].num_steps == steps
    assert made.history[-1].epoch == (4 if steps == 1 else 2)


def test_the_start_is_told_before_a_model_is_solved():
    starts = Starts()

    class Solved(Popularity):
        def solve(self, interactions):
            assert len(starts.runs) == 1
            raise ZeroDivisionError

    failing = At("", 0, end)
    with pytest.raises(ZeroDivisionError):
        run(Recoder(Solved(), seed=1), starts, failing)
    assert isinstance(failing.ended_by, ZeroDivisionError)


def test_recipes_pass_callbacks_on():
    starts = Starts()
    recipe("popularity").fit(dataset(), callbacks=[starts])
    assert len(starts.runs) == 1


def test_what_is_no_callback_is_an_error_before_the_model_is_made():
    made = recoder()
    with pytest.raises(DataTypeError, match="callbacks has the class At"):
        run(made, At)
    assert "not trained" in repr(made)


def test_where_nothing_is_left_to_train_callbacks_are_told_nothing():
    starts = Starts()
    run(run(recoder()), starts)
    assert starts.runs == []


def test_a_validation_loss_of_a_callback_may_be_a_number_of_numpy(tmp_path):
    class Own(Callback):
        def on_epoch_end(self, report):
            report.val_loss = np.float32(0.5)

    made = run(recoder(), Own())
    assert type(made.history[-1].val_loss) is float
    made.save_state(tmp_path / "x")
