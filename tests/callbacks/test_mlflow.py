from __future__ import annotations

import shutil

import pytest

from recoder.callbacks import MLflowLog
from recoder.nn import DynamicAutoencoder
from recoder.training import Callback
from small_runs import recoder, run

pytest.importorskip("mlflow")


@pytest.fixture(scope="module")
def database(tmp_path_factory):
    """One without any run: MLflow takes seconds to make its tables."""
    from mlflow import MlflowClient

    path = tmp_path_factory.mktemp("mlflow") / "runs.db"
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(path.parent)
        MlflowClient(f"sqlite:///{path}").search_experiments()
    return path


@pytest.fixture(params=["files", "sqlite"])
def uri(request, database, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    if request.param == "files":
        return (tmp_path / "runs").as_uri()
    return f"sqlite:///{shutil.copy(database, tmp_path)}"


def client(uri):
    from mlflow import MlflowClient

    return MlflowClient(uri)


def curve(uri, log, name):
    return [(point.step, point.value) for point in client(uri).get_metric_history(log.run_id, name)]


class Fail(Callback):
    def __init__(self, error):
        self.error = error

    def on_checkpoint(self, report):
        raise self.error


def test_a_training_is_a_run_with_curves_and_parameters(uri):
    log = MLflowLog("films", run_name="first", tracking_uri=uri)
    made = run(recoder(), log, eval_freq=2)
    stored = client(uri).get_run(log.run_id)
    assert stored.info.run_name == "first"
    assert stored.info.status == "FINISHED"
    assert client(uri).get_experiment(stored.info.experiment_id).name == "films"
    params = stored.data.params
    assert (params["model/hidden_layers"], params["train/lr"], params["recoder/seed"]) == ("[6]", "0.05", "11")
    for name in ("loss", "val_loss", "lr", "seconds"):
        assert curve(uri, log, name) == [(record.epoch, getattr(record, name)) for record in made.history]
    evaluated = [record for record in made.history if record.metrics]
    assert curve(uri, log, "NDCG_at_5") == [(record.epoch, record.metrics["NDCG@5"]) for record in evaluated]
    errors = [(record.epoch, record.metric_errors["NDCG@5"]) for record in evaluated]
    assert curve(uri, log, "NDCG_at_5 stderr") == errors


def test_a_run_whose_parameters_cannot_be_logged_has_failed(uri, monkeypatch):
    import mlflow

    def fail(*_, **__):
        raise ConnectionError("no route")

    log = MLflowLog(tracking_uri=uri)
    with monkeypatch.context() as patched:
        patched.setattr(mlflow.MlflowClient, "log_batch", fail)
        with pytest.raises(ConnectionError):
            run(recoder(), log)
    assert client(uri).get_run(log.run_id).info.status == "FAILED"


def test_any_number_of_parameters_with_any_name_is_logged(uri, monkeypatch):
    many = {f"drop@{n}": n for n in range(230)}
    monkeypatch.setattr(DynamicAutoencoder, "model_params", lambda model: {"hidden_layers": [6], **many})
    log = MLflowLog(tracking_uri=uri)
    run(recoder(), log)
    params = client(uri).get_run(log.run_id).data.params
    assert params["model/drop_at_229"] == "229"


def test_a_training_that_goes_on_goes_on_in_its_run(uri):
    log = MLflowLog(tracking_uri=uri)
    stopped = recoder()
    with pytest.raises(KeyboardInterrupt):
        run(stopped, log, Fail(KeyboardInterrupt()))
    assert client(uri).get_run(log.run_id).info.status == "KILLED"
    again = MLflowLog(tracking_uri=uri, run_id=log.run_id)
    with pytest.raises(ZeroDivisionError):
        run(stopped, again, Fail(ZeroDivisionError()), num_epochs=5)
    assert client(uri).get_run(log.run_id).info.status == "FAILED"
    run(stopped, log, num_epochs=5)
    stored = client(uri).get_run(log.run_id)
    assert stored.info.status == "FINISHED"
    assert stored.data.params["train/num_epochs"] == "4"
    assert [step for step, _ in curve(uri, log, "loss")] == [1, 2, 3, 4, 5]


def test_names_that_mlflow_does_not_allow_are_made_to_fit(uri):
    class Adds(Callback):
        def on_epoch_end(self, report):
            report.metrics["größe (own): 1!"] = 0.25

    log = MLflowLog(tracking_uri=uri)
    run(recoder(), Adds(), log, num_epochs=1)
    assert curve(uri, log, "größe _own__ 1_") == [(1, 0.25)]


def test_an_experiment_that_another_training_made_meanwhile_is_taken(uri, monkeypatch):
    import mlflow

    create = mlflow.MlflowClient.create_experiment

    def create_twice(self, name, **settings):
        create(self, name, **settings)
        return create(self, name, **settings)

    monkeypatch.setattr(mlflow.MlflowClient, "create_experiment", create_twice)
    log = MLflowLog("films", tracking_uri=uri)
    run(recoder(), log)
    assert client(uri).get_run(log.run_id).info.status == "FINISHED"
