"""Callbacks that are ready to pass to a training: files of the history and of the best epoch, and trackers."""

from recoder.callbacks.best import BestCheckpoint
from recoder.callbacks.history_files import CSVLog, JSONLinesLog
from recoder.callbacks.mlflow import MLflowLog
from recoder.callbacks.tensorboard import TensorBoardLog
from recoder.callbacks.wandb import WandbLog

__all__ = ["BestCheckpoint", "CSVLog", "JSONLinesLog", "MLflowLog", "TensorBoardLog", "WandbLog"]
