"""Runs in MLflow."""

from __future__ import annotations

import logging
import re
import time
from typing import Any

from recoder._optional import imported
from recoder.callbacks.values import flat, scalars
from recoder.training.events import Callback, EpochReport, TrainingRun

__all__ = ["MLflowLog"]

_log = logging.getLogger("recoder.callbacks")

_MOST_PARAMS = 100
"""That MLflow takes at once."""


class MLflowLog(Callback):
    """Logs losses, learning rate and metrics by epoch to a run of MLflow, and the arguments as its parameters.

    MLflow allows no ``@`` in names: ``NDCG@100`` becomes ``NDCG_at_100``. The run ends as ``FINISHED``, after an
    interrupt as ``KILLED`` and after another error as ``FAILED``.

    Args:
        experiment: its name; it is made if there is none.
        run_name: what to call the run. None: as MLflow sees fit.
        tracking_uri: of the server or data base, such as ``"sqlite:///mlflow.db"``. None: that of MLflow's settings.
        run_id: a run to go on with, instead of a new one; its parameters stay.

    Attributes:
        run_id: of the run, once training started; it is gone on with when training is.

    Raises:
        MissingDependencyError: if ``mlflow`` is not installed (extra ``mlflow``).
    """

    def __init__(
        self,
        experiment: str = "recoder",
        *,
        run_name: str | None = None,
        tracking_uri: str | None = None,
        run_id: str | None = None,
    ) -> None:
        self.run_id = run_id
        self._experiment = experiment
        self._run_name = run_name
        self._tracking_uri = tracking_uri
        self._mlflow = imported("mlflow", "mlflow")
        self._client: Any = None

    def on_train_start(self, run: TrainingRun) -> None:
        """Starts the run, or goes on with it."""
        client = self._mlflow.MlflowClient(self._tracking_uri)
        if self.run_id is None:
            self.run_id = client.create_run(self._experiment_id(client), run_name=self._run_name).info.run_id
            param = self._mlflow.entities.Param
            self._client = client  # from here on there is a run to end
            params = [param(_allowed(name), str(value)) for name, value in flat(run.arguments).items()]
            for start in range(0, len(params), _MOST_PARAMS):
                client.log_batch(self.run_id, params=params[start : start + _MOST_PARAMS])
        else:
            client.update_run(self.run_id, status="RUNNING")
            self._client = client

    def on_checkpoint(self, report: EpochReport) -> None:
        """Logs the epoch's numbers."""
        metric, now_ms = self._mlflow.entities.Metric, int(time.time() * 1000)
        metrics = [metric(_allowed(name), value, now_ms, report.epoch) for name, value in scalars(report).items()]
        self._client.log_batch(self.run_id, metrics=metrics)

    def on_train_end(self, error: BaseException | None) -> None:
        """Says how the run ended."""
        if self._client is None:
            return
        status = "FINISHED" if error is None else "KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED"
        client, self._client = self._client, None
        try:
            client.set_terminated(self.run_id, status)
        except Exception as problem:  # the server is away: a training that is done is worth more than its mark
            _log.warning("the MLflow run %s could not be marked as %s: %s", self.run_id, status, problem)

    def _experiment_id(self, client: Any) -> str:
        known = client.get_experiment_by_name(self._experiment)
        if known is None:
            try:
                return str(client.create_experiment(self._experiment))
            except Exception:  # another training may have made it meanwhile
                known = client.get_experiment_by_name(self._experiment)
                if known is None:
                    raise
        return str(known.experiment_id)


def _allowed(name: str) -> str:
    return re.sub(r"[^\w\-. /]", "_", name.replace("@", "_at_"))
