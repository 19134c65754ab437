from __future__ import annotations

import multiprocessing
import signal

import numpy as np
import pytest
import torch
from scipy import sparse
from torch import nn

from recoder._random import epoch_order
from recoder.data import RecommendationDataLoader, RecommendationDataset, UsersInteractions
from recoder.errors import ConfigError, DivergedError, NotInitializedError
from recoder.losses import make_loss
from recoder.model import Recoder
from recoder.nn import EASE, ELSA, DynamicAutoencoder, FactorizationModel, MatrixFactorization, Popularity
from recoder.nn.noise import FactorDropout
from recoder.ops.kernels import library
from recoder.training import EarlyStopping, optimizers
from recoder.training.events import Callback
from recoder.training.loop import Progress, solve, train_epochs
from recoder.training.optimizers import ModelOptimizer
from support import relay_to, train_config

NUM_USERS, NUM_ITEMS, BATCH, SEED = 10, 7, 3, 5
CPU = torch.device("cpu")


def matrix(seed=0):
    dense = (np.random.default_rng(seed).random((NUM_USERS, NUM_ITEMS)) < 0.4).astype(np.float32)
    dense[:, 0] = 1
    return sparse.csr_matrix(dense)


def config(**changes):
    return train_config(**({"lr": 0.05, "num_epochs": 2, "batch_size": BATCH} | changes))


class Events(Callback):
    def __init__(self):
        self.seen = []
        self.reports = []

    def on_train_start(self, run):
        self.seen.append(("start", run.first_step, run.num_steps))

    def on_step_end(self):
        self.seen.append("step")

    def on_epoch_end(self, report):
        self.seen.append("epoch")
        self.reports.append(report)

    def on_checkpoint(self, report):
        self.seen.append("checkpoint")

    def on_train_end(self, error):
        self.seen.append("end")


class Run:
    """One model with its optimizer and progress, as a Recoder holds them."""

    def __init__(self, model, loss="mse", dataset=None, optimizer_type="adam", seed=SEED):
        self.model, self.seed = model, seed
        self.loss = make_loss(loss, None)
        self.dataset = dataset or RecommendationDataset(matrix())
        self.optimizer = ModelOptimizer(model, optimizer_type, 0.0)
        self.progress = Progress()
        self.events = Events()

    def train(self, *callbacks, **changes):
        arguments = config(**changes)
        loader = RecommendationDataLoader(
            self.dataset, BATCH, arguments.negative_sampling, num_workers=arguments.num_data_workers, seed=self.seed
        )
        train_epochs(
            self.model,
            self.loss,
            self.optimizer,
            loader,
            arguments,
            self.progress,
            relay_to(self.events, *callbacks),
            seed=self.seed,
            device=CPU,
        )
        return self

    def weights(self):
        return {name: value.clone() for name, value in self.model.state_dict().items()}


class Recording(FactorizationModel):
    """Predicts one learned number for each item, and remembers who it was asked about."""

    def __init__(self):
        super().__init__()
        self.levels = nn.Parameter(torch.full((NUM_ITEMS,), 0.25))
        self.users = []

    def forward(self, input, input_users=None, input_items=None, target_users=None, target_items=None):
        self.users.append(input_users.tolist())
        levels = self.levels if target_items is None else self.levels[target_items]
        return levels.expand(len(input), -1)


def autoencoder(seed=0, **params):
    model = DynamicAutoencoder([4], **params)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model.init_model(num_items=NUM_ITEMS)
    return model


def own_order(epoch):
    """The batches of an epoch's own order."""
    order = epoch_order(SEED, epoch, NUM_USERS).tolist()
    return [order[start : start + BATCH] for start in range(0, NUM_USERS, BATCH)]


def assert_equal_weights(first, second):
    assert first.keys() == second.keys()
    for name, value in first.items():
        assert torch.equal(value, second[name]), name


def test_each_epoch_visits_every_user_in_its_own_order():
    run = Run(Recording()).train(num_epochs=3)
    assert run.model.users == own_order(1) + own_order(2) + own_order(3)


def test_fewer_iterations_truncate_the_epochs_own_order():
    run = Run(Recording()).train(num_epochs=2, iters_per_epoch=3)
    assert run.model.users == own_order(1)[:3] + own_order(2)[:3]


def test_more_iterations_cycle_the_epochs_own_order():
    run = Run(Recording()).train(num_epochs=2, iters_per_epoch=10)
    assert run.model.users == (own_order(1) * 3)[:10] + (own_order(2) * 3)[:10]


def test_loss_of_an_epoch_is_the_mean_per_user_of_the_sum_over_items():
    run = Run(Recording()).train(num_epochs=1, lr=0)
    expected = ((matrix().toarray() - 0.25) ** 2).sum() / NUM_USERS
    assert run.events.reports[0].loss == pytest.approx(expected)


def test_a_step_follows_the_gradient_of_the_sum_by_the_number_of_users():
    run = Run(Recording(), optimizer_type="sgd").train(num_epochs=1, iters_per_epoch=1, lr=0.1)
    users = own_order(1)[0]
    gradient = 2 * (0.25 - matrix().toarray()[users]).sum(axis=0) / BATCH
    np.testing.assert_allclose(run.model.levels.detach().numpy(), 0.25 - 0.1 * gradient, rtol=1e-5)


class Penalised(Recording):
    def penalty(self):
        return 100 * self.levels[0]


def test_penalty_is_added_to_the_loss_and_to_the_gradient():
    plain = Run(Recording(), optimizer_type="sgd").train(num_epochs=1, iters_per_epoch=1, lr=0.001)
    penalised = Run(Penalised(), optimizer_type="sgd").train(num_epochs=1, iters_per_epoch=1, lr=0.001)
    assert penalised.events.reports[0].loss == pytest.approx(plain.events.reports[0].loss + 100 * 0.25)
    difference = (plain.model.levels - penalised.model.levels).detach()
    np.testing.assert_allclose(difference.numpy(), [0.1, 0, 0, 0, 0, 0, 0], atol=1e-6)


@pytest.mark.parametrize("optimizer_type", ["sgd", "adam", "adagrad", "rmsprop"])
def test_learning_rate_falls_to_a_tenth_after_a_milestone_for_every_optimizer(optimizer_type):
    def weights(**changes):
        run = Run(Recording(), optimizer_type=optimizer_type)
        run.train(num_epochs=1, lr=0.1)
        run.train(num_epochs=3, **changes)
        return run

    falling = weights(lr=0.1, lr_milestones=[1])
    assert [report.lr for report in falling.events.reports] == pytest.approx([0.1, 0.01, 0.01])
    # a milestone that lies behind, and the learning rate given as it is, are the same
    assert_equal_weights(falling.weights(), weights(lr=0.1 * 0.1).weights())
    start, kept = Run(Recording(), optimizer_type=optimizer_type).train(num_epochs=1, lr=0.1), weights(lr=0.1)
    moved = [(run.model.levels - start.model.levels).detach().abs().max() for run in (falling, kept)]
    assert 0 < moved[0] < moved[1]


class WithDropout(FactorizationModel):
    """A user's own model, whose noise comes from torch's global generator."""

    def __init__(self):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.layers = nn.Sequential(nn.Linear(NUM_ITEMS, 4), nn.Dropout(0.5), nn.Linear(4, NUM_ITEMS))

    def forward(self, input, input_users=None, input_items=None, target_users=None, target_items=None):
        return self.layers(input)


MODELS = {
    "autoencoder": lambda: autoencoder(noise_prob=0.5, dropout_prob=0.5),
    "sparse autoencoder": lambda: autoencoder(noise_prob=0.5, dropout_prob=0.5, sparse=True),
    "own with dropout": WithDropout,
}


@pytest.mark.parametrize("make", MODELS.values(), ids=MODELS.keys())
@pytest.mark.parametrize("num_data_workers", [0, 2])
def test_a_repeated_run_draws_the_same_whatever_the_global_state(make, num_data_workers):
    with torch.random.fork_rng():
        torch.manual_seed(1)
        first = Run(make()).train()
        torch.manual_seed(2)
        second = Run(make()).train(num_data_workers=num_data_workers)
    assert_equal_weights(first.weights(), second.weights())
    assert [r.loss for r in first.events.reports] == [r.loss for r in second.events.reports]


@pytest.mark.parametrize("make", MODELS.values(), ids=MODELS.keys())
def test_another_seed_draws_other_noise(make):
    first, second = (Run(make(), seed=seed).train() for seed in (1, 2))
    assert any(not torch.equal(a, b) for a, b in zip(first.model.parameters(), second.model.parameters(), strict=True))


class Drawing(Recording):
    """Remembers what it draws, from torch's global generator and as the library's layers do."""

    def __init__(self):
        super().__init__()
        self.noise, self.drawn = FactorDropout(0.5, "noise"), []

    def forward(self, input, *args, **kwargs):
        self.drawn += [float(torch.rand(())), self.noise.draw_seed()]
        return super().forward(input, *args, **kwargs)


def test_every_step_draws_noise_of_its_own():
    drawn = Run(Drawing()).train(num_epochs=2, iters_per_epoch=6).model.drawn
    assert len(set(drawn)) == len(drawn) == 2 * 2 * 6


@pytest.mark.parametrize("num_data_workers", [0, 2])
def test_training_leaves_the_global_random_state_alone(num_data_workers):
    state = torch.get_rng_state()
    Run(WithDropout()).train(num_data_workers=num_data_workers)
    assert torch.equal(torch.get_rng_state(), state)


def test_noise_is_fresh_again_after_training():
    model = Run(autoencoder(noise_prob=0.5)).train().model
    x = torch.ones(5, NUM_ITEMS)
    model.train()
    with torch.random.fork_rng():
        assert not torch.equal(model(x), model(x))


class StopAfter(Callback):
    """Acts after so many steps."""

    def __init__(self, steps, act):
        self.left, self.act = steps, act

    def on_step_end(self):
        self.left -= 1
        if self.left == 0:
            self.act()


def interrupt():
    signal.raise_signal(signal.SIGINT)


def fail():
    raise ZeroDivisionError


@pytest.mark.usefixtures("python_handles_interrupts")
@pytest.mark.parametrize("act", [interrupt, fail])
@pytest.mark.parametrize("make", MODELS.values(), ids=MODELS.keys())
@pytest.mark.parametrize("steps", [2, 4, 5, 8])  # inside epoch 1, at its end, inside epoch 2, at its end
@pytest.mark.parametrize("iters_per_epoch", [None, 6])
def test_a_run_that_was_stopped_goes_on_to_the_same_weights_and_losses(make, steps, act, iters_per_epoch):
    undisturbed = Run(make()).train(num_epochs=3, iters_per_epoch=iters_per_epoch)
    stopped = Run(make())
    with pytest.raises((KeyboardInterrupt, ZeroDivisionError)):
        stopped.train(StopAfter(steps, act), num_epochs=3, iters_per_epoch=iters_per_epoch)
    per_epoch = iters_per_epoch or 4
    assert stopped.progress.epoch * per_epoch + stopped.progress.step == steps
    stopped.train(num_epochs=3, iters_per_epoch=iters_per_epoch)
    assert_equal_weights(stopped.weights(), undisturbed.weights())
    losses = [report.loss for report in stopped.events.reports]
    assert losses == [report.loss for report in undisturbed.events.reports]


class FailOnce(Callback):
    """Fails at the first end of epoch 1, as a validation that is stopped does."""

    def __init__(self):
        self.epochs = []

    def on_epoch_end(self, report):
        self.epochs.append((report.epoch, report.loss))
        if len(self.epochs) == 1:
            fail()


def test_an_epoch_that_was_stopped_in_validation_goes_on_with_validation():
    undisturbed = Run(Recording()).train()
    stopped, validation = Run(Recording()), FailOnce()
    with pytest.raises(ZeroDivisionError):
        stopped.train(validation)
    assert stopped.progress.epoch == 0
    assert "checkpoint" not in stopped.events.seen
    stopped.train(validation)
    first, second = ((report.epoch, report.loss) for report in undisturbed.events.reports)
    assert validation.epochs == [first, first, second]
    assert stopped.model.users == undisturbed.model.users


class AtCheckpoint(Callback):
    def __init__(self, run):
        self.run, self.progress = run, []

    def on_checkpoint(self, report):
        self.progress.append(self.run.progress.to_json())


def test_progress_says_at_a_checkpoint_that_the_epoch_is_whole():
    run = Run(Recording())
    at_checkpoint = AtCheckpoint(run)
    run.train(at_checkpoint)
    assert at_checkpoint.progress == [Progress(epoch=n).to_json() for n in (1, 2)]


@pytest.mark.usefixtures("python_handles_interrupts")
def test_an_interrupt_during_a_step_finishes_the_step():
    class Interrupted(Recording):
        def forward(self, input, *args, **kwargs):
            if len(self.users) == 1:
                interrupt()
            return super().forward(input, *args, **kwargs)

    run = Run(Interrupted())
    with pytest.raises(KeyboardInterrupt):
        run.train()
    assert len(run.model.users) == run.progress.step == 2
    assert run.events.seen[-2:] == ["step", "end"]
    reference = Run(Recording()).train(num_epochs=1, iters_per_epoch=2)
    assert_equal_weights(run.weights(), reference.weights())


@pytest.mark.usefixtures("python_handles_interrupts")
def test_a_second_interrupt_stops_at_once():
    class Stuck(Recording):
        def forward(self, input, *args, **kwargs):
            interrupt()
            interrupt()
            raise AssertionError("the second interrupt did nothing")

    run = Run(Stuck())
    with pytest.raises(KeyboardInterrupt):
        run.train()
    assert run.progress.step == 0


class Exploding(Recording):
    """Its scores turn NaN in epoch 2."""

    def forward(self, input, *args, **kwargs):
        scores = super().forward(input, *args, **kwargs)
        return scores * float("nan") if len(self.users) == 6 else scores


def test_a_loss_that_is_not_finite_stops_the_run_before_anything_of_the_epoch_is_told():
    run = Run(Exploding())
    with pytest.raises(DivergedError, match=r"loss of epoch 2 is nan with learning rate 0.05"):
        run.train(num_epochs=4)
    assert [report.epoch for report in run.events.reports] == [1]
    assert run.progress.epoch == 1
    assert run.events.seen[-1] == "end"


def test_a_run_that_diverged_does_not_go_on_as_if_nothing_was():
    run = Run(Exploding())
    for _ in range(2):
        with pytest.raises(DivergedError):
            run.train(num_epochs=4)
    assert [report.epoch for report in run.events.reports] == [1]


def test_callbacks_are_told_of_every_step_and_epoch_in_order():
    run = Run(Recording()).train(num_epochs=2, iters_per_epoch=2)
    epoch = ["step", "step", "epoch", "checkpoint"]
    assert run.events.seen == [("start", 0, 4), *epoch, *epoch, "end"]
    assert [(report.epoch, report.is_last) for report in run.events.reports] == [(1, False), (2, True)]
    run.events.seen.clear()
    run.train(num_epochs=3, iters_per_epoch=2)
    assert run.events.seen == [("start", 4, 6), *epoch, "end"]


def test_callbacks_are_told_of_the_end_after_an_error():
    run = Run(Recording())
    with pytest.raises(ZeroDivisionError):
        run.train(StopAfter(1, fail))
    assert run.events.seen[-1] == "end"


@pytest.mark.parametrize("negative_sampling", [False, True])
@pytest.mark.parametrize(
    "make",
    [
        lambda: autoencoder(),
        lambda: autoencoder(sparse=True),
        lambda: autoencoder(sparse=True, is_constrained=True),
        lambda: factorization(sparse=False),
        lambda: factorization(sparse=True),
    ],
)
def test_training_lowers_the_loss(make, negative_sampling):
    run = Run(make(), loss="logistic").train(num_epochs=15, negative_sampling=negative_sampling)
    assert run.events.reports[-1].loss < 0.8 * run.events.reports[0].loss


def factorization(sparse):
    model = MatrixFactorization(4, sparse=sparse)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model.init_model(num_items=NUM_ITEMS, num_users=NUM_USERS)
    return model


@pytest.mark.parametrize("is_constrained", [False, True])
def test_sparse_gradients_train_like_dense_ones_where_every_row_is_touched(is_constrained):
    everyone_has_everything = RecommendationDataset(sparse.csr_matrix(matrix().toarray() + 0.5))
    dense, by_rows = (
        Run(autoencoder(is_constrained=is_constrained, sparse=by_rows), dataset=everyone_has_everything).train()
        for by_rows in (False, True)
    )
    for name, value in dense.weights().items():
        torch.testing.assert_close(by_rows.weights()[name], value, rtol=1e-4, atol=1e-6)


def test_targets_are_predicted_from_the_interactions():
    target = matrix(seed=1)
    run = Run(Recording(), dataset=RecommendationDataset(matrix(), target)).train(num_epochs=1, lr=0)
    expected = ((target.toarray() - 0.25) ** 2).sum() / NUM_USERS
    assert run.events.reports[0].loss == pytest.approx(expected)


def test_a_model_in_evaluation_mode_is_trained_in_training_mode():
    model = WithDropout().eval()
    assert_equal_weights(Run(model).train().weights(), Run(WithDropout()).train().weights())


def test_a_solved_model_is_trained_as_one_last_epoch():
    model, progress, events = Popularity(), Progress(), Events()
    model.init_model(num_items=NUM_ITEMS)
    solve(model, RecommendationDataset(matrix()), config(num_epochs=3), progress, relay_to(events), torch.device("cpu"))
    assert model.counts.tolist() == matrix().toarray().sum(axis=0).tolist()
    assert progress.epoch == 3
    assert events.seen == [("start", 0, 1), "step", "epoch", "checkpoint", "end"]
    (report,) = events.reports
    assert report.is_last
    assert np.isnan(report.loss)


class AfterSteps(Callback):
    def __init__(self, look):
        self.on_step_end = look


@pytest.mark.parametrize("negative_sampling", [False, True])
@pytest.mark.parametrize("is_constrained", [False, True])
def test_gradients_by_rows_and_dense_ones_train_alike(is_constrained, negative_sampling, monkeypatch):
    def trained():
        model = DynamicAutoencoder([4], is_constrained=is_constrained)
        torch.manual_seed(1)
        model.init_model(num_items=NUM_ITEMS)
        run = Run(model, loss="logistic")
        layouts = set()
        run.train(
            AfterSteps(lambda: layouts.add(model.item_sum.table.weight.grad.is_sparse)),
            num_epochs=3,
            negative_sampling=negative_sampling,
        )
        return run.weights(), layouts

    by_rows, layouts = trained()
    assert layouts == {library() is not None and not (is_constrained and not negative_sampling)}
    monkeypatch.setattr(optimizers, "serve", lambda *tensors: False)
    dense, layouts = trained()
    assert layouts == {False}
    assert all(not value.equal(torch.zeros_like(value)) for value in dense.values())
    for name, value in dense.items():
        torch.testing.assert_close(by_rows[name], value, rtol=1e-4, atol=1e-6)


def test_what_only_a_running_epoch_knows_does_not_come_from_a_file():
    progress = Progress(epoch=1, step=2, loss_sum=3.0, num_users=4)
    assert Progress(**progress.to_json()) == progress
    with pytest.raises(TypeError, match="total"):
        Progress(**progress.to_json(), total=torch.ones(()))


def test_a_flag_of_numpy_can_be_stored(tmp_path):
    made = Recoder(DynamicAutoencoder([4]), optimizer_type="adam", loss="logistic", seed=1)
    made.train(RecommendationDataset(sparse.csr_matrix(np.eye(6))), negative_sampling=np.bool_(True))
    again = Recoder(DynamicAutoencoder())
    again.init_from_model_file(made.save_state(tmp_path / "a"))
    assert again._last_config["negative_sampling"] is True


@pytest.mark.parametrize("model", [EASE(l2=1.0), Popularity(), ELSA(4)])
def test_a_loss_that_is_not_used_refuses_no_values(model):
    counts = RecommendationDataset(sparse.csr_matrix(3 * np.eye(6) + np.eye(6)[::-1]))
    assert len(Recoder(model, optimizer_type="adam", loss="logistic", seed=1).train(counts, lr=0.01)) == 1


@pytest.mark.parametrize(("num_users", "of_step"), [(101, 50.5), (150, 75), (100, 100), (30, 30)])
def test_rows_of_users_weigh_beside_as_many_as_a_step_has(num_users, of_step):
    made = Recoder(MatrixFactorization(4, sparse=True, fold_in=True), optimizer_type="adam", loss="logistic")
    made.model.init_model(num_items=5, num_users=num_users)
    assert made._l2_of_users(train_config(weight_decay=0.5, batch_size=100), num_users) == 0.25 * of_step


def test_no_worker_outlives_the_training_that_a_traceback_still_shows():
    class Fails(Callback):
        def on_step_end(self):
            raise ValueError("mine")

    made = Recoder(DynamicAutoencoder([4]), optimizer_type="adam", loss="logistic", seed=1)
    dataset = RecommendationDataset(sparse.csr_matrix(np.eye(60)))
    with pytest.raises(ValueError, match="mine") as told:
        made.train(dataset, batch_size=2, num_data_workers=2, callbacks=[Fails()])
    assert told.tb is not None
    assert multiprocessing.active_children() == []


@pytest.mark.parametrize("kind", ["gram", "als", "ease"])
def test_a_callers_autocast_rounds_nothing_in_training(kind):
    def trained():
        models = {"gram": DynamicAutoencoder([4]), "als": MatrixFactorization(4, fold_in=True), "ease": EASE(l2=3)}
        made = Recoder(models[kind], optimizer_type="als" if kind == "als" else "adam", loss="mse", seed=1)
        made.train(RecommendationDataset(matrix()), batch_size=16, num_epochs=2, lr=0.01, weight_decay=0.1)
        return made.model.state_dict()

    plain = trained()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rounded = trained()
    for name, tensor in plain.items():
        assert torch.equal(rounded[name], tensor), name


class FailsToStart(Callback):
    def on_train_start(self, run):
        raise OSError("no place for a log")


class TestRunsThatCannotBegin:
    def test_a_new_model_is_as_if_nothing_had_been_tried(self, caplog):
        recoder = Recoder(MatrixFactorization(4, sparse=True), optimizer_type="adagrad", seed=SEED)
        with pytest.raises(ConfigError, match="sparse"):
            recoder.train(RecommendationDataset(matrix()))
        with pytest.raises(NotInitializedError):
            recoder.recommend(UsersInteractions(np.array([0]), matrix()[:1]), 3)
        assert (recoder.num_items, recoder.num_users) == (None, None)

    def test_it_can_be_trained_on_larger_data_then(self, caplog):
        recoder = Recoder(MatrixFactorization(4), optimizer_type="adam", seed=SEED)
        with pytest.raises(OSError, match="no place"):
            recoder.train(RecommendationDataset(matrix()), callbacks=[FailsToStart()])
        larger = sparse.csr_matrix(np.ones((NUM_USERS + 2, NUM_ITEMS + 1), dtype=np.float32))
        recoder.train(RecommendationDataset(larger))
        assert (recoder.num_items, recoder.num_users) == (NUM_ITEMS + 1, NUM_USERS + 2)
        assert "drawn anew" not in caplog.text

    def test_a_trained_one_keeps_its_history_and_its_best_epoch(self):
        data = RecommendationDataset(matrix())
        recoder = Recoder(MatrixFactorization(4), optimizer_type="adam", seed=SEED)
        recoder.train(data, data, num_epochs=3, early_stopping=EarlyStopping())
        best, history = recoder.history.best_epoch, recoder.history
        for failing in ({"callbacks": [FailsToStart()]}, {"early_stopping": None, "callbacks": [FailsToStart()]}):
            with pytest.raises(OSError, match="no place"):
                recoder.train(data, data, **({"num_epochs": 5, "early_stopping": EarlyStopping(patience=2)} | failing))
            assert recoder.history is history
            assert (best, len(history)) == (history.best_epoch, 3)

    def test_a_trained_one_answers_as_before(self):
        data = RecommendationDataset(matrix())
        recoder = Recoder(MatrixFactorization(4, fold_in=True), optimizer_type="adam", seed=SEED)
        recoder.train(data, weight_decay=0.1)
        before = recoder.predict(data[:][0])
        with pytest.raises(OSError, match="no place"):
            recoder.train(data, weight_decay=100.0, num_epochs=2, callbacks=[FailsToStart()])
        assert torch.equal(recoder.predict(data[:][0]), before)

    def test_what_fails_after_a_step_keeps_what_was_reached(self):
        class Fails(Callback):
            def on_step_end(self):
                raise OSError("no place for a log")

        recoder = Recoder(MatrixFactorization(4), optimizer_type="adam", seed=SEED)
        with pytest.raises(OSError, match="no place"):
            recoder.train(RecommendationDataset(matrix()), callbacks=[Fails()])
        assert len(recoder.recommend(UsersInteractions(np.array([0]), matrix()[:1]), 3)[0]) == 3
