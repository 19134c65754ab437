from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from recoder.callbacks import BestCheckpoint
from recoder.errors import ConfigError, FileWriteError
from recoder.metrics import NDCG
from recoder.training import Callback, EarlyStopping, EpochReport, TrainingRun
from recoder.training.history import History
from small_runs import dataset, recoder
from small_runs import run as run_with

SEED, LR = 7, 0.01  # of a run that is best in the middle


def run(made, *callbacks, **changes):
    return run_with(made, *callbacks, **{"lr": LR, **changes})


def new():
    return recoder(SEED)


def loaded(path):
    made = recoder(seed=99)
    made.init_from_model_file(path)
    return made


def assert_is_epoch(path, epoch, **changes):
    """The file is that which a run of so many epochs would have ended with."""
    made, expected = loaded(path), run(new(), num_epochs=epoch, **changes)
    assert len(made.history) == epoch
    for name, tensor in expected.model.state_dict().items():
        assert torch.equal(made.model.state_dict()[name], tensor), name


def best_epoch(made, metric="NDCG@5"):
    values = [-record.val_loss if metric is None else record.metrics.get(metric, -1) for record in made.history]
    return int(np.argmax(values)) + 1


@pytest.mark.parametrize("metric", [NDCG(5), "NDCG@5", None])
def test_the_file_is_that_of_the_best_epoch_and_the_only_one(metric, tmp_path):
    kept = BestCheckpoint(tmp_path / "deep" / "m", metric)
    made = run(new(), kept, num_epochs=12)
    best = best_epoch(made, None if metric is None else "NDCG@5")
    assert 1 < best < 12
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["m_best.model"]
    assert kept.path == tmp_path / "deep" / "m_best.model"
    assert_is_epoch(kept.path, best)


def test_epochs_that_are_not_evaluated_are_never_the_best(tmp_path):
    made = run(new(), BestCheckpoint(tmp_path / "m", NDCG(5)), num_epochs=9, eval_freq=4)
    assert [record.epoch for record in made.history if record.metrics] == [4, 8, 9]
    assert_is_epoch(tmp_path / "m_best.model", best_epoch(made))


def test_it_keeps_the_weights_of_the_epoch_where_early_stopping_gives_others_back(tmp_path):
    stopping = EarlyStopping(None, patience=2)
    made = run(new(), BestCheckpoint(tmp_path / "m", NDCG(5)), num_epochs=12, early_stopping=stopping)
    assert made.history.best_epoch != best_epoch(made)
    assert_is_epoch(tmp_path / "m_best.model", best_epoch(made))


@pytest.mark.parametrize("killed_after", [1, 5, 11])
def test_a_run_that_goes_on_ends_with_the_same_file(killed_after, tmp_path):
    class Kill(Callback):
        def on_checkpoint(self, report):
            if report.epoch == killed_after:
                raise KeyboardInterrupt

    undisturbed = run(new(), num_epochs=12)
    killed = new()
    with pytest.raises(KeyboardInterrupt):
        run(killed, BestCheckpoint(tmp_path / "m", NDCG(5)), Kill(), num_epochs=12)
    resumed = loaded(killed.save_state(tmp_path / "x"))
    run(resumed, BestCheckpoint(tmp_path / "m", NDCG(5)), num_epochs=12)
    assert_is_epoch(tmp_path / "m_best.model", best_epoch(undisturbed))


def test_a_new_run_replaces_the_file_of_an_earlier_one(tmp_path):
    run(new(), BestCheckpoint(tmp_path / "m", NDCG(5)), num_epochs=12)
    run(new(), BestCheckpoint(tmp_path / "m", NDCG(5)), num_epochs=1)
    assert_is_epoch(tmp_path / "m_best.model", 1)


def test_where_the_file_is_gone_the_best_that_comes_is_kept(tmp_path):
    made = run(new(), num_epochs=11)
    run(made, BestCheckpoint(tmp_path / "m", NDCG(5)), num_epochs=12)
    assert_is_epoch(tmp_path / "m_best.model", 12)


def test_an_epoch_whose_file_could_not_be_written_is_not_the_best_that_is_there(tmp_path, monkeypatch):
    class Full(BestCheckpoint):
        def on_checkpoint(self, report):
            if report.epoch > 1:
                raise FileWriteError("the disk is full")
            super().on_checkpoint(report)

    made = new()
    with pytest.raises(FileWriteError):
        run(made, Full(tmp_path / "m", NDCG(5)), num_epochs=12)
    assert len(made.history) == 2  # epoch 2 is in it, and in no file
    monkeypatch.setitem(made.history[1].metrics, "NDCG@5", 1.0)
    monkeypatch.setitem(made.history[0].metrics, "NDCG@5", 0.0)
    run(loaded(made.save_state(tmp_path / "x")), BestCheckpoint(tmp_path / "m", NDCG(5)), num_epochs=3)
    assert_is_epoch(tmp_path / "m_best.model", 3)


def test_a_folder_of_something_else_in_the_place_is_an_error_before_the_first_step(tmp_path):
    (tmp_path / "m_best.model").mkdir()
    (tmp_path / "m_best.model" / "manifest.json").write_text("{}")
    made = new()
    with pytest.raises(FileWriteError, match="not one of a checkpoint"):
        run(made, BestCheckpoint(tmp_path / "m", NDCG(5)))
    assert len(made.history) == 0


def test_what_is_not_validated_is_an_error_before_the_first_step(tmp_path):
    with pytest.raises(ConfigError, match="BestCheckpoint looks at NDCG@7, but metrics are NDCG@5; add it to metrics"):
        run(new(), BestCheckpoint(tmp_path / "m", NDCG(7)))
    made = new()
    with pytest.raises(ConfigError, match="BestCheckpoint needs validation users"):
        made.train(dataset(), callbacks=[BestCheckpoint(tmp_path / "m")])
    with pytest.raises(ConfigError, match="metrics are not given"):
        made.train(dataset(), callbacks=[BestCheckpoint(tmp_path / "m", "NDCG@5")])
    assert list(tmp_path.iterdir()) == []
    assert len(made.history) == 0


def test_a_file_that_cannot_be_written_is_an_error_before_the_first_step(tmp_path):
    (tmp_path / "file").write_text("in the way")
    made = new()
    with pytest.raises(FileWriteError):
        run(made, BestCheckpoint(tmp_path / "file" / "m", NDCG(5)))
    assert len(made.history) == 0


class TestOfProcesses:
    """All of them save together; one file or one folder comes of it."""

    @pytest.fixture
    def kept(self, tmp_path):
        def save(prefix):
            folder = tmp_path / "m_best_epoch_1.model"
            if self.in_parts:
                folder.mkdir(exist_ok=True)
                (folder / "part").write_text(str(self.saved))
                (folder / "manifest.json").write_text('{"format": "recoder checkpoint"}')
            else:
                folder.write_text(str(self.saved))
            self.saved += 1
            return str(folder)

        self.saved, kept = 0, BestCheckpoint(tmp_path / "m")
        self.run = TrainingRun(9, 9, 0, True, {"train": {}}, recoder().model, History(), save, is_first=True)
        return kept

    @staticmethod
    def report(val_loss):
        return EpochReport(1, False, loss=1.0, lr=0.1, seconds=1.0, val_loss=val_loss)

    @pytest.mark.parametrize("in_parts", [False, True])
    def test_the_first_moves_what_they_saved_and_replaces_it(self, in_parts, kept, tmp_path):
        self.in_parts = in_parts
        for start in range(2):
            kept.on_train_start(self.run)  # a run that goes on finds the folder too
            for loss in (3.0 - start, 2.5 - start):
                kept.on_checkpoint(self.report(loss))
        assert [path.name for path in tmp_path.iterdir()] == ["m_best.model"]
        assert ((kept.path / "part") if in_parts else kept.path).read_text() == "3"

    def test_the_others_save_and_leave_it(self, kept, tmp_path):
        self.in_parts = False
        kept.on_train_start(replace(self.run, is_first=False))
        kept.on_checkpoint(self.report(3.0))
        assert self.saved == 1
        assert [path.name for path in tmp_path.iterdir()] == ["m_best_epoch_1.model"]


def test_a_run_that_goes_on_from_before_the_best_epoch_does_not_lose_it(tmp_path):
    made = run(
        new(),
        BestCheckpoint(tmp_path / "m", NDCG(5)),
        num_epochs=12,
        checkpoint_freq=1,
        model_checkpoint_prefix=tmp_path / "x",
    )
    best = best_epoch(made)
    assert best > 2
    before = (tmp_path / "m_best.model").read_bytes()
    resumed = loaded(tmp_path / "x_epoch_1.model")
    run(resumed, BestCheckpoint(tmp_path / "m", NDCG(5)), num_epochs=2)
    assert (tmp_path / "m_best.model").read_bytes() == before
    another = recoder(SEED + 1)
    run(another, BestCheckpoint(tmp_path / "m", NDCG(5)), num_epochs=2)
    assert len(loaded(tmp_path / "m_best.model").history) <= 2


class Adds(Callback):
    """Another metric, which is no number in the first epoch."""

    def on_epoch_end(self, report):
        report.metrics["own"] = float("nan") if report.epoch == 1 else 1.0


def test_a_metric_that_was_no_number_does_not_make_the_file_that_of_another_run(tmp_path):
    kept = BestCheckpoint(tmp_path / "m", NDCG(5))
    made = run(new(), Adds(), kept, num_epochs=12, checkpoint_freq=1, model_checkpoint_prefix=tmp_path / "x")
    best = best_epoch(made)
    assert 2 < best < 12
    before = kept.path.read_bytes()
    run(loaded(tmp_path / "x_epoch_12.model"), Adds(), BestCheckpoint(tmp_path / "m", NDCG(5)), num_epochs=13)
    assert kept.path.read_bytes() == before
