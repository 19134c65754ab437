"""Loading a model file into a Recoder: what wins, what is refused, and that a failed load changes nothing."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from scipy import sparse
from torch import Tensor, nn

from recoder.data import Interactions, RecommendationDataset, UsersInteractions
from recoder.errors import ConfigError, FileFormatError, RecoderError, ShapeError
from recoder.losses import MSELoss, MultinomialNLLLoss
from recoder.model import Recoder
from recoder.nn import DynamicAutoencoder, FactorizationModel, MatrixFactorization, Popularity
from recoder.training.model_file import crc32_of

USERS, ITEMS = 12, 9


@pytest.fixture(scope="module")
def dataset() -> RecommendationDataset:
    dense = np.random.default_rng(0).random((USERS, ITEMS)) < 0.4
    dense[:, 0] = True
    return RecommendationDataset(sparse.csr_matrix(dense))


def trained(dataset: RecommendationDataset, model: FactorizationModel | None = None, **kwargs: Any) -> Recoder:
    arguments: dict[str, Any] = {"optimizer_type": "adam", "seed": 1, **kwargs}
    recoder = Recoder(model or DynamicAutoencoder([4], noise_prob=0.3), **arguments)
    recoder.train(dataset, num_epochs=2, batch_size=5, lr=0.05)
    return recoder


def scores(recoder: Recoder) -> Tensor:
    return recoder.predict(UsersInteractions(np.arange(3), sparse.csr_matrix(np.eye(3, ITEMS))))


def weights(recoder: Recoder) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in recoder.model.state_dict().items()}


def rewrite(
    path: str, metadata: Callable[[dict[str, Any]], Any] | None, tensors: Callable[[dict[str, Tensor]], Any] | None
) -> str:
    """Changes a file's description and tensors in place."""
    with safe_open(path, framework="pt") as file:
        described = json.loads(file.metadata()["recoder"])
    held = load_file(path)
    if tensors is not None:
        tensors(held)
        described["crc32"] = crc32_of(held)
    if metadata is not None:
        metadata(described)
    save_file(held, path, metadata={"recoder": json.dumps(described)})
    return path


def messages(caplog: pytest.LogCaptureFixture) -> str:
    return "\n".join(record.getMessage() for record in caplog.records)


# what wins


def test_loss_optimizer_seed_and_sizes_come_from_the_file(dataset: RecommendationDataset, tmp_path: Path) -> None:
    path = trained(dataset, loss="mse", loss_params={"confidence": 2}, seed=77).save_state(tmp_path / "x")
    recoder = Recoder(DynamicAutoencoder(), loss="logistic", optimizer_type="sgd", seed=5, num_items=3, num_users=4)
    recoder.init_from_model_file(path)
    assert (recoder.loss, recoder.loss_params, recoder.optimizer_type) == ("mse", {"confidence": 2}, "adam")
    assert (recoder.seed, recoder.num_items, recoder.num_users) == (77, ITEMS, USERS)


@pytest.mark.parametrize(("ours", "theirs", "dtype"), [("fp32", "bf16", "BF16"), ("bf16", "fp32", "F32")])
def test_how_the_optimizer_keeps_its_state_comes_from_the_file(
    ours: str, theirs: str, dtype: str, dataset: RecommendationDataset, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    undisturbed = trained(dataset, optimizer_state=theirs)
    path = undisturbed.save_state(tmp_path / "x")
    with safe_open(path, framework="pt") as file:
        assert file.get_slice("optimizer/items.weight/exp_avg_sq").get_dtype() == dtype
        assert file.get_slice("optimizer/input_bias/exp_avg").get_dtype() == "F32"
    recoder = Recoder(DynamicAutoencoder(), optimizer_type="adam", optimizer_state=ours)
    with caplog.at_level(logging.INFO, "recoder"):
        recoder.init_from_model_file(path)
    assert f"optimizer_state {theirs!r} (not {ours!r})" in messages(caplog)
    assert recoder.optimizer_state == theirs
    for each in (recoder, undisturbed):
        each.train(dataset, num_epochs=3, batch_size=5, lr=0.05)
    for name, tensor in weights(undisturbed).items():
        assert torch.equal(tensor, weights(recoder)[name]), name


@pytest.mark.parametrize("said", ["int8", None, 3])
def test_a_file_with_a_state_of_no_kind_is_refused(said: Any, dataset: RecommendationDataset, tmp_path: Path) -> None:
    path = trained(dataset, optimizer_state="bf16").save_state(tmp_path / "x")
    rewrite(path, lambda described: described.update(optimizer_state=said), None)
    with pytest.raises(FileFormatError, match="unknown optimizer_state"):
        Recoder(DynamicAutoencoder()).init_from_model_file(path)


def test_a_file_whose_numbers_are_not_of_the_kind_it_tells_is_refused(
    dataset: RecommendationDataset, tmp_path: Path
) -> None:
    path = trained(dataset, optimizer_state="bf16").save_state(tmp_path / "x")
    rewrite(path, lambda described: described.pop("optimizer_state"), None)
    with pytest.raises(FileFormatError, match=r"holds torch.bfloat16, not torch.float32"):
        Recoder(DynamicAutoencoder()).init_from_model_file(path)


def test_the_loss_of_the_file_is_the_one_trained_with(dataset: RecommendationDataset, tmp_path: Path) -> None:
    path = trained(dataset, loss="mse", loss_params={"confidence": 50}).save_state(tmp_path / "x")
    recoder = Recoder(DynamicAutoencoder(), loss="logloss")
    recoder.init_from_model_file(path)
    undisturbed = trained(dataset, loss="mse", loss_params={"confidence": 50})
    recoder.train(dataset, num_epochs=3, batch_size=5, lr=0.05)
    undisturbed.train(dataset, num_epochs=3, batch_size=5, lr=0.05)
    assert recoder.history[-1].loss == undisturbed.history[-1].loss


def test_each_difference_is_logged_and_nothing_else(
    dataset: RecommendationDataset, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = trained(dataset, loss="mse", loss_params={"confidence": 2}, seed=77).save_state(tmp_path / "x")
    recoder = Recoder(DynamicAutoencoder(), loss="logistic", optimizer_type="adam", seed=77, num_items=3)
    with caplog.at_level(logging.INFO, "recoder"):
        recoder.init_from_model_file(path)
    (record,) = caplog.records
    assert record.levelno == logging.INFO
    text = record.getMessage()
    assert text.startswith(f"{path} brings: ")
    for said in ("loss 'mse' (not 'logistic')", "loss_params {'confidence': 2} (not {})", f"num_items {ITEMS} (not 3)"):
        assert said in text
    assert "optimizer_type" not in text
    assert "seed" not in text


def test_no_difference_is_not_logged(
    dataset: RecommendationDataset, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = trained(dataset).save_state(tmp_path / "x")
    with caplog.at_level(logging.INFO, "recoder"):
        Recoder(DynamicAutoencoder(), optimizer_type="adam", seed=1).init_from_model_file(path)
    assert caplog.records == []


def test_arguments_of_train_win_and_a_difference_from_the_file_is_logged(
    dataset: RecommendationDataset, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = trained(dataset).save_state(tmp_path / "x")
    recoder = Recoder(DynamicAutoencoder())
    recoder.init_from_model_file(path)
    with caplog.at_level(logging.INFO, "recoder"):
        recoder.train(dataset, num_epochs=3, batch_size=5, lr=0.25, weight_decay=0.5)
    (line,) = (record.getMessage() for record in caplog.records if "goes on with" in record.getMessage())
    assert "lr 0.25 (not 0.05)" in line
    assert "weight_decay 0.5 (not 0" in line
    assert "num_epochs 3 (not 2)" in line
    assert "batch_size" not in line
    assert recoder.history[-1].lr == 0.25


@pytest.mark.parametrize("sparse_gradients", [False, True])
def test_sparse_stays_as_constructed(sparse_gradients: bool, dataset: RecommendationDataset, tmp_path: Path) -> None:
    path = trained(dataset, DynamicAutoencoder([4], sparse=not sparse_gradients)).save_state(tmp_path / "x")
    model = DynamicAutoencoder(sparse=sparse_gradients)
    recoder = Recoder(model)
    recoder.init_from_model_file(path)
    assert model.items is not None
    assert model.sparse is model.items.sparse is model.item_sum.table.sparse is sparse_gradients
    recoder.train(dataset, num_epochs=3, batch_size=5, lr=0.05)


@pytest.mark.parametrize(
    ("made", "fresh"),
    [
        (
            DynamicAutoencoder([5, 3], "sigmoid", is_constrained=True, dropout_prob=0.2, noise_prob=0.4),
            DynamicAutoencoder(),
        ),
        (MatrixFactorization(5, "tanh", dropout_prob=0.2), MatrixFactorization(1)),
        (Popularity(), Popularity()),
    ],
    ids=lambda model: type(model).__name__,
)
def test_hyperparameters_and_scores_come_back(
    made: FactorizationModel, fresh: FactorizationModel, dataset: RecommendationDataset, tmp_path: Path
) -> None:
    before = trained(dataset, made)
    after = Recoder(fresh)
    after.init_from_model_file(before.save_state(tmp_path / "x"))
    assert fresh.model_params() == made.model_params()
    assert torch.equal(scores(after), scores(before))
    assert weights(after).keys() == weights(before).keys()


def test_history_survives_saving_and_loading(dataset: RecommendationDataset, tmp_path: Path) -> None:
    before = trained(dataset)
    after = Recoder(DynamicAutoencoder())
    after.init_from_model_file(before.save_state(tmp_path / "x"))
    assert list(after.history) == list(before.history)
    assert [record.epoch for record in after.history] == [1, 2]
    after.train(dataset, num_epochs=3, batch_size=5, lr=0.05)
    assert [record.epoch for record in after.history] == [1, 2, 3]


def test_loading_twice_is_loading_the_second(dataset: RecommendationDataset, tmp_path: Path) -> None:
    first = trained(dataset, seed=1).save_state(tmp_path / "first")
    second = trained(dataset, DynamicAutoencoder([3, 2]), seed=2)
    recoder = Recoder(DynamicAutoencoder())
    recoder.init_from_model_file(first)
    recoder.train(dataset, num_epochs=4, batch_size=5)
    recoder.init_from_model_file(second.save_state(tmp_path / "second"))
    assert torch.equal(scores(recoder), scores(second))
    assert len(recoder.history) == 2


# a loss that was a module


class Cubed(nn.Module):
    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return (input - target).abs().pow(3).sum()


def test_without_its_loss_module_a_loaded_model_predicts_but_does_not_train(
    dataset: RecommendationDataset, tmp_path: Path
) -> None:
    before = trained(dataset, loss=Cubed())
    path = before.save_state(tmp_path / "x")
    after = Recoder(DynamicAutoencoder())
    after.init_from_model_file(path)
    assert torch.equal(scores(after), scores(before))
    with pytest.raises(ConfigError, match=r"trained with a loss module.*Recoder\(model, loss=\.\.\.\)"):
        after.train(dataset, num_epochs=3, batch_size=5, lr=0.05)


def test_without_its_loss_module_a_loaded_model_grows_and_forgets(
    dataset: RecommendationDataset, tmp_path: Path
) -> None:
    path = trained(dataset, MatrixFactorization(4), loss=Cubed()).save_state(tmp_path / "x")
    after = Recoder(MatrixFactorization(4))
    after.init_from_model_file(path)
    for made in (after.without_users(np.array([0, 2])), after.extended(dataset)):
        assert made.loss is None
        with pytest.raises(ConfigError, match="trained with a loss module"):
            made.train(dataset, num_epochs=3)


def test_with_its_loss_module_a_loaded_model_goes_on_training(dataset: RecommendationDataset, tmp_path: Path) -> None:
    before = trained(dataset, loss=Cubed())
    after = Recoder(DynamicAutoencoder(), loss=Cubed())
    after.init_from_model_file(before.save_state(tmp_path / "x"))
    for recoder in (before, after):
        recoder.train(dataset, num_epochs=4, batch_size=5, lr=0.05)
    assert [record.loss for record in after.history] == [record.loss for record in before.history]


def test_a_model_saved_again_without_its_loss_module_still_asks_for_it(
    dataset: RecommendationDataset, tmp_path: Path
) -> None:
    path = trained(dataset, loss=Cubed()).save_state(tmp_path / "x")
    between = Recoder(DynamicAutoencoder())
    between.init_from_model_file(path)
    after = Recoder(DynamicAutoencoder())
    after.init_from_model_file(between.save_state(tmp_path / "again"))
    with pytest.raises(ConfigError, match="trained with a loss module"):
        after.train(dataset, num_epochs=3)


def test_a_named_loss_of_the_file_wins_over_a_module_and_that_is_logged(
    dataset: RecommendationDataset, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = trained(dataset, loss="logloss").save_state(tmp_path / "x")
    recoder = Recoder(DynamicAutoencoder(), optimizer_type="adam", seed=1, loss=Cubed())
    with caplog.at_level(logging.INFO, "recoder"):
        recoder.init_from_model_file(path)
    assert recoder.loss == "logloss"
    assert "loss 'logloss' (not Cubed())" in messages(caplog)


@pytest.mark.parametrize("loss", [MSELoss(confidence=2, reduction="sum"), MultinomialNLLLoss(reduction="sum")])
def test_the_librarys_own_losses_given_as_modules_must_be_passed_again_too(
    loss: nn.Module, dataset: RecommendationDataset, tmp_path: Path
) -> None:
    path = trained(dataset, loss=loss).save_state(tmp_path / "x")
    after = Recoder(DynamicAutoencoder())
    after.init_from_model_file(path)
    with pytest.raises(ConfigError, match="loss module"):
        after.train(dataset, num_epochs=3)


def test_loss_params_beside_a_module_are_ignored_and_need_not_be_json(
    dataset: RecommendationDataset, tmp_path: Path
) -> None:
    recoder = trained(dataset, loss=Cubed(), loss_params={"weights": torch.ones(3)})
    Recoder(DynamicAutoencoder()).init_from_model_file(recoder.save_state(tmp_path / "x"))


# users' own models


class Bilinear(FactorizationModel):
    """A user's own model in float64, with a parameter under two names and a buffer."""

    def __init__(self, size: int = 3) -> None:
        super().__init__()
        self.size = size

    def init_model(self, num_items: int | None = None, num_users: int | None = None) -> None:
        assert num_items is not None
        self.encoder = nn.Linear(num_items, self.size, bias=False)
        self.decoder = nn.Linear(num_items, self.size, bias=False)
        self.decoder.weight = self.encoder.weight
        self.register_buffer("seen", torch.zeros(num_items))
        self.double()

    def model_params(self) -> dict[str, Any]:
        return {"size": self.size}

    def load_model_params(self, model_params: dict[str, Any]) -> None:
        self.size = model_params["size"]

    def forward(
        self,
        input: Tensor,
        input_users: Tensor | None = None,
        input_items: Tensor | None = None,
        target_users: Tensor | None = None,
        target_items: Tensor | None = None,
    ) -> Tensor:
        columns = slice(None) if input_items is None else input_items
        scored = slice(None) if target_items is None else target_items
        factors = input.double() @ self.encoder.weight[:, columns].T
        return factors @ self.decoder.weight[:, scored]


def test_a_float64_model_with_tied_weights_and_buffers_survives_the_round_trip(
    dataset: RecommendationDataset, tmp_path: Path
) -> None:
    before = trained(dataset, Bilinear(4))
    after = Recoder(Bilinear())
    after.init_from_model_file(before.save_state(tmp_path / "x"))
    assert scores(after).dtype == torch.float64
    assert torch.equal(scores(after), scores(before))
    assert after.model.encoder.weight is after.model.decoder.weight  # type: ignore[union-attr]
    for recoder in (before, after):
        recoder.train(dataset, num_epochs=4, batch_size=5, lr=0.05)
    assert torch.equal(scores(after), scores(before))


@pytest.mark.parametrize("params", [None, [3], {"size": {1}}, {"size": np.float32(2)}, {3: 3}, {"f": len}], ids=str)
def test_hyperparameters_that_a_file_cannot_hold_are_an_error_when_training_starts(
    params: Any, dataset: RecommendationDataset
) -> None:
    model = Bilinear()
    model.model_params = lambda: params  # type: ignore[method-assign]
    recoder = Recoder(model)
    with pytest.raises(ConfigError, match=r"Bilinear\.model_params\(\) .*JSON values only"):
        recoder.train(dataset)
    assert len(recoder.history) == 0
    assert not hasattr(model, "encoder")


# what the file must not be


def without(name: str) -> Callable[[dict[str, Tensor]], Any]:
    return lambda tensors: tensors.pop(name)


def with_one_more(name: str) -> Callable[[dict[str, Tensor]], Any]:
    return lambda tensors: tensors.update({name: torch.zeros(2)})


def of_shape(name: str, *shape: int) -> Callable[[dict[str, Tensor]], Any]:
    return lambda tensors: tensors.update({name: torch.zeros(shape)})


WRONG_TENSORS = {
    "missing weight": (without("model/items.bias"), "items.bias"),
    "missing aliased or tied weight": (without("model/item_sum.table.weight"), "item_sum.table.weight"),
    "extra weight": (with_one_more("model/ghost.weight"), "ghost.weight"),
    "transposed weight": (of_shape("model/items.weight", 4, ITEMS), r"items.weight has shape \(4, 9\)"),
    "longer bias": (of_shape("model/items.bias", ITEMS + 1), r"items.bias has shape \(10,\), the model's \(9,\)"),
    "state of nothing": (with_one_more("optimizer/ghost/exp_avg"), "ghost"),
    "state of a buffer": (with_one_more("optimizer/items/exp_avg"), "items"),
    "state of another shape": (of_shape("optimizer/items.bias/exp_avg", 3), "items.bias"),
    "state without its step": (without("optimizer/items.bias/step"), "lacks step"),
    "state without a moment": (without("optimizer/items.bias/exp_avg_sq"), "lacks exp_avg_sq"),
}
WRONG_DESCRIPTIONS: dict[str, dict[str, Any]] = {
    "another class": {"model_class": "os.system"},
    "another catalogue": {"num_items": ITEMS + 1},
    "no catalogue": {"num_items": 0},
    "negative catalogue": {"num_items": -5},
    "impossible catalogue": {"num_items": 2**62},
    "other layers": {"model_params": {"hidden_layers": [7]}},
    "layers of text": {"model_params": {"hidden_layers": "seven"}},
    "unknown hyperparameter": {"model_params": {"hidden_layers": [4], "colour": "red"}},
    "no hyperparameters": {"model_params": {}},
    "unknown activation": {
        "model_params": {
            "hidden_layers": [4],
            "activation_type": "os.system",
            "is_constrained": False,
            "dropout_prob": 0.0,
            "noise_prob": 0.0,
        }
    },
    "unknown optimizer": {"optimizer_type": "os.system"},
    "state of another optimizer": {"optimizer_type": "rmsprop"},
    "unknown loss": {"loss": "os.system"},
    "unknown loss parameter": {"loss_params": {"temperature": 3}},
    "unknown progress": {"progress": {"epoch": 1, "hour": 3}},
    "progress of text": {"progress": {"epoch": "two"}},
    "negative progress": {"progress": {"epoch": -1}},
    "half a step": {"progress": {"epoch": 1, "step": 3.5, "num_users": 4}},
    "steps without users": {"progress": {"epoch": 1, "step": 2, "num_users": 0}},
    "no loss of the steps": {"progress": {"epoch": 1, "step": 2, "num_users": 4, "loss_sum": None}},
    "fewer than no users": {"num_users": -1},
    "a loss in words": {
        "history": [
            {"epoch": 1, "loss": "low", "lr": 0.1, "seconds": 1, "val_loss": None, "metrics": {}, "metric_errors": {}}
        ]
    },
    "history of numbers": {"history": [1, 2]},
    "history without losses": {"history": [{"epoch": 1}]},
    "history with more": {"history": [{"epoch": 1, "loss": 1.0, "lr": 1.0, "seconds": 1.0, "mood": "good"}]},
}


def wrong_file(kind: str, path: str) -> str:
    if kind in WRONG_TENSORS:
        return rewrite(path, None, WRONG_TENSORS[kind][0])
    return rewrite(path, lambda described: described.update(WRONG_DESCRIPTIONS[kind]), None)


@pytest.mark.parametrize("kind", [*WRONG_TENSORS, *WRONG_DESCRIPTIONS])
def test_a_file_that_does_not_fit_is_refused_and_changes_nothing(
    kind: str, dataset: RecommendationDataset, tmp_path: Path
) -> None:
    path = wrong_file(kind, trained(dataset, seed=2).save_state(tmp_path / "x"))
    recoder, twin = trained(dataset), trained(dataset)
    before, described = weights(recoder), repr(recoder)
    with pytest.raises(FileFormatError, match=WRONG_TENSORS.get(kind, (None, "."))[1]) as caught:
        recoder.init_from_model_file(path)
    assert path in str(caught.value)
    assert repr(recoder) == described
    assert all(torch.equal(before[name], tensor) for name, tensor in weights(recoder).items())
    assert torch.equal(scores(recoder), scores(twin))
    # and goes on as if nothing had been tried
    for each in (recoder, twin):
        each.train(dataset, num_epochs=3, batch_size=5, lr=0.05)
    assert [record.loss for record in recoder.history] == [record.loss for record in twin.history]
    assert torch.equal(scores(recoder), scores(twin))


def test_a_file_of_other_sizes_that_fails_late_leaves_the_model_its_layers(
    dataset: RecommendationDataset, tmp_path: Path
) -> None:
    other = trained(dataset, DynamicAutoencoder([6, 5, 2], "relu", is_constrained=True), seed=2)
    path = rewrite(other.save_state(tmp_path / "x"), None, without("model/items.bias"))
    recoder, twin = trained(dataset), trained(dataset)
    with pytest.raises(FileFormatError):
        recoder.init_from_model_file(path)
    assert recoder.model.model_params() == twin.model.model_params()
    assert torch.equal(scores(recoder), scores(twin))
    assert list(weights(recoder)) == list(weights(twin))


def test_a_recoder_that_failed_to_load_before_it_had_a_model_can_still_train(
    dataset: RecommendationDataset, tmp_path: Path
) -> None:
    path = wrong_file("missing weight", trained(dataset).save_state(tmp_path / "x"))
    recoder = Recoder(DynamicAutoencoder([4], noise_prob=0.3), optimizer_type="adam", seed=1)
    with pytest.raises(FileFormatError):
        recoder.init_from_model_file(path)
    with pytest.raises(RecoderError, match="neither trained nor loaded"):
        scores(recoder)
    recoder.train(dataset, num_epochs=2, batch_size=5, lr=0.05)
    assert torch.equal(scores(recoder), scores(trained(dataset)))


def test_a_model_without_init_model_says_so_rather_than_blame_the_file(
    dataset: RecommendationDataset, tmp_path: Path
) -> None:
    class Unfinished(FactorizationModel):
        def load_model_params(self, model_params: dict[str, Any]) -> None:
            pass

    path = trained(dataset).save_state(tmp_path / "x")
    rewrite(path, lambda described: described.update(model_class="Unfinished"), None)
    with pytest.raises(NotImplementedError, match="Unfinished does not implement init_model"):
        Recoder(Unfinished()).init_from_model_file(path)


# ids and titles


def interactions(num_items: int = ITEMS) -> Interactions:
    return Interactions.from_matrix(sparse.csr_matrix(np.eye(2, num_items)), [f"film {i}" for i in range(num_items)])


@pytest.mark.parametrize("histories", [False, True])
def test_ids_and_titles_come_back_and_histories_only_if_asked_for(
    histories: bool, dataset: RecommendationDataset, tmp_path: Path
) -> None:
    path = trained(dataset).save_state(tmp_path / "x", interactions=interactions(), histories=histories)
    recoder = Recoder(DynamicAutoencoder())
    recoder.init_from_model_file(path)
    assert recoder.interactions is not None
    assert recoder.interactions.title_of(3) == "film 3"
    assert recoder.interactions.matrix.nnz == (2 if histories else 0)


def test_no_ids_are_in_a_file_unless_they_were_given(dataset: RecommendationDataset, tmp_path: Path) -> None:
    path = trained(dataset).save_state(tmp_path / "x")
    assert {name.split("/")[0] for name in load_file(path)} == {"model", "optimizer"}
    recoder = Recoder(DynamicAutoencoder())
    recoder.init_from_model_file(path)
    assert recoder.interactions is None


def test_ids_of_another_catalogue_are_refused(dataset: RecommendationDataset, tmp_path: Path) -> None:
    with pytest.raises(ShapeError, match="the interactions have 4 items, the model 9"):
        trained(dataset).save_state(tmp_path / "x", interactions=interactions(4))
