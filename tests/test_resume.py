"""A run that is stopped, at whatever moment, and goes on from its file equals the undisturbed run bit for bit."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import sparse
from torch import Tensor

from forking import Forked
from recoder import model
from recoder.data import RecommendationDataset
from recoder.errors import ConfigError, DivergedError, FileWriteError
from recoder.metrics import NDCG, Metric, Recall
from recoder.model import Recoder
from recoder.nn import DynamicAutoencoder, FactorizationModel, MatrixFactorization, MultVAE
from recoder.training import Callback, EarlyStopping, TrainingRun, optimizers
from recoder.training.part_files import MANIFEST
from recoder.training.restore import read_model_file

USERS, ITEMS = 23, 17


def dataset(*, with_target: bool = False) -> RecommendationDataset:
    rng = np.random.default_rng(3)
    dense = (rng.random((USERS, ITEMS)) < 0.35).astype(np.float32)
    dense[:, 0] = 1
    target = sparse.csr_matrix(dense[:, ::-1].copy()) if with_target else None
    return RecommendationDataset(sparse.csr_matrix(dense), target)


class Setup:
    """A model and the arguments of its run."""

    def __init__(
        self,
        make: Callable[[], FactorizationModel],
        *,
        optimizer_type: str = "adam",
        optimizer_state: str = "fp32",
        loss: str = "logistic",
        with_target: bool = False,
        **train: Any,
    ) -> None:
        self.make = make
        self.arguments: dict[str, Any] = {"optimizer_type": optimizer_type, "loss": loss}
        self.arguments["optimizer_state"] = optimizer_state
        self.with_target = with_target
        self.train: dict[str, Any] = {"batch_size": 5, "lr": 0.01, "weight_decay": 1e-3, **train}

    def recoder(self, seed: int | None = 11) -> Recoder:
        return Recoder(self.make(), seed=seed, **self.arguments)

    def run(self, recoder: Recoder, num_epochs: int, **kwargs: Any) -> Recoder:
        data = dataset(with_target=self.with_target)
        recoder.train(data, num_epochs=num_epochs, **{**self.train, **kwargs})
        return recoder

    def resumed(self, path: str | Path, num_epochs: int, **kwargs: Any) -> Recoder:
        # a seed of its own would show, were the file's not taken over
        recoder = Recoder(self.make(), seed=99, **self.arguments)
        recoder.init_from_model_file(path)
        return self.run(recoder, num_epochs, **kwargs)


def noisy(**kwargs: Any) -> Callable[[], FactorizationModel]:
    return lambda: DynamicAutoencoder([6], noise_prob=0.4, dropout_prob=0.3, **kwargs)


SAMPLED = {"negative_sampling": True}
SETUPS = {
    "autoencoder, whole catalogue": Setup(noisy()),
    "autoencoder, sampled": Setup(noisy(), **SAMPLED),
    "autoencoder, sparse": Setup(noisy(sparse=True), **SAMPLED),
    "autoencoder, super-batches": Setup(noisy(), num_sampling_users=10, **SAMPLED),
    "deep tied": Setup(
        lambda: DynamicAutoencoder([8, 4], is_constrained=True, noise_prob=0.4, dropout_prob=0.3), loss="logloss"
    ),
    "deep tied, sparse": Setup(
        lambda: DynamicAutoencoder([8, 4], is_constrained=True, noise_prob=0.4, dropout_prob=0.3, sparse=True),
        loss="mse",
        **SAMPLED,
    ),
    "factorization": Setup(lambda: MatrixFactorization(6, "tanh", dropout_prob=0.3), **SAMPLED),
    "factorization, sparse": Setup(lambda: MatrixFactorization(6, dropout_prob=0.3, sparse=True), **SAMPLED),
    "sgd": Setup(noisy(), optimizer_type="sgd"),
    "rmsprop": Setup(noisy(), optimizer_type="rmsprop", loss="mse"),
    "adagrad": Setup(noisy(), optimizer_type="adagrad", loss="logloss"),
    "rowwise adagrad": Setup(noisy(), optimizer_type="rowwise_adagrad", loss="logloss"),
    "rowwise adagrad, sparse": Setup(
        noisy(sparse=True), optimizer_type="rowwise_adagrad", max_grad_norm=0.05, **SAMPLED
    ),
    "moments in bf16": Setup(noisy(), optimizer_state="bf16"),
    "moments in bf16, sparse": Setup(
        lambda: MatrixFactorization(6, dropout_prob=0.3, sparse=True), optimizer_state="bf16", **SAMPLED
    ),
    "milestones": Setup(noisy(), lr_milestones=[1, 2, 3]),
    "cosine": Setup(noisy(), lr_schedule="cosine"),
    "clipped": Setup(noisy(), max_grad_norm=0.05),
    "clipped, sparse": Setup(noisy(sparse=True), max_grad_norm=0.05, **SAMPLED),
    "biases from popularity": Setup(noisy(), loss="logloss", popularity_bias=True),
    "uniform negatives, corrected": Setup(
        noisy(sparse=True), loss="logloss", num_uniform_negatives=3, logq_correction=True, **SAMPLED
    ),
    "few steps an epoch": Setup(noisy(), iters_per_epoch=3),
    "many steps an epoch": Setup(noisy(), iters_per_epoch=12, num_sampling_users=10, **SAMPLED),
    "against a target": Setup(noisy(), with_target=True, **SAMPLED),
}


def assert_same(resumed: Recoder, undisturbed: Recoder) -> None:
    weights, expected = resumed.model.state_dict(), undisturbed.model.state_dict()
    assert weights.keys() == expected.keys()
    for name, tensor in expected.items():
        assert torch.equal(weights[name], tensor), name
    facts = [[(r.epoch, r.loss, r.lr, r.val_loss, r.metrics) for r in each.history] for each in (resumed, undisturbed)]
    assert facts[0] == facts[1]
    state, expected_state = resumed._current_optimizer_state(), undisturbed._current_optimizer_state()
    assert state.keys() == expected_state.keys()
    for name, entries in expected_state.items():
        assert all(torch.equal(state[name][key], entry) for key, entry in entries.items()), name


@pytest.mark.parametrize("setup", SETUPS.values(), ids=list(SETUPS))
def test_a_run_killed_between_epochs_and_resumed_equals_the_undisturbed_run(setup: Setup, tmp_path: Path) -> None:
    undisturbed = setup.run(setup.recoder(), 4, model_checkpoint_prefix=tmp_path / "x", checkpoint_freq=1)
    resumed = setup.resumed(tmp_path / "x_epoch_2.model", 4)
    assert_same(resumed, undisturbed)


@pytest.mark.parametrize("workers", [0, 2])
def test_ten_epochs_equal_five_and_five(workers: int, tmp_path: Path) -> None:
    setup = SETUPS["autoencoder, super-batches"]
    undisturbed = setup.run(
        setup.recoder(), 10, model_checkpoint_prefix=tmp_path / "x", checkpoint_freq=5, num_data_workers=workers
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x_epoch_10.model", "x_epoch_5.model"]
    assert_same(setup.resumed(tmp_path / "x_epoch_5.model", 10, num_data_workers=workers), undisturbed)


def test_the_files_of_a_resumed_run_equal_those_of_the_undisturbed_one(tmp_path: Path) -> None:
    setup = SETUPS["factorization, sparse"]
    setup.run(setup.recoder(), 4, model_checkpoint_prefix=tmp_path / "x", checkpoint_freq=2)
    setup.resumed(tmp_path / "x_epoch_2.model", 4, model_checkpoint_prefix=tmp_path / "again" / "x")
    files = [Recoder(setup.make()) for _ in range(2)]
    for recoder, folder in zip(files, (tmp_path, tmp_path / "again"), strict=True):
        recoder.init_from_model_file(folder / "x_epoch_4.model")
    assert_same(files[1], files[0])


# inside an epoch


def progress_in(path: str) -> tuple[int, int]:
    progress = read_model_file(path).progress
    return progress["epoch"], progress["step"]


class Stops:
    """Mixed into a model, it does something in the n-th training step, counted over the whole run."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.steps = 0
        self.on_step: dict[int, Callable[[], None]] = {}

    def penalty(self) -> Tensor | None:
        own: Tensor | None = super().penalty()  # type: ignore[misc]  # of the model that it is mixed into
        self.steps += 1
        self.on_step.get(self.steps, lambda: None)()
        return own


class StoppingAutoencoder(Stops, DynamicAutoencoder):
    pass


class StoppingFactorization(Stops, MatrixFactorization):
    pass


class StoppingMultVAE(Stops, MultVAE):
    pass


def press_ctrl_c() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def fail() -> None:
    raise KeyboardInterrupt


STOPPING = {
    "autoencoder": Setup(lambda: StoppingAutoencoder([6], noise_prob=0.4, dropout_prob=0.3), **SAMPLED),
    "autoencoder, sparse": Setup(
        lambda: StoppingAutoencoder([6], noise_prob=0.4, sparse=True), num_sampling_users=10, **SAMPLED
    ),
    "deep tied": Setup(
        lambda: StoppingAutoencoder([8, 4], is_constrained=True, noise_prob=0.4, dropout_prob=0.3), loss="logloss"
    ),
    "factorization, sparse": Setup(lambda: StoppingFactorization(6, dropout_prob=0.3, sparse=True), **SAMPLED),
    "sgd": Setup(lambda: StoppingAutoencoder([6], noise_prob=0.4), optimizer_type="sgd", loss="mse"),
    "multvae": Setup(lambda: StoppingMultVAE([6, 3], noise_prob=0.4, kl_weight=0.5, kl_steps=14), loss="logloss"),
    "many steps an epoch": Setup(lambda: StoppingAutoencoder([6], noise_prob=0.4), iters_per_epoch=12),
    "cosine, clipped": Setup(
        lambda: StoppingAutoencoder([6], noise_prob=0.4, sparse=True),
        lr_schedule="cosine",
        max_grad_norm=0.05,
        popularity_bias=True,
        **SAMPLED,
    ),
    "uniform negatives": Setup(
        lambda: StoppingAutoencoder([6], noise_prob=0.4),
        num_uniform_negatives=3,
        logq_correction=True,
        num_sampling_users=10,
        **SAMPLED,
    ),
}


@pytest.mark.parametrize("stop", [press_ctrl_c, fail])
@pytest.mark.parametrize("setup", STOPPING.values(), ids=list(STOPPING))
def test_a_run_stopped_inside_an_epoch_and_resumed_equals_the_undisturbed_run(
    setup: Setup, stop: Callable[[], None], tmp_path: Path
) -> None:
    undisturbed = setup.run(setup.recoder(), 3)
    stopped = setup.recoder()
    stopped.model.on_step[8] = stop  # type: ignore[union-attr, operator]
    with pytest.raises(KeyboardInterrupt):
        setup.run(stopped, 3)
    path = stopped.save_state(tmp_path / "x")
    # 5 steps an epoch: the eighth is the third of the second; it is finished after Ctrl-C, and lost where it failed
    per_epoch = setup.train.get("iters_per_epoch", 5)
    epoch, step = divmod(8 if stop is press_ctrl_c else 7, per_epoch)
    assert path.endswith(f"_epoch_{epoch}.model")
    assert progress_in(path) == (epoch, step)
    assert_same(setup.resumed(path, 3), undisturbed)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_run_stopped_with_workers_goes_on_with_the_next_batch(workers: int, tmp_path: Path) -> None:
    setup = STOPPING["autoencoder, sparse"]
    undisturbed = setup.run(setup.recoder(), 3, num_data_workers=workers)
    stopped = setup.recoder()
    stopped.model.on_step[9] = press_ctrl_c  # type: ignore[union-attr, operator]
    with pytest.raises(KeyboardInterrupt):
        setup.run(stopped, 3, num_data_workers=workers)
    assert_same(setup.resumed(stopped.save_state(tmp_path / "x"), 3, num_data_workers=workers), undisturbed)


def test_workers_change_nothing(tmp_path: Path) -> None:
    setup = SETUPS["autoencoder, super-batches"]
    assert_same(setup.run(setup.recoder(), 2, num_data_workers=2), setup.run(setup.recoder(), 2))


def test_training_goes_on_in_the_same_recoder_after_ctrl_c(tmp_path: Path) -> None:
    setup = STOPPING["autoencoder"]
    undisturbed = setup.run(setup.recoder(), 3)
    stopped = setup.recoder()
    for step in (3, 4, 9, 15):
        stopped.model.on_step[step] = press_ctrl_c  # type: ignore[union-attr, operator]
        with pytest.raises(KeyboardInterrupt):
            setup.run(stopped, 3)
    setup.run(stopped, 3)
    assert_same(stopped, undisturbed)


class StopsOnce(Metric):
    """Evaluates as Recall@3 does, but for one interrupt."""

    def __init__(self) -> None:
        super().__init__("stops once")
        self.calls_left = 1_000_000

    def evaluate(self, x: Any, y: Any) -> float:
        self.calls_left -= 1
        if self.calls_left == 0:
            raise KeyboardInterrupt
        return Recall(3).evaluate(x, y)


def test_a_run_stopped_in_validation_goes_on_with_that_validation(tmp_path: Path) -> None:
    setup = SETUPS["autoencoder, sampled"]
    validation: dict[str, Any] = {
        "val_dataset": dataset(with_target=True),
        "eval_freq": 1,
        "eval_num_recommendations": 5,
    }
    undisturbed = setup.run(setup.recoder(), 3, metrics=[NDCG(5), StopsOnce()], **validation)
    stopping = StopsOnce()
    stopping.calls_left = USERS + 4  # among the users of the second epoch
    stopped = setup.recoder()
    with pytest.raises(KeyboardInterrupt):
        setup.run(stopped, 3, metrics=[NDCG(5), stopping], **validation)
    path = stopped.save_state(tmp_path / "x")
    resumed = setup.resumed(path, 3, metrics=[NDCG(5), StopsOnce()], **validation)
    assert_same(resumed, undisturbed)
    assert [record.epoch for record in resumed.history] == [1, 2, 3]


# the process itself is killed

VICTIM = """
import sys, time
import numpy as np, torch
from pathlib import Path
from scipy import sparse
from recoder.data import RecommendationDataset
from recoder.model import Recoder
from recoder.nn import DynamicAutoencoder

class SlowAutoencoder(DynamicAutoencoder):
    def penalty(self):
        time.sleep(0.01)

torch.set_num_threads(1)
model = SlowAutoencoder([6], noise_prob=0.4, dropout_prob=0.3)
recoder = Recoder(model, optimizer_type="adam", loss="logistic", seed=5)
recoder.train(
    RecommendationDataset(sparse.load_npz(sys.argv[1])), num_epochs=10_000, batch_size=5, lr=0.01, weight_decay=1e-3,
    negative_sampling=True, model_checkpoint_prefix=sys.argv[2], checkpoint_freq=1,
)
"""


class SlowAutoencoder(DynamicAutoencoder):
    pass


def test_a_process_killed_in_training_can_be_resumed_from_its_last_file(tmp_path: Path) -> None:
    sparse.save_npz(tmp_path / "matrix.npz", dataset().interactions_matrix)
    prefix = tmp_path / "models" / "x"
    victim = Forked(VICTIM, tmp_path / "matrix.npz", prefix)
    try:
        deadline = time.monotonic() + 60
        while not Path(f"{prefix}_epoch_4.model").exists():
            assert victim.returncode is None
            assert time.monotonic() < deadline
            time.sleep(0.005)
    finally:
        victim.kill()
        victim.wait()
    assert victim.returncode == -signal.SIGKILL
    epochs = sorted(int(path.stem.rpartition("_")[2]) for path in prefix.parent.glob("x_epoch_*.model"))
    last = epochs[-1]
    assert epochs == list(range(1, last + 1))

    setup = Setup(lambda: SlowAutoencoder([6], noise_prob=0.4, dropout_prob=0.3), **SAMPLED)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        undisturbed = setup.run(setup.recoder(seed=5), last + 3)
        resumed = setup.resumed(f"{prefix}_epoch_{last}.model", last + 3)
    finally:
        torch.set_num_threads(threads)
    assert_same(resumed, undisturbed)


class SavesOnce(Callback):
    """Saves after a step, as a callback that keeps files in the middle of an epoch does."""

    def __init__(self, prefix: Path, step: int) -> None:
        self.prefix, self.step, self.path, self.num_steps = prefix, step, "", 0
        self.run: TrainingRun | None = None

    def on_train_start(self, run: TrainingRun) -> None:
        self.run = run

    def on_step_end(self) -> None:
        self.num_steps += 1
        if self.num_steps == self.step and self.run is not None:
            self.path = self.run.save(self.prefix)


def test_a_file_that_a_callback_saves_within_an_epoch_knows_the_loss_so_far(tmp_path: Path) -> None:
    setup, saves = SETUPS["cosine"], SavesOnce(tmp_path / "m", 3)
    undisturbed = setup.run(setup.recoder(), 2, callbacks=[saves])
    assert progress_in(saves.path) == (0, 3)
    assert_same(setup.resumed(saves.path, 2), undisturbed)


def test_weights_that_diverged_are_not_saved_within_an_epoch_either(tmp_path: Path) -> None:
    setup = Setup(noisy(), lr=1e30, optimizer_type="sgd")
    with pytest.raises(DivergedError, match="are not saved"):
        setup.run(setup.recoder(), 2, callbacks=[SavesOnce(tmp_path / "m", 4)])
    assert not list(tmp_path.iterdir())


def test_a_run_goes_on_beside_checkpoints_in_parts_of_the_same_prefix(tmp_path: Path) -> None:
    setup = SETUPS["cosine"]
    made = setup.run(setup.recoder(), 1)
    in_parts = tmp_path / "m_epoch_1.model"
    in_parts.mkdir()
    (in_parts / MANIFEST).write_text("{}")
    setup.run(made, 2, model_checkpoint_prefix=tmp_path / "m", checkpoint_freq=1)
    assert_same(setup.resumed(tmp_path / "m_epoch_2.model", 2), made)
    (tmp_path / "n_epoch_2.model").mkdir()  # of something else
    with pytest.raises(FileWriteError, match="it is a folder"):
        setup.run(made, 3, model_checkpoint_prefix=tmp_path / "n")


def test_parameters_that_are_frozen_for_a_while_keep_what_adam_knows_of_them(tmp_path: Path) -> None:
    setup = Setup(lambda: DynamicAutoencoder([6]))
    made = setup.run(setup.recoder(), 1)
    before = {name: entries["exp_avg"].clone() for name, entries in made._current_optimizer_state().items()}
    frozen = [name for name, _ in made.model.named_parameters() if name.startswith("item_sum")]
    made.model.get_submodule("item_sum").requires_grad_(False)
    weights = made.model.state_dict()[frozen[0]].clone()
    setup.run(made, 2)
    assert torch.equal(made.model.state_dict()[frozen[0]], weights)
    state = made._current_optimizer_state()
    assert torch.equal(state[frozen[0]]["exp_avg"], before[frozen[0]])
    assert not torch.equal(state["items.weight"]["exp_avg"], before["items.weight"])
    made.model.get_submodule("item_sum").requires_grad_(True)
    resumed = setup.resumed(made.save_state(tmp_path / "m"), 3)
    assert_same(resumed, setup.run(made, 3))


def test_a_call_that_cannot_work_leaves_the_best_epoch_and_the_optimizer_alone() -> None:
    setup = Setup(noisy(), metrics=[NDCG(5)], eval_freq=1)
    rule = {"early_stopping": EarlyStopping("NDCG@5", patience=1)}
    runs = []
    for fails in (False, True):
        made = setup.recoder()
        made.train(dataset(), dataset(with_target=True), num_epochs=2, **setup.train, **rule)
        if fails:
            with pytest.raises(ConfigError, match="eval_num_recommendations"):
                made.train(
                    dataset(), dataset(with_target=True), num_epochs=4, **setup.train, eval_num_recommendations=2
                )
        made.train(dataset(), dataset(with_target=True), num_epochs=4, **setup.train, **rule)
        runs.append(made)
    assert_same(*runs)


def test_an_epoch_that_was_begun_with_other_data_begins_anew(caplog: pytest.LogCaptureFixture) -> None:
    setup = Setup(lambda: DynamicAutoencoder([4]))
    recoder, few = setup.recoder(), RecommendationDataset(dataset().interactions_matrix[:7])
    with pytest.raises(KeyboardInterrupt):
        recoder.train(dataset(), num_epochs=1, callbacks=[AfterSteps(4)], **setup.train)
    history = recoder.train(few, num_epochs=1, **setup.train)
    assert "epoch 1 was begun with other data (23 users" in caplog.text
    assert "it begins anew with these (7 users" in caplog.text
    assert len(history) == 1
    assert recoder._progress.epoch == 1


class FailsToStart(Callback):
    """Ends a run before its first step."""

    def on_train_start(self, run: TrainingRun) -> None:
        raise OSError("no place for a log")


def test_an_epoch_that_was_only_validated_counts_though_its_checkpoint_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    setup = SETUPS["autoencoder, sampled"]
    validation: dict[str, Any] = {"val_dataset": dataset(with_target=True), "eval_freq": 1}
    validation |= {"eval_num_recommendations": 5, "model_checkpoint_prefix": tmp_path / "x", "checkpoint_freq": 1}
    stopping = StopsOnce()
    stopping.calls_left = USERS + 4  # among the users of the second epoch
    stopped = setup.recoder()
    with pytest.raises(KeyboardInterrupt):
        setup.run(stopped, 3, metrics=[stopping], **validation)
    assert (stopped._progress.epoch, stopped._progress.step) == (1, 5)

    def full(*_: Any, **__: Any) -> None:
        raise FileWriteError("no space left")

    with monkeypatch.context() as patched:
        patched.setattr(model, "write_together", full)
        with pytest.raises(FileWriteError):
            setup.run(stopped, 3, metrics=[StopsOnce()], **validation)
    assert (stopped._progress.epoch, stopped._progress.step) == (2, 0)
    setup.run(stopped, 3, metrics=[StopsOnce()], **validation)
    assert [record.epoch for record in stopped.history] == [1, 2, 3]


def test_steps_of_other_data_count_as_steps_and_a_run_of_them_that_cannot_begin_as_none() -> None:
    setup = Setup(lambda: DynamicAutoencoder([4]))
    few = RecommendationDataset(dataset().interactions_matrix[:20])
    whole = setup.run(setup.recoder(), 1)
    recoder = setup.recoder()
    with pytest.raises(KeyboardInterrupt):
        recoder.train(dataset(), num_epochs=1, callbacks=[AfterSteps(3)], **setup.train)
    with pytest.raises(OSError, match="no place"):
        recoder.train(few, num_epochs=1, callbacks=[FailsToStart()], **setup.train)
    recoder.train(dataset(), num_epochs=1, **setup.train)
    assert_same(recoder, whole)
    with pytest.raises(KeyboardInterrupt):
        recoder.train(dataset(), num_epochs=2, callbacks=[AfterSteps(3)], **setup.train)
    with pytest.raises(KeyboardInterrupt):
        recoder.train(few, num_epochs=2, callbacks=[AfterSteps(3)], **setup.train)
    assert recoder._progress.data is not None
    assert recoder._progress.data.startswith("20 users")


@pytest.mark.parametrize("optimizer_type", ["adam", "adagrad", "rowwise_adagrad"])
def test_a_first_step_without_memory_for_the_optimizer_leaves_a_recoder_that_can_be_trained(
    optimizer_type: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    setup = Setup(lambda: DynamicAutoencoder([4]), optimizer_type=optimizer_type)
    undisturbed = setup.run(setup.recoder(), 2)
    update, calls = optimizers.UPDATES[optimizer_type], []

    def full(*arguments: Any) -> None:
        calls.append(0)
        if len(calls) == 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        update(*arguments)

    monkeypatch.setitem(optimizers.UPDATES, optimizer_type, full)  # type: ignore[call-overload]  # a dict
    recoder = setup.recoder()
    with pytest.raises(torch.OutOfMemoryError):
        setup.run(recoder, 2)
    assert recoder._optimizer is None
    assert_same(setup.run(recoder, 2), undisturbed)


class AfterSteps(Callback):
    """Interrupts the run after so many steps."""

    def __init__(self, number: int) -> None:
        self._left = number

    def on_step_end(self) -> None:
        """Counts them."""
        self._left -= 1
        if not self._left:
            raise KeyboardInterrupt
