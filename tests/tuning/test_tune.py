from __future__ import annotations

import resource
import shutil
import sqlite3
import sys
from dataclasses import replace
from functools import cache, partial

import numpy as np
import pytest
import torch
from scipy import sparse

from html_tables import read_html
from recoder import fit
from recoder._locks import held_alone
from recoder.data import HeldOut, IdMap, Interactions, RecommendationDataset, strong_generalization
from recoder.data.splits.in_training import validation_rows
from recoder.errors import (
    ConfigError,
    DataTypeError,
    DivergedError,
    FileFormatError,
    FileWriteError,
    MissingDependencyError,
    NotEnoughMemoryError,
    ShapeError,
    UnknownIdError,
)
from recoder.metrics import NDCG, Metric, Recall
from recoder.model import Recoder
from recoder.nn import EASE, DynamicAutoencoder
from recoder.recipes import Recipe, recipe
from recoder.training import Callback, EarlyStopping
from recoder.tuning import Choice, Range, model_files, tune

METRIC = NDCG(10)
EASE_SPACE = {"l2": Range(0.1, 1000.0, log=True), "popularity_discount": Range(0.0, 0.9)}


def made_split(seed=0):
    rng = np.random.default_rng(seed)
    fits = rng.integers(4, size=220)[:, None] == rng.integers(4, size=40)
    dense = rng.random(fits.shape) < np.where(fits, 0.5, 0.05)
    interactions = Interactions.from_matrix(sparse.csr_matrix(dense.astype(np.float32)))
    return strong_generalization(interactions, num_valid_users=50, num_test_users=50, seed=0)


SPLIT = made_split()


def tuned(num_trials=6, model="ease", split=SPLIT, **changes):
    arguments = {"metric": METRIC, "seed": 3, "space": EASE_SPACE if model == "ease" else None, **changes}
    return tune(split.train, split.valid, model, num_trials=num_trials, **arguments)


@cache
def undisturbed(num_trials):
    """What a tuning comes to that is not stopped and has no file; for all tests the same object."""
    return tuned(num_trials)


def found(result):
    return [(trial.state, trial.value, dict(trial.settings)) for trial in result.trials]


def weights(result):
    return result.recoder.model.state_dict()


def assert_same(first, second):
    assert found(first) == found(second)
    assert first.best_settings == second.best_settings
    assert all(torch.equal(weights(first)[name], tensor) for name, tensor in weights(second).items())


def test_the_first_trial_is_the_recipe_as_it_is_and_the_best_one_is_returned():
    result = tuned(8)
    assert [trial.number for trial in result.trials] == list(range(8))
    assert result.trials[0].settings == {"l2": 100.0, "popularity_discount": 0.0}
    assert result.best.value == max(trial.value for trial in result.trials)
    assert result.best_settings == result.best.settings
    assert (result.metric, result.seed, result.model_file) == ("NDCG@10", 3, None)


def test_values_are_those_of_an_evaluation_and_the_best_model_is_the_one_that_was_trained():
    result = tuned(5)
    values = result.recoder.evaluate(SPLIT.valid.dataset, 10, [METRIC])
    assert values.mean[METRIC] == result.best.value
    again = result.recipe.fit(training_set(), seed=result.seed)
    users = SPLIT.valid.dataset[np.arange(20)][0]
    np.testing.assert_array_equal(again.ranked(users, 10), result.recoder.ranked(users, 10))
    for trial in result.trials[:2]:
        fitted = recipe("ease").but(**trial.settings).fit(training_set(), seed=3)
        assert fitted.evaluate(SPLIT.valid.dataset, 10, [METRIC]).mean[METRIC] == trial.value


def test_with_early_stopping_a_trial_is_worth_what_the_weights_of_its_best_epoch_are():
    # no epoch is better than the first one by so much
    rule = EarlyStopping(METRIC, patience=2, min_delta=1.0)
    result = tuned(3, "autoencoder", space=AUTOENCODER, early_stopping=rule)
    history = result.recoder.history
    assert (len(history), history.best_epoch) == (3, 1)
    assert history[0].metrics != history[-1].metrics
    assert result.recoder.evaluate(SPLIT.valid.dataset, 10, [METRIC]).mean[METRIC] == result.best.value


def training_set():
    return RecommendationDataset(SPLIT.train.matrix)


def test_the_same_seed_gives_the_same_trials_and_another_one_others():
    assert found(tuned()) == found(tuned())
    assert found(tuned())[1:] != found(tuned(seed=4))[1:]


def test_what_is_given_is_not_tuned():
    result = tuned(3, popularity_discount=0.2)
    assert all(trial.settings.keys() == {"l2"} for trial in result.trials)
    assert result.recipe.model["popularity_discount"] == 0.2
    assert result.recoder.model.popularity_discount == 0.2


def test_lists_and_entries_of_mappings_are_tuned_too(tmp_path):
    space = {"loss_params.confidence": Range(1.0, 50.0), "embedding_size": Choice(4, 8, 200), "num_epochs": Range(1, 8)}
    result = tuned(4, "als", space=space, study=tmp_path / "s.sqlite")
    assert result.trials[0].settings == {"loss_params.confidence": 20.0, "embedding_size": 200, "num_epochs": 8}
    confidence = result.best.settings["loss_params.confidence"]
    assert result.best_settings["loss_params"] == {"confidence": confidence}
    layers = {"hidden_layers": Choice([200], [8]), "num_epochs": Range(1, 10)}
    result = tuned(3, "autoencoder", space=layers)
    assert result.trials[0].settings == {"hidden_layers": [200], "num_epochs": 10}
    assert result.recoder.model.hidden_layers == result.best.settings["hidden_layers"]


def test_a_metric_is_taken_by_its_name():
    assert found(tuned(2, metric=str(METRIC))) == found(tuned(2, metric=METRIC))


def test_fit_trains_the_model_of_the_best_trial_once_more():
    result = tuned(4, "als", num_epochs=2, space={"embedding_size": Choice(4, 8, 200)})
    model = fit(SPLIT.train, result.recipe, seed=result.seed)
    assert model.about.recipe == "als"
    assert model.about.model["embedding_size"] == result.best_settings["embedding_size"]
    assert model.evaluate(SPLIT.valid, [METRIC]).mean[METRIC] == pytest.approx(result.best.value, abs=1e-6)


def test_the_spaces_of_the_recipes_can_be_tuned_in():
    for name in ("autoencoder", "als", "edlae", "elsa"):
        epochs = {} if name == "edlae" else {"num_epochs": 2}
        result = tune(SPLIT.train, SPLIT.valid, name, num_trials=2, metric=METRIC, seed=1, **epochs)
        assert len(result.trials) == 2
        assert all(trial.state == "complete" for trial in result.trials), result


# going on


class Stopped(Exception):
    pass


def stop_in_trial(monkeypatch, number, error=KeyboardInterrupt):
    fit, calls = Recipe.fit, []

    def fit_or_stop(self, *args, **kwargs):
        calls.append(None)
        fitted = fit(self, *args, **kwargs)
        if len(calls) == number + 1:
            raise error
        return fitted

    monkeypatch.setattr(Recipe, "fit", fit_or_stop)
    return calls


@pytest.mark.parametrize(("number", "error"), [(0, KeyboardInterrupt), (7, Stopped)])
def test_a_tuning_that_was_stopped_goes_on_and_ends_as_the_undisturbed_one(number, error, tmp_path, monkeypatch):
    study = tmp_path / "deep" / "s.sqlite"
    with monkeypatch.context() as patch:
        stop_in_trial(patch, number, error)
        with pytest.raises(error):
            tuned(14, study=study)
    calls = stop_in_trial(monkeypatch, 99)
    result = tuned(14, study=study)
    assert len(calls) == 14 - number
    assert [trial.number for trial in result.trials] == [*range(number), *range(number + 1, 15)]
    assert_same(result, undisturbed(14))


def test_the_best_model_of_an_earlier_call_comes_from_its_file_and_is_not_trained_again(tmp_path, monkeypatch):
    study = tmp_path / "films.sqlite"
    first = tuned(6, study=study)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "films.sqlite",
        f"films.sqlite_trial_{first.best.number}.model",
    ]
    assert first.model_file == tmp_path / f"films.sqlite_trial_{first.best.number}.model"
    calls = stop_in_trial(monkeypatch, 99)
    again = tuned(6, study=study)
    assert calls == []
    assert_same(again, first)
    assert again.recoder.interactions.item_ids == SPLIT.train.item_ids
    fewer = tuned(2, study=study)  # all that are in the study count
    assert len(fewer.trials) == 6
    more = tuned(8, study=study)
    assert len(calls) == 2
    assert found(more)[:6] == found(first)


def test_a_file_that_is_gone_is_made_again(tmp_path, caplog):
    first = tuned(3, study=tmp_path / "s.sqlite")
    first.model_file.unlink()
    again = tuned(3, study=tmp_path / "s.sqlite")
    assert "is gone: it is trained once more" in caplog.text
    assert_same(again, first)
    assert again.model_file.exists()


def test_a_stop_between_the_file_and_the_study_leaves_no_file_behind(tmp_path, monkeypatch):
    study, save = tmp_path / "s.sqlite", model_files.ModelFiles.save

    def save_and_stop(self, number, *args):
        save(self, number, *args)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(model_files.ModelFiles, "save", save_and_stop)
        with pytest.raises(KeyboardInterrupt):
            tuned(3, study=study)
    assert (tmp_path / "s.sqlite_trial_0.model").exists()
    result = tuned(3, study=study)
    assert {path.name for path in tmp_path.iterdir()} == {"s.sqlite", result.model_file.name}
    assert_same(result, undisturbed(3))


def test_the_file_of_the_best_trial_is_not_one_that_a_killed_process_was_writing(tmp_path):
    files = model_files.ModelFiles(tmp_path / "s[1].sqlite")
    assert model_files.ModelFiles(tmp_path / "nowhere" / "s.sqlite").present() is None
    others = ("_trial_3_epoch_5.model", "_trial_2.model.tmp", "_trial_x.model", "_trial_1_trial_0.model")
    for ending in others:
        (tmp_path / f"s[1].sqlite{ending}").touch()
    assert files.present() is None
    for number in (10, 9):
        files.of(number).touch()
    assert files.present() == files.of(9)


def test_what_a_killed_process_left_of_its_trials_is_removed(tmp_path):
    study = tmp_path / "s.sqlite"
    first = tuned(2, study=study)
    left = [tmp_path / f"s.sqlite_trial_{number}_epoch_1.model" for number in (0, 1, 99)]
    of_others = [tmp_path / "s.sqlite_trial_0_epoch_1.png", tmp_path / "s.sqlite2_trial_0_epoch_1.model", left[2]]
    for path in {*left, *of_others}:
        path.touch()
    folder = tmp_path / ".s.sqlite_trial_0_epoch_1.model.1a2b3c4d.tmp"
    folder.mkdir()
    (folder / "half").touch()
    again = tuned(2, study=study)
    assert {path.name for path in tmp_path.iterdir()} == {
        "s.sqlite", first.model_file.name, *(path.name for path in of_others),
    }  # fmt: skip
    assert_same(again, first)


def test_a_trial_of_a_killed_process_is_run_again(tmp_path):
    import optuna

    study = tmp_path / "s.sqlite"
    tuned(2, study=study)
    storage = optuna.storages.RDBStorage(f"sqlite:///{study}")
    optuna.load_study(study_name="recoder", storage=storage).ask({"l2": EASE_SPACE["l2"].distribution()})
    storage.engine.dispose()
    assert_same(tuned(5, study=study), undisturbed(5))


def test_a_study_that_another_process_tunes_with_is_an_error_and_stays_as_it_is(tmp_path):
    study = tmp_path / "s.sqlite"
    first = tuned(2, study=study)
    (tmp_path / "s.sqlite_trial_2_epoch_1.model").touch()  # which the other process is about to give its name
    with held_alone(study), pytest.raises(ConfigError, match=r"another process tunes with the study .*s\.sqlite; wait"):
        tuned(4, study=study)
    assert (tmp_path / "s.sqlite_trial_2_epoch_1.model").exists()
    assert_same(tuned(2, study=study), first)
    assert not list(tmp_path.glob(".*"))


def test_the_seed_is_kept_with_the_study(tmp_path):
    first = tuned(2, seed=None, study=tmp_path / "s.sqlite")
    again = tuned(4, seed=None, study=tmp_path / "s.sqlite")
    assert again.seed == first.seed
    assert found(again)[:2] == found(first)
    assert_same(tuned(4, seed=first.seed), again)


def test_when_the_time_is_over_no_trial_is_started(tmp_path, monkeypatch):
    with pytest.raises(ConfigError, match="none of 0 trials was completed; allow for more time"):
        tuned(5, timeout_s=0, study=tmp_path / "s.sqlite")
    clock = iter(range(100))
    monkeypatch.setattr("recoder.tuning.running.time.monotonic", lambda: next(clock))
    # the clock is asked once at the start, and before each trial
    assert len(tuned(50, timeout_s=4, study=tmp_path / "s.sqlite").trials) == 3
    assert len(tuned(6, timeout_s=90, study=tmp_path / "s.sqlite").trials) == 6


# trials that end early


class WorseFromThen(Callback):
    """Makes an epoch's validation what the test says."""

    def __init__(self, value):
        self.value = value

    def on_epoch_end(self, report):
        report.metrics["NDCG@10"] = self.value(report.epoch)


def with_values(monkeypatch, value_of_trial):
    fit, calls = Recipe.fit, []

    def fit_with_values(self, *args, callbacks, **kwargs):
        number = len(calls)
        calls.append(None)
        told = WorseFromThen(lambda epoch: value_of_trial(number, epoch))
        return fit(self, *args, callbacks=[told, *callbacks], **kwargs)

    monkeypatch.setattr(Recipe, "fit", fit_with_values)


AUTOENCODER = {"hidden_layers": Choice([200], [4]), "num_epochs": Range(5, 10)}


def test_a_trial_that_is_worse_than_the_others_ends_early_and_is_never_the_best(monkeypatch, tmp_path):
    # trials 0 to 5 rise; 6 is bad from the start; 7 is bad only in the first fifth of its run
    def value(number, epoch):
        return 0.0 if number == 6 or (number == 7 and epoch <= 1) else 0.1 * number + 0.01 * epoch

    with_values(monkeypatch, value)
    result = tuned(8, "autoencoder", space=AUTOENCODER, study=tmp_path / "s.sqlite")
    assert [trial.state for trial in result.trials] == ["complete"] * 6 + ["pruned", "complete"]
    assert result.trials[6].value == 0.0
    assert result.best.number == 7
    assert "pruned" in str(result)


def test_nothing_is_pruned_before_five_trials_were_complete(monkeypatch):
    with_values(monkeypatch, lambda number, epoch: -float(number))
    result = tuned(6, "autoencoder", space=AUTOENCODER)
    assert [trial.state for trial in result.trials] == ["complete"] * 5 + ["pruned"]


def failing(monkeypatch, errors):
    train, calls = Recoder.train, []

    def train_or_fail(self, *args, **kwargs):
        calls.append(None)
        if len(calls) - 1 in errors:
            raise errors[len(calls) - 1]
        return train(self, *args, **kwargs)

    monkeypatch.setattr(Recoder, "train", train_or_fail)


def test_trials_that_fail_are_kept_with_their_error_and_do_not_end_the_study(monkeypatch, tmp_path):
    errors = {
        0: DivergedError("the loss is nan"),
        2: NotEnoughMemoryError("it needs 900 GiB"),
        3: torch.OutOfMemoryError("CUDA"),
        4: MemoryError(),
    }
    failing(monkeypatch, errors)
    result = tuned(6, study=tmp_path / "s.sqlite")
    assert [trial.state for trial in result.trials] == ["failed", "complete", *["failed"] * 3, "complete"]
    assert [trial.error for trial in result.trials] == [
        "the loss is nan", None, "it needs 900 GiB", "CUDA", "MemoryError", None,
    ]  # fmt: skip
    assert result.trials[0].value is None
    assert found(tuned(6, study=tmp_path / "s.sqlite")) == found(result)


def test_a_metric_that_is_not_a_number_is_a_failure(monkeypatch):
    with_values(monkeypatch, lambda number, epoch: float("nan") if number == 1 else 0.5)
    result = tuned(3)
    assert [trial.error for trial in result.trials] == [None, "NDCG@10 is nan", None]


def test_where_every_trial_fails_the_last_error_is_said(monkeypatch):
    failing(monkeypatch, {number: DivergedError(f"loss {number}") for number in range(3)})
    with pytest.raises(ConfigError, match="none of 3 trials was completed; trial 2: loss 2"):
        tuned(3)


# another study


@pytest.fixture(scope="module")
def folder_of_one_trial(tmp_path_factory):
    folder = tmp_path_factory.mktemp("one_trial")
    tuned(1, study=folder / "s.sqlite")
    return folder


@pytest.fixture
def study_of_one_trial(folder_of_one_trial, tmp_path):
    """A study for one test alone."""
    shutil.copytree(folder_of_one_trial, tmp_path, dirs_exist_ok=True)
    return tmp_path / "s.sqlite"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"model": "edlae", "space": EASE_SPACE},
            r"another settings: dropout_prob 0.0 \(now 0.5\), l2 100.0 \(now 50.0\)",
        ),
        ({"model": "als"}, "model EASE, not MatrixFactorization"),
        ({"metric": Recall(10)}, "metric NDCG@10, not Recall@10"),
        ({"seed": 4}, "seed 3, not 4"),
        ({"split": made_split(1)}, "is of other data .170 users|120 users"),
        (
            {"space": {**EASE_SPACE, "l2": Range(1.0, 500.0)}},
            r"another space: l2 Range\(low=0.1, high=1000.0, log=True\)",
        ),
        ({"popularity_discount": 0.1}, "another settings: popularity_discount 0.0"),
    ],
)
def test_a_study_of_something_else_is_an_error_that_says_what(changes, words, study_of_one_trial):
    with pytest.raises(ConfigError, match=rf"the study in .*s\.sqlite (is of|has) {words}"):
        tuned(1, study=study_of_one_trial, **changes)


def test_other_data_of_the_same_size_are_noticed(study_of_one_trial):
    matrix = SPLIT.train.matrix.copy()
    matrix.data[3] = 2
    heavier = replace(SPLIT, train=replace(SPLIT.train, matrix=matrix))
    with pytest.raises(ConfigError, match=r"is of other data .*, though there are as many"):
        tuned(1, split=heavier, study=study_of_one_trial)
    others = replace(SPLIT, valid=SPLIT.test)
    with pytest.raises(ConfigError, match="is of other data"):
        tuned(1, split=others, study=study_of_one_trial)


def test_a_file_that_is_no_study_is_an_error(tmp_path):
    (tmp_path / "s.sqlite").write_text("a shopping list, which is long enough to be looked at as a data base " * 9)
    with pytest.raises(FileFormatError, match=r"optuna reads no study in .*s\.sqlite .*file is not a database"):
        tuned(1, study=tmp_path / "s.sqlite")
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(FileWriteError, match="cannot write"):
        tuned(1, study=tmp_path / "file" / "s.sqlite")


def test_a_study_that_others_made_is_an_error(tmp_path):
    import optuna

    storage = optuna.storages.RDBStorage(f"sqlite:///{tmp_path / 's.sqlite'}")
    optuna.create_study(storage=storage, study_name="recoder").set_user_attr("recoder", 3)
    storage.engine.dispose()
    with pytest.raises(ConfigError, match="was not made by this version of tune"):
        tuned(1, study=tmp_path / "s.sqlite")


def test_the_file_is_let_go_of(tmp_path):
    tuned(1, study=tmp_path / "s.sqlite")
    with sqlite3.connect(tmp_path / "s.sqlite", timeout=0) as connection:
        connection.execute("BEGIN EXCLUSIVE")
    connection.close()


def test_optuna_is_as_talkative_after_as_before():
    import optuna

    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.DEBUG)
    try:
        tuned(1)
        assert optuna.logging.get_verbosity() == optuna.logging.DEBUG
    finally:
        optuna.logging.set_verbosity(before)


# the result


def test_trials_are_a_table_in_print_in_a_notebook_and_for_data_frames():
    result = tuned(3, "autoencoder", space=AUTOENCODER, hidden_layers=[4])
    lines = str(result).splitlines()
    assert lines[0].split() == ["trial", "state", "NDCG@10", "num_epochs", "seconds"]
    assert len(lines) == 4
    assert lines[1 + result.best.number].startswith(f"{result.best.number} *")
    html = read_html(result._repr_html_())
    assert html.rows[1][1:4] == ["complete", f"{result.trials[0].value:.4f}", "10"]
    assert html.bold[0] == f"{result.best.number} *"
    table = tuned(3, "autoencoder", space=AUTOENCODER).to_arrow().to_pydict()
    assert list(table) == ["trial", "state", "NDCG@10", "seconds", "hidden_layers", "num_epochs", "error"]
    assert table["hidden_layers"][0] == "[200]"
    assert table["num_epochs"][0] == 10
    assert table["error"] == [None] * 3
    assert repr(result).startswith("TuningResult(3 trials, best NDCG@10 0.")


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"num_trials": 0}, ConfigError, "num_trials is 0"),
        ({"timeout_s": -1}, ConfigError, "timeout_s is -1"),
        ({"model": "popularity", "space": None}, ConfigError, "popularity has nothing that is left to tune"),
        ({"l2": 1.0, "popularity_discount": 0.0}, ConfigError, "ease has nothing that is left to tune"),
        ({"model": "easy"}, ConfigError, "there is no recipe 'easy'"),
        ({"model": recipe("ease"), "space": None}, ConfigError, "pass space="),
        ({"lr": 1.0}, ConfigError, "the recipe has no lr"),
        ({"metric": 10}, DataTypeError, "metric is a int; pass a Metric"),
        ({"metric": "nDCG@10"}, ConfigError, "there is no metric 'nDCG@10'"),
        ({"space": {"l2": (1, 2)}}, DataTypeError, r"space has \(1, 2\) for l2; pass a recoder.tuning.Range"),
        ({"space": {"l2": Range(1.0, 2.0)}}, ConfigError, "the first trial is the recipe as it is"),
    ],
)
def test_arguments_that_cannot_work_are_said_before_anything_is_trained(arguments, error, words):
    with pytest.raises(error, match=words):
        tuned(**arguments)


def test_training_and_validation_data_are_of_their_kinds():
    with pytest.raises(DataTypeError, match=r"train is a csr_\w+; pass a Interactions"):
        tune(SPLIT.train.matrix, SPLIT.valid, num_trials=1)
    with pytest.raises(DataTypeError, match="valid is a RecommendationDataset; pass held-out users"):
        tune(SPLIT.train, SPLIT.valid.dataset, num_trials=1)
    with pytest.raises(DataTypeError, match="model is a EASE; pass the name of a recipe"):
        tune(SPLIT.train, SPLIT.valid, EASE(), num_trials=1)


def test_models_that_look_users_up_are_judged_by_their_own_factors():
    train, test = SPLIT.train.split("random", seed=1)
    order = np.arange(len(test.user_ids))[::-1]
    matrices = test.dataset.interactions_matrix[order], test.dataset.target_interactions_matrix[order]
    turned = HeldOut(RecommendationDataset(*matrices), IdMap(test.user_ids.raw_ids(order)), test.item_ids)
    space = {"weight_decay": Range(1.0, 30.0)}
    settings = {"fold_in": False, "embedding_size": 8, "num_epochs": 2, "num_trials": 1, "seed": 1, "space": space}
    values = [tune(train, valid, "als", metric=NDCG(10), **settings).best.value for valid in (test, turned)]
    assert values[0] == pytest.approx(values[1])
    with pytest.raises(UnknownIdError, match="looks users up"):
        tune(train, SPLIT.valid, "als", metric=NDCG(10), **settings)


def test_a_recipe_of_ones_own_is_tuned_over_a_space_of_ones_own(tmp_path):
    class Own(EASE):
        pass

    own = Recipe(Own, {"l2": 10.0}, {}, {})
    for _ in range(2):  # trained, and from the file
        result = tuned(3, own, space={"l2": Range(1.0, 100.0)}, study=tmp_path / "s.sqlite")
        assert type(result.recoder.model) is Own
        assert result.recoder.model.l2 == result.best.settings["l2"]


def decaying(model):
    return replace(Recipe.of(model), recoder={"optimizer_type": "adam"}, train={"lr": 0.01, "weight_decay": 0.0})


DECAYS = {"weight_decay": Range(0.0, 1.0)}


def test_a_recipe_around_a_model_object_returns_the_best_trials_weights_and_leaves_the_object_alone(monkeypatch):
    model = DynamicAutoencoder([4])
    with monkeypatch.context() as patch:
        with_values(patch, lambda number, epoch: -float(number))
        result = tuned(3, decaying(model), space=DECAYS)
    assert result.best.number == 0
    assert list(model.parameters()) == []
    assert result.recoder.model is not model
    expected = decaying(DynamicAutoencoder([4])).fit(training_set(), seed=3).model.state_dict()
    assert all(torch.equal(weights(result)[name], tensor) for name, tensor in expected.items())


def test_a_study_of_one_model_object_does_not_go_on_with_another(tmp_path):
    study = tmp_path / "s.sqlite"
    for _ in range(2):
        tuned(1, decaying(DynamicAutoencoder([4])), space=DECAYS, study=study)
    with pytest.raises(
        ConfigError, match=r"has model DynamicAutoencoder\(.*\[4\].*\), not DynamicAutoencoder\(.*\[8\]"
    ):
        tuned(1, decaying(DynamicAutoencoder([8])), space=DECAYS, study=study)


def test_a_recipe_of_a_class_with_some_arguments_bound_is_tuned_over_the_others(tmp_path):
    def tuned_with(discount):
        bound = Recipe(partial(EASE, popularity_discount=discount), {"l2": 10.0}, {}, {})
        return tuned(2, bound, space={"l2": Range(1.0, 100.0)}, study=tmp_path / "s.sqlite")

    assert tuned_with(0.5).recoder.model.popularity_discount == 0.5
    with pytest.raises(ConfigError, match="has model EASE"):
        tuned_with(0.25)


def test_without_optuna_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(MissingDependencyError, match=r"recsys-recoder\[tune\]"):
        tuned(1)


def test_validation_users_over_other_items_are_refused():
    order = np.arange(SPLIT.train.num_items)[::-1]
    users = SPLIT.valid.dataset
    matrices = [matrix[:, order] for matrix in (users.interactions_matrix, users.target_interactions_matrix)]
    item_ids = IdMap(SPLIT.train.item_ids.ids.take(order))
    turned = HeldOut(RecommendationDataset(*matrices), SPLIT.valid.user_ids, item_ids)
    with pytest.raises(ShapeError, match="valid is over other items than train"):
        tuned(1, split=replace(SPLIT, valid=turned))


@pytest.mark.parametrize("name", ["callbacks", "eval_freq", "metrics"])
def test_what_trials_are_judged_and_pruned_by_is_not_for_the_caller_to_say(name):
    with pytest.raises(ConfigError, match=f"tune chooses {name} for its trials itself"):
        tuned(1, "autoencoder", space=AUTOENCODER, **{name: 1})


def test_studies_of_names_that_begin_alike_have_models_of_their_own(tmp_path):
    first = tuned(2, study=tmp_path / "ease.v1")
    second = tuned(2, study=tmp_path / "ease.v2", seed=9)
    assert first.model_file != second.model_file
    assert_same(tuned(2, study=tmp_path / "ease.v1"), first)


def test_an_object_in_the_settings_does_not_keep_a_study_from_going_on(tmp_path):
    class Loss(torch.nn.MSELoss):
        __repr__ = object.__repr__

    settings = {"space": AUTOENCODER, "study": tmp_path / "s.sqlite", "hidden_layers": [4]}
    first = tuned(1, "autoencoder", loss=Loss(reduction="sum"), popularity_bias=False, **settings)
    again = tuned(1, "autoencoder", loss=Loss(reduction="sum"), popularity_bias=False, **settings)
    assert found(again) == found(first)


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        torch.linalg.LinAlgError("linalg.eigh: the algorithm failed to converge"),
    ],
)
def test_a_trial_that_torch_cannot_compute_has_failed_and_other_errors_are_raised(monkeypatch, error):
    failing(monkeypatch, {1: error})
    assert [trial.state for trial in tuned(3).trials] == ["complete", "failed", "complete"]
    failing(monkeypatch, {1: RuntimeError("shapes differ")})
    with pytest.raises(RuntimeError, match="shapes differ"):
        tuned(3)


def test_a_study_that_can_no_longer_be_written_is_an_error(study_of_one_trial):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    try:
        with pytest.raises(FileWriteError, match=r"cannot write the study .*s.sqlite: .*disk"):
            tuned(2, study=study_of_one_trial)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_closed_forms_are_tuned_by_metrics_of_ones_own():
    class Length(Metric):
        def evaluate(self, x, y):
            return float(len(x))

    assert tuned(1, metric=Length("length"), eval_num_recommendations=7).best.value == 7


def test_trials_that_look_users_up_and_that_do_not_are_each_judged_by_their_own_rows():
    train, test = SPLIT.train.split("random", seed=1)
    order = np.arange(len(test.user_ids))[::-1]
    matrices = [matrix[order] for matrix in (test.dataset.interactions_matrix, test.dataset.target_interactions_matrix)]
    turned = HeldOut(RecommendationDataset(*matrices), IdMap(test.user_ids.ids.take(order)), test.item_ids)
    space = {"fold_in": Choice(True, False)}
    arguments = {"metric": METRIC, "seed": 3, "space": space, "embedding_size": 8, "weight_decay": 1.0}
    result = tune(train, turned, "als", num_trials=8, **arguments)
    complete = [trial for trial in result.trials if trial.state == "complete"]
    assert {trial.settings["fold_in"] for trial in complete} == {True, False}
    for trial in complete:
        alone = recipe("als").but(embedding_size=8, weight_decay=1.0, **trial.settings)
        fitted = alone.fit(RecommendationDataset(train.matrix), seed=3)
        judged = validation_rows(test, train, folds_in=trial.settings["fold_in"])
        assert trial.value == pytest.approx(fitted.evaluate(judged, 10, [METRIC]).mean[METRIC], abs=1e-6)


@pytest.mark.parametrize("name", ["{films}.sqlite", "what?.sqlite", "a%20b.sqlite", "a#b.sqlite"])
def test_a_study_whose_name_means_something_else_in_an_address_is_refused(name, tmp_path):
    with pytest.raises(ConfigError, match=r"address of a database cannot hold '[{?%#]'"):
        tune(SPLIT.train, SPLIT.valid, "ease", num_trials=1, study=tmp_path / name)


def test_a_range_of_whole_numbers_over_a_fraction_says_how_to_write_it():
    with pytest.raises(ConfigError, match=r"is of whole numbers; write Range\(10\.0, 2000\.0\)"):
        tune(SPLIT.train, SPLIT.valid, "ease", num_trials=1, space={"l2": Range(10, 2000)})


def test_settings_that_do_not_go_together_are_a_failed_trial(tmp_path):
    space = {"loss": Choice("logistic", "mse"), "logq_correction": Choice(False, True)}
    settings = {"space": space, "num_epochs": 1, "hidden_layers": [4], "study": tmp_path / "s.sqlite"}
    result = tuned(8, "autoencoder", **settings)
    states = {trial.state for trial in result.trials}
    assert states == {"complete", "failed"}
    assert all(
        trial.settings == {"loss": "mse", "logq_correction": True} for trial in result.trials if trial.state == "failed"
    )


def test_a_mistyped_setting_does_not_spoil_the_study(tmp_path):
    settings = {"num_epochs": 1, "space": {"embedding_size": Choice(4, 200)}, "study": tmp_path / "s.sqlite"}
    with pytest.raises(ConfigError, match="logisitc"):
        tuned(2, "als", loss="logisitc", **settings)
    assert len(tuned(2, "als", loss="mse", **settings).trials) == 2
    with pytest.raises(ConfigError, match="has another settings"):
        tuned(3, "als", loss="mse", loss_params={"confidence": 2.0}, **settings)
