from __future__ import annotations

import logging
import sys

import numpy as np
import pytest
import torch
from scipy import sparse

from recoder.data import RecommendationDataset
from recoder.errors import ConfigError, ShapeError
from recoder.losses import make_loss
from recoder.metrics import NDCG, AveragePopularity, Coverage, Metric, Recall, RecommenderEvaluator
from recoder.nn import DynamicAutoencoder
from recoder.ops.collectives import Ranks
from recoder.recommender import InferenceRecommender
from recoder.recommender.scoring import ModelScorer
from recoder.training import callbacks
from recoder.training.callbacks import Checkpoints, ProgressBar, Recorder, Validation, make_callbacks
from recoder.training.events import Callback, EpochReport
from recoder.training.history import EpochRecord, History
from recoder.training.stopping import EarlyStopping, GivesBestBack, StopsEarly
from support import train_config, training_run

NUM_USERS, NUM_ITEMS = 12, 9
CPU = torch.device("cpu")


def config(**changes):
    return train_config(**({"lr": 0.05, "num_epochs": 2, "batch_size": 4} | changes))


def matrix(seed):
    dense = np.random.default_rng(seed).random((NUM_USERS, NUM_ITEMS)) < 0.4
    dense[:, seed] = True
    return sparse.csr_matrix(dense.astype(np.float32))


class FirstHit(Metric):
    """A metric that does not say how far down it looks."""

    def __init__(self):
        super().__init__("first hit")

    def evaluate(self, x, y):
        return float(x[0] in y)


def report(epoch=1, is_last=False, loss=3.0):
    return EpochReport(epoch, is_last, loss, lr=0.05, seconds=1.0)


@pytest.fixture
def model():
    model = DynamicAutoencoder([4], noise_prob=0.5, dropout_prob=0.5)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model.init_model(num_items=NUM_ITEMS)
    return model.train()


@pytest.fixture
def scorer(model):
    return ModelScorer(model, num_items=NUM_ITEMS, num_users=None, device=CPU)


DATASET = RecommendationDataset(matrix(0), matrix(1))


def dense_loss(model, loss, dataset):
    """The documented loss of all users over the whole catalogue, mean per user."""
    x = torch.from_numpy(dataset.interactions_matrix.toarray())
    target = dataset.target_interactions_matrix
    y = x if target is None else torch.from_numpy(target.toarray())
    with torch.no_grad():
        value = float(loss(model.eval()(x), y)) / len(x)
    model.train()
    return value


@pytest.mark.parametrize("dataset", [DATASET, RecommendationDataset(matrix(0))], ids=["target", "no target"])
@pytest.mark.parametrize("name", ["mse", "logistic", "logloss"])
@pytest.mark.parametrize("block_scores", [1, 40, 1 << 24])
def test_validation_loss_is_over_the_whole_catalogue_and_against_the_target_if_there_is_one(
    model, scorer, dataset, name, block_scores, monkeypatch
):
    monkeypatch.setattr(callbacks, "BLOCK_SCORES", block_scores)
    loss = make_loss(name, None)
    validation = Validation(dataset, True, model, loss, scorer, config(negative_sampling=True), CPU)
    told = report()
    validation.on_epoch_end(told)
    assert told.val_loss == pytest.approx(dense_loss(model, loss, dataset), rel=1e-5)
    assert told.metrics == {}


@pytest.mark.parametrize("name", ["mse", "logistic", "logloss"])
def test_where_training_is_against_the_input_what_is_given_of_validation_users_counts_as_wanted(model, scorer, name):
    loss = make_loss(name, None)
    told = report()
    Validation(DATASET, False, model, loss, scorer, config(), CPU).on_epoch_end(told)
    both = matrix(0).maximum(matrix(1)).tocsr()
    assert both.nnz > matrix(1).nnz
    wanted = RecommendationDataset(matrix(0), both)
    assert told.val_loss == pytest.approx(dense_loss(model, loss, wanted), rel=1e-5)


@pytest.mark.parametrize("learns_targets", [False, True])
def test_users_who_do_not_validate_are_in_no_mean(model, scorer, learns_targets):
    loss = make_loss("logistic", None)
    told, expected = report(), report()
    Validation(DATASET, learns_targets, model, loss, scorer, config(), CPU).on_epoch_end(expected)
    empty = sparse.csr_matrix((7, NUM_ITEMS), dtype=np.float32)
    stacked = [sparse.vstack([empty, part, empty]).tocsr() for part in (matrix(0), matrix(1))]
    of_all = RecommendationDataset(*stacked)
    Validation(of_all, learns_targets, model, loss, scorer, config(), CPU).on_epoch_end(told)
    assert told.val_loss == pytest.approx(expected.val_loss, rel=1e-6)
    nobody = RecommendationDataset(empty, empty)
    Validation(nobody, learns_targets, model, loss, scorer, config(), CPU).on_epoch_end(told)
    assert told.val_loss == pytest.approx(dense_loss(model, loss, nobody), rel=1e-5)


def test_validation_takes_no_gradient_draws_no_noise_and_leaves_the_model_in_training(model, scorer):
    validation = Validation(DATASET, True, model, make_loss("mse", None), scorer, config(), CPU)
    values = []
    for _ in range(2):
        told = report()
        validation.on_epoch_end(told)
        values.append(told.val_loss)
    assert values[0] == values[1]
    assert all(parameter.grad is None for parameter in model.parameters())
    assert all(module.training for module in model.modules())


METRICS = (Recall(2), NDCG(4))


def test_metrics_are_evaluated_in_their_epochs_and_after_the_last(model, scorer):
    arguments = config(metrics=METRICS, eval_freq=2, num_epochs=5)
    validation = Validation(DATASET, True, model, make_loss("mse", None), scorer, arguments, CPU)
    evaluated = []
    for epoch in range(1, 6):
        told = report(epoch, is_last=epoch == 5)
        validation.on_epoch_end(told)
        assert told.val_loss is not None
        if told.metrics:
            evaluated.append(epoch)
    assert evaluated == [2, 4, 5]


@pytest.mark.parametrize("num_users", [None, 5])
def test_metrics_are_those_of_the_evaluator_over_the_largest_cut_off(model, scorer, num_users):
    arguments = config(metrics=METRICS, eval_freq=1, eval_num_users=num_users)
    told = report()
    Validation(DATASET, True, model, make_loss("mse", None), scorer, arguments, CPU).on_epoch_end(told)
    recommender = InferenceRecommender(scorer, 4)
    expected = RecommenderEvaluator(recommender, METRICS).evaluate(DATASET, num_users=num_users)
    assert told.metrics == {str(metric): expected.mean[metric] for metric in METRICS}
    assert told.metric_errors == {str(metric): expected.stderr[metric] for metric in METRICS}


def test_metrics_of_lists_and_of_the_catalogue_are_evaluated_too(model, scorer):
    metrics = (Coverage(4), AveragePopularity(3, np.arange(DATASET.num_items)), *METRICS)
    told = report()
    arguments = config(metrics=metrics, eval_freq=1)
    Validation(DATASET, True, model, make_loss("mse", None), scorer, arguments, CPU).on_epoch_end(told)
    expected = RecommenderEvaluator(InferenceRecommender(scorer, 4), metrics).evaluate(DATASET)
    assert told.metrics == {str(metric): expected.mean[metric] for metric in metrics}
    assert np.isfinite(list(told.metrics.values())).all()
    assert [name for name, error in told.metric_errors.items() if np.isnan(error)] == ["Coverage@4"]


def test_a_metric_without_a_cut_off_needs_the_number_of_recommendations(model, scorer):
    def validation(**changes):
        arguments = config(metrics=[FirstHit()], eval_freq=1, **changes)
        return Validation(DATASET, True, model, make_loss("mse", None), scorer, arguments, CPU)

    with pytest.raises(ConfigError, match=r"first hit does not say .*eval_num_recommendations"):
        validation()
    told = report()
    validation(eval_num_recommendations=3).on_epoch_end(told)
    assert set(told.metrics) == {"first hit"}


def test_a_metric_beyond_the_number_of_recommendations_is_an_error_before_training(model, scorer):
    arguments = config(metrics=METRICS, eval_freq=1, eval_num_recommendations=3)
    with pytest.raises(ConfigError, match="looks at 4 recommendations, but eval_num_recommendations is 3"):
        Validation(DATASET, True, model, make_loss("mse", None), scorer, arguments, CPU)


def test_processes_go_by_what_the_first_of_them_finds(model, scorer):
    class Second(Ranks):
        """Adds what the first process found to what this one hands in."""

        def sum_(self, tensor):
            return tensor.add_(torch.arange(1.0, 1.0 + len(tensor)))

    ranks = Second()
    ranks.size, ranks.rank = 2, 1
    told = report()
    arguments = config(metrics=METRICS, eval_freq=1)
    Validation(DATASET, True, model, make_loss("mse", None), scorer, arguments, CPU, ranks).on_epoch_end(told)
    values = [told.val_loss, *told.metrics.values(), *told.metric_errors.values()]
    assert values == [1.0 + place for place in range(1 + 2 * len(METRICS))]
    assert list(told.metrics) == list(told.metric_errors) == [str(metric) for metric in METRICS]


def test_so_is_one_of_another_catalogue(model, scorer):
    metric = AveragePopularity(3, np.arange(NUM_ITEMS + 1))
    arguments = config(metrics=[metric], eval_freq=1, eval_num_recommendations=3, num_data_workers=2)
    with pytest.raises(ShapeError, match=f"made for {NUM_ITEMS + 1} items"):
        Validation(DATASET, True, model, make_loss("mse", None), scorer, arguments, CPU)


def test_one_that_cannot_be_sent_to_the_workers_of_batches_is_evaluated_here(model, scorer, caplog):
    class Local(FirstHit):
        """Nobody else can import it."""

    reports = []
    for num_data_workers in (0, 2):
        arguments = config(
            metrics=[Local()], eval_freq=1, eval_num_recommendations=3, num_data_workers=num_data_workers
        )
        reports.append(report())
        with caplog.at_level(logging.INFO, "recoder.metrics"):
            Validation(DATASET, True, model, make_loss("mse", None), scorer, arguments, CPU).on_epoch_end(reports[-1])
    assert reports[0].metrics == reports[1].metrics
    (said,) = [message for message in caplog.messages if "in this process" in message]
    assert "first hit cannot be sent to a worker process" in said


@pytest.mark.parametrize(("freq", "saved"), [(0, [7]), (1, [1, 2, 3, 4, 5, 6, 7]), (3, [3, 6, 7]), (7, [7]), (9, [7])])
def test_checkpoints_come_every_so_many_epochs_and_after_the_last(freq, saved):
    epochs, now = [], {}

    def save():
        epochs.append(now["epoch"])
        return "a path"

    checkpoints = Checkpoints(save, freq)
    for epoch in range(1, 8):
        now["epoch"] = epoch
        checkpoints.on_checkpoint(report(epoch, is_last=epoch == 7))
    assert epochs == saved


def test_saved_files_are_logged(caplog):
    with caplog.at_level(logging.INFO, "recoder.training"):
        Checkpoints(lambda: "models/m_epoch_1.model", 1).on_checkpoint(report())
    assert caplog.messages == ["saved models/m_epoch_1.model"]


def test_recorder_adds_what_is_reported_to_the_history_and_the_log(caplog):
    history = History()
    told = report()
    told.val_loss, told.metrics, told.metric_errors = 2.5, {"NDCG@10": 0.5}, {"NDCG@10": 0.1}
    with caplog.at_level(logging.INFO, "recoder.training"):
        Recorder(history).on_epoch_end(told)
    expected = EpochRecord(1, 3.0, 0.05, 1.0, 2.5, {"NDCG@10": 0.5}, {"NDCG@10": 0.1})
    assert list(history) == [expected]
    assert caplog.messages == [str(expected)]


class Terminal:
    """A stream that says it is a terminal."""

    encoding = "utf-8"

    def __init__(self):
        self.text = ""

    def write(self, text):
        self.text += text

    def flush(self):
        pass

    def isatty(self):
        return True


def run_bar():
    bar = ProgressBar()
    bar.on_train_start(training_run(num_epochs=2, first_step=1, num_steps=4))
    for epoch, steps in ((1, 1), (2, 2)):
        for _ in range(steps):
            bar.on_step_end()
        told = report(epoch, loss=12.5)
        told.metrics = {"NDCG@10": 0.25}
        bar.on_epoch_end(told)
    bar.on_train_end(None)


def test_progress_bar_is_quiet_where_there_is_no_terminal(capsys):
    run_bar()
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == ""


def test_progress_bar_shows_steps_epoch_loss_and_metrics_on_a_terminal(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    run_bar()
    last = terminal.text.rstrip("\n").split("\r")[-1]
    assert "4/4" in last
    assert last.startswith("epoch 2/2")
    assert "loss=12.5" in last
    assert "NDCG@10=0.25" in last
    assert "1/4" in terminal.text  # the step that was done before


@pytest.mark.parametrize(("value", "is_quiet"), [("1", True), ("true", True), ("0", False), ("", False)])
def test_progress_bar_is_quiet_where_the_environment_says_so(monkeypatch, value, is_quiet):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TQDM_DISABLE", value)
    run_bar()
    assert (terminal.text == "") == is_quiet


def test_progress_bar_may_end_before_it_started():
    ProgressBar().on_train_end(None)


def make(model, scorer, validation=None, of_user=(), **changes):
    loss, arguments = make_loss("mse", None), config(**changes)
    return make_callbacks(
        validation, False, model, loss, scorer, arguments, History(), lambda prefix: prefix, CPU, of_user=of_user
    )


def test_a_report_passes_from_validation_over_the_users_callbacks_to_the_record_and_the_file(model, scorer):
    class Own(Callback):
        pass

    stopping = EarlyStopping()
    made = make(model, scorer, DATASET, [Own(), Own()], model_checkpoint_prefix="m", early_stopping=stopping)
    order = [Validation, StopsEarly, Own, Own, ProgressBar, Recorder, GivesBestBack, Checkpoints]
    assert [type(callback) for callback in made] == order


def test_callbacks_are_made_only_for_what_was_asked_for(model, scorer):
    assert {type(callback) for callback in make(model, scorer)} == {ProgressBar, Recorder}


def test_the_prefix_reaches_the_saving(model, scorer, caplog):
    with caplog.at_level(logging.INFO, "recoder.training"):
        make(model, scorer, model_checkpoint_prefix="models/m")[-1].on_checkpoint(report(is_last=True))
    assert caplog.messages == ["saved models/m"]


def test_events_of_the_base_class_do_nothing():
    callback = Callback()
    callback.on_train_start(training_run())
    callback.on_step_end()
    callback.on_epoch_end(report())
    callback.on_checkpoint(report())
    callback.on_train_end(None)
