from __future__ import annotations

import logging
import math

import numpy as np
import pytest
import torch
from scipy import sparse

from recoder import model
from recoder.data import RecommendationDataset
from recoder.errors import ConfigError, DivergedError, FileFormatError, FileWriteError
from recoder.metrics import NDCG, Recall
from recoder.model import Recoder
from recoder.nn import EASE, DynamicAutoencoder, MatrixFactorization
from recoder.training import Callback, EarlyStopping, loop, stopping
from recoder.training.events import EpochReport
from recoder.training.history import History
from recoder.training.model_file import read_safetensors, write_model_file
from recoder.training.stopping import Best, GivesBestBack, StopsEarly, best_of
from support import relay_to, train_config

USERS, ITEMS = 24, 15


class Told:
    """A run that is told values instead of computing them; the model's one weight is the number of the epoch."""

    def __init__(self, values, **rule):
        self.model = torch.nn.Linear(1, 1, bias=False)
        self.best, self.history = Best(), History()
        rule = EarlyStopping("m", **rule)
        stops, gives_back = (
            StopsEarly(rule, self.best, self.model),
            GivesBestBack(rule, self.best, self.model, self.history, lambda: None),
        )
        relay = relay_to(stops, gives_back)
        with relay.run(0, len(values)):
            self.tell(values, relay)

    def tell(self, values, relay):
        for epoch, value in enumerate(values, start=1):
            self.model.weight.data.fill_(epoch)
            report = EpochReport(epoch, epoch == len(values), loss=1.0, lr=0.1, seconds=1.0)
            report.metrics = {} if value is None else {"m": value}
            relay.checkpoint(report)
            self.last = epoch
            if report.is_last:
                break

    @property
    def weight(self):
        return self.model.weight.item()


def test_a_run_ends_after_patience_evaluations_without_a_better_one():
    told = Told([1, 3, 2, 2, 3, 9], patience=3)
    assert (told.last, told.weight, told.history.best_epoch, told.best.is_over) == (5, 2, 2, True)


def test_a_better_value_starts_the_count_anew():
    told = Told([1, 0, 2, 1, 3, 0, 0, 9], patience=2)
    assert (told.last, told.weight, told.best.epoch) == (7, 5, 5)


def test_a_run_that_ends_by_itself_has_the_best_weights_too():
    told = Told([1, 2, 0], patience=5)
    assert (told.last, told.weight, told.history.best_epoch, told.best.is_over) == (3, 2, 2, False)


def test_better_means_by_more_than_min_delta():
    told = Told([1, 1.4, 1.45, 1.6, 1.7], patience=9, min_delta=0.5)
    assert told.best.epoch == 4


def test_epochs_without_an_evaluation_do_not_count():
    assert Told([1, None, None, None, 0, None, 0, 9], patience=2).last == 7


def test_nan_is_never_better():
    told = Told([math.nan, 1, math.nan, math.nan, 9], patience=2)
    assert (told.last, told.best.epoch) == (4, 2)


def test_where_nothing_was_ever_finite_the_model_keeps_its_weights():
    told = Told([math.nan, math.nan, 9], patience=2)
    assert (told.last, told.weight, told.history.best_epoch) == (2, 2, None)


def test_validation_loss_is_best_where_it_is_lowest():
    report = EpochReport(1, is_last=False, loss=1.0, lr=0.1, seconds=1.0, val_loss=3.0)
    assert EarlyStopping().value_of(report) == -3.0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"patience": 0}, "patience is 0; it must be"),
        ({"patience": 1.5}, "patience is 1.5; it must be"),
        ({"min_delta": -1}, "min_delta is -1; it must be"),
    ],
)
def test_arguments_out_of_range_are_errors(arguments, words):
    with pytest.raises(ConfigError, match=words):
        EarlyStopping(**arguments)


def test_the_metric_must_be_one_that_is_evaluated():
    rule = EarlyStopping(NDCG(10))
    assert train_config(metrics=[NDCG(10)], eval_freq=1, early_stopping=rule).early_stopping == rule
    for changes in ({"metrics": [NDCG(5)], "eval_freq": 1}, {}):
        with pytest.raises(ConfigError, match=r"early_stopping looks at .*10.* add it to metrics"):
            train_config(early_stopping=rule, **changes)
    with pytest.raises(ConfigError, match="early_stopping is 3; pass"):
        train_config(early_stopping=3)


def test_without_validation_users_it_is_an_error():
    with pytest.raises(ConfigError, match="early_stopping needs validation users"):
        Recoder(MatrixFactorization(4)).train(dataset(), early_stopping=EarlyStopping())


def test_another_metric_forgets_the_best_and_another_patience_only_the_end():
    best, rule = Best(epoch=3, value=1.0, misses=2, is_over=True, data="users"), EarlyStopping("a", patience=2)
    assert best_of(best, rule.to_json(), rule, "users") == best
    patient = best_of(best, rule.to_json(), EarlyStopping("a", patience=4), "users")
    assert patient == Best(epoch=3, value=1.0, misses=2, data="users")
    for before, now in [(rule.to_json(), EarlyStopping("b")), (rule.to_json(), None), (None, rule), ("damaged", rule)]:
        assert best_of(best, before, now, "users") == Best(data="users")
    assert best_of(best, rule.to_json(), rule, "others") == Best(data="others")


# whole runs


def dataset(seed=3):
    rng = np.random.default_rng(seed)
    dense = (rng.random((2, USERS, ITEMS)) < 0.35).astype(np.float32)
    dense[:, :, 0] = 1
    return RecommendationDataset(sparse.csr_matrix(dense[0]), sparse.csr_matrix(dense[1]))


def recoder(seed=11, **params):
    model = DynamicAutoencoder([6], noise_prob=0.4, **({"is_constrained": True, "sparse": True} | params))
    return Recoder(model, optimizer_type="adam", loss="logloss", seed=seed)


def run(made, num_epochs=12, patience=2, **changes):
    arguments = {
        "lr": 0.05,
        "batch_size": 6,
        "metrics": [NDCG(5), Recall(5)],
        "eval_freq": 1,
        "early_stopping": EarlyStopping(NDCG(5), patience=patience),
    }
    made.train(dataset(3), dataset(4), num_epochs=num_epochs, **{**arguments, **changes})
    return made


def values(made):
    return [record.metrics[str(NDCG(5))] for record in made.history]


def assert_same(first, second):
    weights, expected = first.model.state_dict(), second.model.state_dict()
    assert all(torch.equal(weights[name], tensor) for name, tensor in expected.items())
    assert values(first) == values(second)
    assert first.history.best_epoch == second.history.best_epoch


def test_the_model_ends_with_the_weights_of_the_epoch_that_was_best():
    stopped = run(recoder())
    best = int(np.argmax(values(stopped))) + 1
    assert len(stopped.history) == best + 2 < 12
    assert stopped.history.best_epoch == best
    assert repr(stopped.history).endswith(f"the model has the weights of epoch {best}")
    until_then = run(recoder(), num_epochs=best, early_stopping=None)
    for ours, theirs in zip(stopped.model.parameters(), until_then.model.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_the_file_of_the_last_epoch_holds_the_best_weights(tmp_path):
    stopped = run(recoder(), model_checkpoint_prefix=tmp_path / "x")
    (path,) = tmp_path.iterdir()
    assert path.name == f"x_epoch_{len(stopped.history)}.model"
    loaded = recoder()
    loaded.init_from_model_file(path)
    assert_same(loaded, stopped)


@pytest.mark.parametrize("params", [{}, {"is_constrained": False, "sparse": False}])
def test_a_run_killed_at_any_epoch_and_resumed_ends_as_the_undisturbed_one(params, tmp_path):
    undisturbed = run(recoder(**params), model_checkpoint_prefix=tmp_path / "x", checkpoint_freq=1)
    last = len(undisturbed.history)
    assert last < 12
    for epoch in range(1, last):
        resumed = recoder(seed=99, **params)
        resumed.init_from_model_file(tmp_path / f"x_epoch_{epoch}.model")
        assert resumed.history.best_epoch is None
        assert_same(run(resumed), undisturbed)


def test_a_file_written_when_the_run_was_to_end_goes_on_to_the_same_end(tmp_path):
    class Saves(Callback):
        def on_train_start(self, run):
            self.run = run

        def on_checkpoint(self, report):
            if report.is_last:
                self.path = self.run.save(tmp_path / "x")

    saves = Saves()
    undisturbed = run(recoder(), callbacks=[saves])
    resumed = recoder()
    resumed.init_from_model_file(saves.path)
    assert_same(run(resumed), undisturbed)
    assert len(resumed.history) == len(undisturbed.history)


def test_a_last_checkpoint_that_failed_is_written_when_it_is_asked_for_again(tmp_path, monkeypatch):
    made = recoder()

    def full(*_, **__):
        raise FileWriteError("no space left")

    with monkeypatch.context() as patched:
        patched.setattr(model, "write_together", full)
        with pytest.raises(FileWriteError):
            run(made, num_epochs=2, early_stopping=None, model_checkpoint_prefix=tmp_path / "x")
    assert list(tmp_path.iterdir()) == []
    run(made, num_epochs=2, early_stopping=None, model_checkpoint_prefix=tmp_path / "x")
    loaded = recoder()
    loaded.init_from_model_file(tmp_path / "x_epoch_2.model")
    assert_same(loaded, made)
    assert len(loaded.history) == 2


def test_a_file_in_another_place_is_not_the_last_checkpoint_that_failed(tmp_path, monkeypatch):
    made = recoder()

    def full(*_, **__):
        raise FileWriteError("no space left")

    arguments = {"num_epochs": 2, "early_stopping": None, "model_checkpoint_prefix": tmp_path / "x"}
    with monkeypatch.context() as patched:
        patched.setattr(model, "write_together", full)
        with pytest.raises(FileWriteError):
            run(made, **arguments)
    (tmp_path / "x_epoch_2.model").write_bytes(b"of an earlier run")
    before = (tmp_path / "x_epoch_2.model").read_bytes()
    rescued = made.save_state(tmp_path / "elsewhere" / "y")
    assert (tmp_path / "x_epoch_2.model").read_bytes() == before
    run(made, **arguments)
    loaded = [recoder(), recoder()]
    for each, path in zip(loaded, (rescued, tmp_path / "x_epoch_2.model"), strict=True):
        each.init_from_model_file(path)
    assert_same(*loaded)


def test_a_call_that_trains_nothing_keeps_what_is_known_of_the_best_epoch(tmp_path):
    stopped = run(recoder())
    best = stopped.history.best_epoch
    assert best < len(stopped.history)
    for rule in (None, EarlyStopping("Recall@5"), EarlyStopping(NDCG(5), patience=9)):
        run(stopped, num_epochs=2, early_stopping=rule)
        loaded = recoder()
        loaded.init_from_model_file(stopped.save_state(tmp_path / "a"))
        assert loaded.history.best_epoch == stopped.history.best_epoch == best
        assert len(run(loaded).history) == len(stopped.history)


def test_users_who_leave_a_run_that_was_cut_short_leave_no_best_epoch_of_other_weights():
    made = Recoder(MatrixFactorization(4), optimizer_type="adam", loss="logistic", seed=1)

    class Interrupts(Callback):
        def on_checkpoint(self, report):
            if report.epoch == 3:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        made.train(dataset(), dataset(4), num_epochs=5, early_stopping=EarlyStopping(), callbacks=[Interrupts()])
    assert made._best.weights
    assert made.without_users(np.array([1]))._best == Best()
    done = Recoder(MatrixFactorization(4), optimizer_type="adam", loss="logistic", seed=1)
    done.train(dataset(), dataset(4), num_epochs=3, early_stopping=EarlyStopping())
    assert done.without_users(np.array([1]))._best.epoch == done.history.best_epoch


class Poisons(Callback):
    """Spoils an item's weights after a step."""

    def __init__(self, model, step):
        self.model, self.step, self.steps = model, step, 0

    def on_step_end(self):
        self.steps += 1
        if self.steps == self.step:
            self.model.items.weight.data[3] = math.nan


@pytest.mark.parametrize("kind", ["loss", "validation"])
def test_a_recoder_whose_training_diverged_is_not_trained_further(kind, tmp_path):
    made = Recoder(DynamicAutoencoder([4]), optimizer_type="adam", loss="logistic", seed=1)
    arguments = {"num_epochs": 2, "batch_size": 6, "model_checkpoint_prefix": tmp_path / "x"}
    diverging = {"callbacks": [Diverges(made.model, 0)]}
    if kind == "validation":  # after the last step: no loss is computed from it
        diverging = {"callbacks": [Poisons(made.model, step=8)], "metrics": [NDCG(5)], "eval_freq": 1}
    with pytest.raises(DivergedError):
        made.train(dataset(), dataset(4), lr=0.01, **arguments, **diverging)
    for _ in range(2):
        with pytest.raises(DivergedError, match="load the last checkpoint, or make a new Recoder"):
            made.train(dataset(), lr=0.005, **arguments)
    assert list(tmp_path.iterdir()) == []


def test_gradients_of_the_last_step_are_not_kept():
    made = run(recoder())
    assert all(parameter.grad is None for parameter in made.model.parameters())


def test_a_run_stopped_inside_an_epoch_goes_on_to_the_same_end(tmp_path, monkeypatch):
    undisturbed = run(recoder())
    stopped, steps = recoder(), []

    def penalty():
        steps.append(None)
        if len(steps) == 4 * undisturbed.history.best_epoch + 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(stopped.model, "penalty", penalty)
    with pytest.raises(KeyboardInterrupt):
        run(stopped)
    resumed = recoder()
    resumed.init_from_model_file(stopped.save_state(tmp_path / "x"))
    assert_same(run(resumed), undisturbed)
    assert_same(run(stopped), undisturbed)


@pytest.mark.parametrize("through_a_file", [False, True])
def test_after_it_stopped_only_another_rule_trains_on(through_a_file, tmp_path, caplog):
    stopped = run(recoder())
    last = len(stopped.history)
    if through_a_file:
        path = stopped.save_state(tmp_path / "x")
        stopped = recoder()
        stopped.init_from_model_file(path)
    with caplog.at_level(logging.WARNING):
        run(stopped)
    assert f"stopped early after epoch {last}" in caplog.text
    assert len(stopped.history) == last
    run(stopped, num_epochs=last + 1, patience=9)
    assert len(stopped.history) == last + 1
    run(stopped, num_epochs=last + 2, early_stopping=None)
    assert (len(stopped.history), stopped.history.best_epoch) == (last + 2, None)


def test_training_taken_further_goes_on_from_the_best_weights_and_still_knows_them():
    short = run(recoder(), num_epochs=3, patience=9)
    best = short.history.best_epoch
    run(short, num_epochs=4, patience=9, lr=0.0)
    assert short.history.best_epoch == best


def test_a_file_whose_best_weights_are_not_the_models_is_refused(tmp_path):
    made = recoder()
    made.train(dataset(3), dataset(4), num_epochs=2, lr=0.05, batch_size=6)
    content = read_safetensors(made.save_state(tmp_path / "x"))
    content.early_stopping = {"epoch": 1, "value": 0.5, "misses": 1, "is_over": False}
    others = {name: tensor.clone() for name, tensor in content.weights.items()}
    for best_weights in ({"items.bias": torch.zeros(ITEMS)}, {**others, "items.bias": torch.zeros(2)}):
        content.best_weights = best_weights
        write_model_file(tmp_path / "y", content, version="1")
        with pytest.raises(FileFormatError, match=r"best weights differ|items.bias has shape"):
            recoder().init_from_model_file(tmp_path / "y")


@pytest.mark.parametrize(
    "damaged",
    [3, "x", {"epochs": 1}, {"epoch": -1}, {"epoch": 1, "value": "high"}],
)
def test_a_damaged_description_of_the_best_epoch_is_an_error_of_the_file(damaged, tmp_path):
    content = read_safetensors(run(recoder(), num_epochs=1).save_state(tmp_path / "x"))
    content.early_stopping = damaged
    write_model_file(tmp_path / "y", content, version="1")
    with pytest.raises(FileFormatError):
        recoder().init_from_model_file(tmp_path / "y")


def other_users(seed=5):
    """Users who are harder to predict than those of ``dataset``: each has every item, or none but one."""
    dense = np.zeros((USERS, ITEMS), np.float32)
    dense[::2] = 1
    dense[:, seed] = 1
    return RecommendationDataset(sparse.csr_matrix(dense))


def test_other_validation_users_are_no_measure_for_these():
    recoder = Recoder(DynamicAutoencoder([4]), optimizer_type="adam", loss="logistic", seed=1)
    rule = EarlyStopping(patience=1)
    recoder.train(dataset(), dataset(4), lr=0.01, num_epochs=2, early_stopping=rule)
    recoder.train(dataset(), other_users(), lr=0.01, num_epochs=4, early_stopping=rule)
    assert len(recoder.history) == 4
    assert recoder.history.best_epoch > 2


def test_a_closed_form_is_solved_anew_whatever_an_earlier_solution_was_worth():
    rule = EarlyStopping()
    recoder, alone = Recoder(EASE(l2=1.0), seed=1), Recoder(EASE(l2=1.0), seed=1)
    recoder.train(dataset(4), dataset(4), early_stopping=rule)
    for each in (recoder, alone):
        each.train(dataset(), dataset(4), early_stopping=rule)
    users, _ = dataset(4)[[0, 1]]
    torch.testing.assert_close(recoder.predict(users), alone.predict(users), rtol=0, atol=0)
    assert len(recoder.history) == 1


class Diverges(Callback):
    """Spoils the weights after some epochs."""

    def __init__(self, model, after):
        self.model, self.after, self.epochs = model, after, 0

    def on_epoch_end(self, report):
        self.epochs += 1

    def on_step_end(self):
        if self.epochs == self.after:
            self.model.items.weight.data.fill_(float("nan"))


def test_a_run_that_diverges_leaves_the_best_weights(tmp_path, caplog):
    recoder = Recoder(DynamicAutoencoder([4]), optimizer_type="adam", loss="logistic", seed=1)
    rule, kept = EarlyStopping(), []
    arguments = {"lr": 0.01, "batch_size": 6, "early_stopping": rule}
    recoder.train(dataset(), dataset(4), num_epochs=3, **arguments)
    kept.append(recoder.model.items.weight.detach().clone())
    with pytest.raises(DivergedError):
        recoder.train(dataset(), dataset(4), num_epochs=6, callbacks=[Diverges(recoder.model, 0)], **arguments)
    assert "the model has the weights of epoch 3, the best so far" in caplog.text
    torch.testing.assert_close(recoder.model.items.weight, kept[0], rtol=0, atol=0)
    loaded = Recoder(DynamicAutoencoder())
    loaded.init_from_model_file(recoder.save_state(tmp_path / "a"))
    assert len(loaded.train(dataset(), dataset(4), num_epochs=6, **arguments)) == 6
    assert torch.isfinite(loaded.model.items.weight).all()


def test_a_run_that_was_interrupted_gives_the_best_weights_when_it_is_told_to_end():
    recoder = Recoder(DynamicAutoencoder([4]), optimizer_type="adam", loss="logistic", seed=1)
    arguments = {"lr": 0.01, "batch_size": 6, "early_stopping": EarlyStopping()}

    class Interrupts(Callback):
        steps = 0

        def on_step_end(self):
            self.steps += 1
            if self.steps == 10:  # in the third epoch
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        recoder.train(dataset(), dataset(4), num_epochs=5, callbacks=[Interrupts()], **arguments)
    assert recoder.history.best_epoch is None
    history = recoder.train(dataset(), dataset(4), num_epochs=2, **arguments)
    alone = Recoder(DynamicAutoencoder([4]), optimizer_type="adam", loss="logistic", seed=1)
    assert alone.train(dataset(), dataset(4), num_epochs=2, **arguments).best_epoch == history.best_epoch
    torch.testing.assert_close(recoder.model.items.weight, alone.model.items.weight, rtol=0, atol=0)


def test_what_the_optimizer_remembers_of_later_weights_is_forgotten(tmp_path):
    stopped = run(recoder())
    assert stopped.history.best_epoch < len(stopped.history)
    assert read_safetensors(stopped.save_state(tmp_path / "a")).optimizer == {}
    ended = run(recoder(), num_epochs=stopped.history.best_epoch)
    assert ended.history.best_epoch == len(ended.history)
    assert read_safetensors(ended.save_state(tmp_path / "b")).optimizer != {}


def test_sweeps_that_diverge_leave_the_best_weights_too():
    made = Recoder(MatrixFactorization(4, fold_in=True), optimizer_type="als", seed=1)

    class Spoils(Callback):
        def on_checkpoint(self, report):
            if report.epoch == 3:
                made.model.users.weight.data.fill_(float("nan"))
                made.model.items.weight.data.fill_(float("nan"))

    with pytest.raises(DivergedError):
        made.train(
            dataset(), dataset(4), weight_decay=1.0, num_epochs=9, early_stopping=EarlyStopping(), callbacks=[Spoils()]
        )
    assert torch.isfinite(made.model.items.weight).all()
    assert made.history.best_epoch in (1, 2)


def test_a_run_that_goes_on_from_the_best_weights_has_all_of_its_patience():
    model = torch.nn.Linear(1, 1)
    best = Best(epoch=3, value=1.0, misses=2, data="users")
    StopsEarly(EarlyStopping("m", patience=3), best, model).on_train_start(None)
    assert best.misses == 0
    interrupted = Best(epoch=3, value=1.0, misses=2, data="users", weights={"weight": torch.ones(1, 1)})
    StopsEarly(EarlyStopping("m", patience=3), interrupted, model).on_train_start(None)
    assert interrupted.misses == 2


def test_a_solution_that_fails_leaves_what_the_recoder_knew():
    rng = np.random.default_rng(0)
    plays = sparse.csr_matrix((rng.random((60, 200)) < 0.2).astype(np.float32))
    made = Recoder(EASE(l2=100.0))
    made.train(RecommendationDataset(plays))
    history, scores = list(made.history), made.predict(RecommendationDataset(plays)[[0]][0])
    large = plays.copy()
    large.data[large.indptr[:-1]] = 1_000
    with pytest.raises(DivergedError):
        made.train(RecommendationDataset(large))
    assert list(made.history) == history
    assert torch.equal(made.predict(RecommendationDataset(plays)[[0]][0]), scores)


def test_where_the_weights_cannot_be_kept_all_is_of_the_best_epoch_before(monkeypatch):
    told = Told([1.0])
    before = {**vars(told.best)}

    def full(model):
        raise MemoryError

    monkeypatch.setattr(stopping, "_copied", full)
    stops = StopsEarly(EarlyStopping("m"), told.best, told.model)
    report = EpochReport(2, is_last=False, loss=1.0, lr=0.1, seconds=1.0, metrics={"m": 5.0})
    with pytest.raises(MemoryError):
        stops.on_checkpoint(report)
    assert vars(told.best) == before


class NoNumber(NDCG):
    """Is never known."""

    def evaluate(self, x, y):
        return math.nan


def test_evaluations_without_a_number_count_after_a_kill_too(tmp_path):
    def trained(made, num_epochs):
        return made.train(
            dataset(), dataset(4), lr=0.01, batch_size=6, num_epochs=num_epochs, metrics=[NoNumber(3)], eval_freq=1,
            early_stopping=EarlyStopping(NoNumber(3), patience=3), model_checkpoint_prefix=tmp_path / "m",
            checkpoint_freq=1,
        )  # fmt: skip

    def new():
        return Recoder(DynamicAutoencoder([4]), optimizer_type="adam", loss="logistic", seed=1)

    assert len(trained(new(), 9)) == 3
    trained(new(), 2)  # as if it was killed after the second epoch
    resumed = new()
    resumed.init_from_model_file(tmp_path / "m_epoch_2.model")
    assert len(trained(resumed, 9)) == 3


def test_weights_that_only_validation_finds_diverged_are_not_saved_over_the_last_good_ones(tmp_path):
    recoder = Recoder(DynamicAutoencoder([4]), optimizer_type="adam", loss="logistic", seed=1)

    poisons = Poisons(recoder.model, step=8)  # the last of the second epoch: no loss is computed from it
    arguments = {"lr": 0.01, "batch_size": 6, "metrics": [NDCG(5)], "eval_freq": 1, "checkpoint_freq": 1}
    with pytest.raises(DivergedError):
        recoder.train(
            dataset(), dataset(4), num_epochs=3, callbacks=[poisons], model_checkpoint_prefix=tmp_path / "m",
            **arguments,
        )  # fmt: skip
    before = (tmp_path / "m_epoch_1.model").read_bytes()
    with pytest.raises(DivergedError, match="not saved"):
        recoder.save_state(tmp_path / "m")
    assert (tmp_path / "m_epoch_1.model").read_bytes() == before


def test_a_run_taken_further_that_diverges_at_once_keeps_the_best_weights_and_says_so(tmp_path, monkeypatch):
    data = RecommendationDataset(sparse.random(USERS, ITEMS, 0.3, "csr", np.float32, np.random.default_rng(0)))

    class Worse(Callback):
        """Judges each epoch as worse than the one before."""

        def on_epoch_end(self, report):
            report.val_loss = float(report.epoch)

    recoder = Recoder(MatrixFactorization(4), optimizer_type="adam", seed=1)
    monkeypatch.setattr(stopping.GivesBestBack, "on_checkpoint", lambda self, report: None)  # as within a run
    rule = {"early_stopping": EarlyStopping(patience=9), "callbacks": [Worse()]}
    recoder.train(data, data, num_epochs=3, **rule)
    best = {name: tensor.clone() for name, tensor in recoder._best.weights.items()}
    monkeypatch.undo()
    monkeypatch.setattr(loop, "_check_finite", diverges)
    with pytest.raises(DivergedError):
        recoder.train(data, data, num_epochs=6, **rule)
    assert recoder.history.best_epoch == recoder._best.epoch > 0
    assert recoder._best.weights == {}
    for name, tensor in recoder.model.state_dict().items():
        assert torch.equal(tensor, best[name])


def diverges(report, instead):
    raise DivergedError(f"the training loss is nan; train again with {instead}")
