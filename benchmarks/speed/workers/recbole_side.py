"""RecBole: its MultiDAE, one layer of hidden units as ours, the multinomial loss over the whole catalogue."""

import tempfile
from pathlib import Path
from typing import Any

import torch
from protocol import Measure, serve
from recoder_tasks import StepClock
from scipy import sparse

load = torch.load
# RecBole 1.2.1 reads files of its own that hold more than tensors
torch.load = lambda *args, **kwargs: load(*args, **{"weights_only": False, **kwargs})  # type: ignore[assignment]


class EnoughError(Exception):
    """Enough steps were taken."""


class StoppingClock(StepClock):
    """A clock that ends the training after so many calls."""

    def __init__(self, model: Any, method: str, calls: int) -> None:
        super().__init__(model, method)
        noted = getattr(model, method)

        def stopping(*args: Any, **kwargs: Any) -> Any:
            if len(self.times) == calls:
                raise EnoughError
            return noted(*args, **kwargs)

        setattr(model, method, stopping)


def prepare_step(task: dict[str, Any]) -> Measure:
    """A training step, measured as ours is."""
    with tempfile.TemporaryDirectory() as folder:
        _write(sparse.load_npz(task["data"]).tocoo(), Path(folder))
        config, train_data = _load(folder, task)
    from recbole.model.general_recommender import MultiDAE
    from recbole.trainer import Trainer

    def measure() -> dict[str, Any]:
        model = MultiDAE(config, train_data.dataset)
        clock = StoppingClock(model, "calculate_loss", calls=task["warm_up"] + task["steps"] + 1)
        trainer = Trainer(config, model)
        try:
            for epoch in range(1_000):
                trainer._train_epoch(train_data, epoch, show_progress=False)
        except EnoughError:
            return {"value": clock.median_step(task["warm_up"]), "items": train_data.dataset.item_num}
        raise RuntimeError("the training ended before enough steps were taken")

    measure()
    return measure


def _write(matrix: Any, folder: Path) -> None:
    """Writes the interactions in RecBole's format; more users, 50 items each, see to it that no item is left out."""
    (folder / "data").mkdir()
    everything = [f"{matrix.shape[0] + item // 50}\t{item}\n" for item in range(matrix.shape[1])]
    pairs = zip(matrix.row.tolist(), matrix.col.tolist())  # noqa: B905
    with (folder / "data" / "data.inter").open("w", encoding="utf-8") as file:
        file.write("user_id:token\titem_id:token\n")
        file.writelines(f"{user}\t{item}\n" for user, item in pairs)
        file.writelines(everything)


def _load(folder: str, task: dict[str, Any]) -> tuple[Any, Any]:
    from recbole.config import Config
    from recbole.data import create_dataset, data_preparation

    settings = {
        "data_path": folder,
        "load_col": {"inter": ["user_id", "item_id"]},
        "use_gpu": False,
        "learner": "adam",
        "learning_rate": 1e-3,
        "train_batch_size": task["batch_size"],
        "train_neg_sample_args": None,
        "eval_args": {"split": {"RS": [1, 0, 0]}, "order": "RO", "group_by": "user", "mode": "full"},
        # one hidden layer between the two item tables
        "mlp_hidden_size": [],
        "latent_dimension": task["factors"],
        "dropout_prob": 0.0,
        "state": "WARNING",
        "checkpoint_dir": folder,
    }
    config = Config(model="MultiDAE", dataset="data", config_dict=settings)
    train_data, _, _ = data_preparation(config, create_dataset(config))
    return config, train_data


if __name__ == "__main__":
    serve({"step": prepare_step}, packages=("recbole", "torch", "numpy", "scipy"))
