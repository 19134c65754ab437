"""Training: the loop, its optimizers and events, its history, and the files that it leaves."""

from recoder.training.events import Callback, EpochReport, TrainingRun
from recoder.training.history import EpochRecord, History
from recoder.training.part_files import join_parts
from recoder.training.stopping import EarlyStopping

__all__ = ["Callback", "EarlyStopping", "EpochRecord", "EpochReport", "History", "TrainingRun", "join_parts"]
