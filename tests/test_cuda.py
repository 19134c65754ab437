"""The same on a CUDA device as on the CPU; skipped where there is none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import sparse
from torch import Tensor, nn

from recoder.data import RecommendationDataset, UsersInteractions
from recoder.errors import ConfigError
from recoder.metrics import NDCG, Recall
from recoder.model import Recoder
from recoder.nn import DynamicAutoencoder, FactorizationModel, MatrixFactorization, Popularity
from recoder.nn.tables import FactorTable
from recoder.training import callbacks

if not torch.cuda.is_available():
    pytest.skip("torch finds no CUDA device here", allow_module_level=True)

USERS, ITEMS = 40, 30


@pytest.fixture(scope="module")
def dataset() -> RecommendationDataset:
    rng = np.random.default_rng(0)
    dense = rng.random((USERS, ITEMS)) < 0.3
    dense[:, 0] = True
    target = rng.random((USERS, ITEMS)) < 0.2
    return RecommendationDataset(sparse.csr_matrix(dense), sparse.csr_matrix(target))


@pytest.fixture(scope="module")
def users(dataset: RecommendationDataset) -> UsersInteractions:
    return UsersInteractions(np.arange(USERS), dataset.interactions_matrix)


def model_of(kind: str, sparse_gradients: bool = False) -> FactorizationModel:
    # the input noise is a hash of user and item, the same on every device; dropout is not drawn alike
    if kind == "factorization":
        return MatrixFactorization(6, "tanh", sparse=sparse_gradients)
    tied = kind == "deep tied"
    layers = [8, 4] if tied else [6]
    return DynamicAutoencoder(layers, noise_prob=0.3, is_constrained=tied, sparse=sparse_gradients)


def trained(dataset: RecommendationDataset, model: FactorizationModel, device: str, **kwargs: Any) -> Recoder:
    made = {key: kwargs.pop(key) for key in ("optimizer_type", "optimizer_state", "loss", "precision") if key in kwargs}
    recoder = Recoder(model, device=device, seed=1, **{"optimizer_type": "adam", "loss": "logistic", **made})
    arguments = {"num_epochs": 3, "batch_size": 8, "lr": 0.02, "weight_decay": 1e-4, **kwargs}
    recoder.train(RecommendationDataset(dataset.interactions_matrix), **arguments)
    return recoder


def test_validation_is_the_same_over_several_blocks_of_users(
    dataset: RecommendationDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(callbacks, "BLOCK_SCORES", 4 * ITEMS)
    runs = {}
    for device in ("cuda", "cpu"):
        recoder = Recoder(model_of("deep"), device=device, seed=1, optimizer_type="adam", loss="logistic")
        recoder.train(RecommendationDataset(dataset.interactions_matrix), dataset, num_epochs=3, batch_size=8, lr=0.02)
        runs[device] = [record.val_loss for record in recoder.history]
    np.testing.assert_allclose(runs["cuda"], runs["cpu"], rtol=1e-4)


@pytest.mark.parametrize("sparse_gradients", [False, True])
def test_a_loss_that_is_not_fused_trains_alike(
    dataset: RecommendationDataset, users: UsersInteractions, sparse_gradients: bool
) -> None:
    gpu, cpu = (
        trained(dataset, model_of("deep", sparse_gradients), device, loss=nn.MSELoss(reduction="sum"))
        for device in ("cuda", "cpu")
    )
    assert_alike(gpu, cpu, users)


def test_a_part_of_a_table_is_made_for_a_device() -> None:
    part = torch.arange(5, device="cuda")
    here = FactorTable(10, 4, name="x", seed=0, part=part.cpu())
    assert torch.equal(FactorTable(10, 4, name="x", seed=0, part=part).weight, here.weight)


def assert_alike(gpu: Recoder, cpu: Recoder, users: UsersInteractions) -> None:
    losses = [[record.loss for record in recoder.history] for recoder in (gpu, cpu)]
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-4)
    scores = gpu.predict(users)
    assert scores.device.type == "cuda"
    torch.testing.assert_close(scores.cpu(), cpu.predict(users), atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("kind", ["autoencoder", "deep tied", "factorization"])
@pytest.mark.parametrize("sparse_gradients", [False, True])
@pytest.mark.parametrize("loss", ["mse", "logistic", "logloss"])
@pytest.mark.parametrize("negative_sampling", [False, True])
def test_training_is_that_of_the_cpu(
    kind: str,
    sparse_gradients: bool,
    loss: str,
    negative_sampling: bool,
    dataset: RecommendationDataset,
    users: UsersInteractions,
) -> None:
    recoders = [
        trained(dataset, model_of(kind, sparse_gradients), device, loss=loss, negative_sampling=negative_sampling)
        for device in ("cuda", "cpu")
    ]
    assert all(parameter.is_cuda for parameter in recoders[0].model.parameters())
    assert_alike(*recoders, users)


@pytest.mark.parametrize("loss", ["mse", "logistic", "logloss"])
def test_bfloat16_stays_close_to_float32(loss: str, dataset: RecommendationDataset) -> None:
    losses = [
        [record.loss for record in trained(dataset, model_of("deep tied"), "cuda", loss=loss, precision=p).history]
        for p in ("bf16", "fp32")
    ]
    np.testing.assert_allclose(losses[0], losses[1], rtol=2e-2)


@pytest.mark.parametrize("optimizer_type", ["sgd", "adagrad", "rmsprop", "rowwise_adagrad"])
def test_every_optimizer_steps_as_on_the_cpu(
    optimizer_type: str, dataset: RecommendationDataset, users: UsersInteractions
) -> None:
    recoders = [
        trained(dataset, model_of("autoencoder"), device, optimizer_type=optimizer_type, lr=0.01)
        for device in ("cuda", "cpu")
    ]
    assert_alike(*recoders, users)


@pytest.mark.parametrize(("saved_on", "loaded_on"), [("cuda", "cpu"), ("cpu", "cuda"), ("cuda", "cuda")])
def test_a_file_moves_between_devices(
    saved_on: str, loaded_on: str, dataset: RecommendationDataset, users: UsersInteractions, tmp_path: Path
) -> None:
    saved = trained(dataset, model_of("autoencoder", sparse_gradients=True), saved_on)
    loaded = Recoder(DynamicAutoencoder(sparse=True), device=loaded_on)
    loaded.init_from_model_file(saved.save_state(tmp_path / "x"))
    torch.testing.assert_close(loaded.predict(users).cpu(), saved.predict(users).cpu(), atol=1e-5, rtol=1e-5)
    for recoder in (saved, loaded):
        recoder.train(RecommendationDataset(dataset.interactions_matrix), num_epochs=5, batch_size=8, lr=0.02)
    np.testing.assert_allclose(loaded.history[-1].loss, saved.history[-1].loss, rtol=1e-4)


def test_recommendations_and_metrics_are_those_of_the_cpu(
    dataset: RecommendationDataset, users: UsersInteractions, tmp_path: Path
) -> None:
    gpu = trained(dataset, model_of("autoencoder"), "cuda")
    cpu = Recoder(DynamicAutoencoder())
    cpu.init_from_model_file(gpu.save_state(tmp_path / "x"))
    assert gpu.recommend(users, 5) == cpu.recommend(users, 5)
    results = [recoder.evaluate(dataset, 5, [NDCG(5), Recall(3)]) for recoder in (gpu, cpu)]
    assert results[0] == results[1]
    scores, dense = gpu.predict(users, return_input=True)
    assert scores.is_cuda
    assert torch.equal(dense.cpu(), torch.from_numpy(dataset.interactions_matrix.toarray()))


def test_use_cuda_trains_with_workers_and_validation(dataset: RecommendationDataset) -> None:
    recoder = Recoder(DynamicAutoencoder([6], dropout_prob=0.2), use_cuda=True, optimizer_type="adam", loss="logloss")
    recoder.train(dataset, dataset, num_epochs=2, batch_size=8, num_data_workers=2, metrics=[NDCG(5)], eval_freq=1)
    assert recoder.device.type == "cuda"
    assert all(record.val_loss is not None for record in recoder.history)
    assert all(0 <= record.metrics["NDCG@5"] <= 1 for record in recoder.history)


def test_training_leaves_cudas_generator_as_it_was(dataset: RecommendationDataset) -> None:
    before = torch.cuda.get_rng_state()
    trained(dataset, DynamicAutoencoder([6], dropout_prob=0.5), "cuda")
    assert torch.equal(torch.cuda.get_rng_state(), before)


def test_a_run_with_dropout_repeats_and_resumes(
    dataset: RecommendationDataset, users: UsersInteractions, tmp_path: Path
) -> None:
    def model() -> FactorizationModel:
        return DynamicAutoencoder([6], dropout_prob=0.5, noise_prob=0.3)

    undisturbed = trained(dataset, model(), "cuda", model_checkpoint_prefix=tmp_path / "x", checkpoint_freq=2)
    torch.testing.assert_close(trained(dataset, model(), "cuda").predict(users), undisturbed.predict(users))
    resumed = Recoder(DynamicAutoencoder(), device="cuda")
    resumed.init_from_model_file(tmp_path / "x_epoch_2.model")
    arguments = {"num_epochs": 3, "batch_size": 8, "lr": 0.02, "weight_decay": 1e-4}
    resumed.train(RecommendationDataset(dataset.interactions_matrix), **arguments)
    torch.testing.assert_close(resumed.predict(users), undisturbed.predict(users))


class Own(FactorizationModel):
    def init_model(self, num_items: int | None = None, num_users: int | None = None) -> None:
        assert num_items is not None
        self.encoder = nn.Linear(num_items, 4)
        self.decoder = nn.Linear(4, num_items)

    def model_params(self) -> dict[str, Any]:
        return {}

    def load_model_params(self, model_params: dict[str, Any]) -> None:
        pass

    def forward(self, input: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        return self.decoder(torch.tanh(self.encoder(input)))


def test_a_users_own_model_and_loss_run_there_too(dataset: RecommendationDataset, users: UsersInteractions) -> None:
    recoders = [trained(dataset, Own(), device, loss=nn.MSELoss(reduction="sum")) for device in ("cuda", "cpu")]
    assert_alike(*recoders, users)


def test_popularity_counts_there_too(dataset: RecommendationDataset, users: UsersInteractions) -> None:
    recoders = [trained(dataset, Popularity(), device) for device in ("cuda", "cpu")]
    assert recoders[0].recommend(users, 5) == recoders[1].recommend(users, 5)


def test_a_device_that_is_not_there_is_refused_when_the_recoder_is_made() -> None:
    number = torch.cuda.device_count()
    with pytest.raises(ConfigError, match=f"cuda:{number}"):
        Recoder(DynamicAutoencoder([2]), device=f"cuda:{number}")
