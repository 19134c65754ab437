from __future__ import annotations

import pytest

from recoder.callbacks import TensorBoardLog
from recoder.errors import FileWriteError
from small_runs import recoder, run

pytest.importorskip("tensorboard")


def read(folder):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    return EventAccumulator(str(folder)).Reload()


def curve(folder, name):
    return [(event.step, pytest.approx(event.value, rel=1e-6)) for event in read(folder).Scalars(name)]


def test_losses_metrics_and_learning_rate_are_curves_over_the_epochs(tmp_path):
    made = run(recoder(), TensorBoardLog(tmp_path / "deep" / "tb"), eval_freq=2)
    folder = tmp_path / "deep" / "tb"
    names = {"loss", "val_loss", "lr", "seconds", "NDCG@5", "NDCG@5 stderr"}
    assert set(read(folder).Tags()["scalars"]) == names
    for name in ("loss", "val_loss", "lr"):
        assert curve(folder, name) == [(record.epoch, getattr(record, name)) for record in made.history]
    evaluated = [record for record in made.history if record.metrics]
    assert curve(folder, "NDCG@5") == [(record.epoch, record.metrics["NDCG@5"]) for record in evaluated]
    assert curve(folder, "NDCG@5 stderr") == [(record.epoch, record.metric_errors["NDCG@5"]) for record in evaluated]


def test_the_arguments_are_hyper_parameters(tmp_path):
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

    run(recoder(), TensorBoardLog(tmp_path))
    found = HParamsPluginData()
    found.ParseFromString(read(tmp_path).PluginTagToContent("hparams")["_hparams_/session_start_info"])
    values = found.session_start_info.hparams
    assert values["model/hidden_layers"].string_value == "[6]"
    assert values["train/lr"].number_value == 0.05
    assert values["recoder/seed"].number_value == 11
    assert not values["train/negative_sampling"].bool_value


def test_epochs_that_are_trained_again_take_the_place_of_the_first_ones(tmp_path):
    run(recoder(), TensorBoardLog(tmp_path / "tb"), model_checkpoint_prefix=tmp_path / "x", checkpoint_freq=2)
    earlier = recoder()
    earlier.init_from_model_file(tmp_path / "x_epoch_2.model")
    run(earlier, TensorBoardLog(tmp_path / "tb"), lr=0.02, num_epochs=3)
    assert [step for step, _ in curve(tmp_path / "tb", "loss")] == [1, 2, 3]
    assert curve(tmp_path / "tb", "lr") == [(1, 0.05), (2, 0.05), (3, 0.02)]


def test_a_disk_that_becomes_full_ends_the_run_with_an_error_that_names_the_folder(tmp_path, monkeypatch):
    def fail(self):
        raise OSError(28, "No space left on device")

    made = recoder()
    monkeypatch.setattr("tensorboard.summary.writer.record_writer.RecordWriter.flush", fail)
    with pytest.raises(FileWriteError, match=r"cannot write .*tb: No space left on device; .* free some space"):
        run(made, TensorBoardLog(tmp_path / "tb"))


def test_a_folder_that_cannot_be_made_is_an_error_before_the_first_step(tmp_path):
    (tmp_path / "file").write_text("in the way")
    made = recoder()
    with pytest.raises(FileWriteError, match="cannot write"):
        run(made, TensorBoardLog(tmp_path / "file" / "tb"))
    assert len(made.history) == 0
