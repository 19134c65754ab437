"""``Recoder`` as a whole: it learns, repeats itself exactly, takes users' own models, and leaves no trace elsewhere."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import sparse
from torch import Tensor, nn

from recoder.data import Interactions, RecommendationDataset, UsersInteractions
from recoder.errors import ConfigError, FileFormatError, ShapeError
from recoder.metrics import NDCG, EvaluationResult, Recall
from recoder.model import Recoder
from recoder.nn import DynamicAutoencoder, FactorizationModel, MatrixFactorization, Popularity
from recoder.nn.base import draw_parameters

USERS, ITEMS = 24, 15


@pytest.fixture(scope="module")
def matrix() -> sparse.csr_matrix:
    dense = (np.random.default_rng(0).random((USERS, ITEMS)) < 0.3).astype(np.float32)
    dense[:, 2] = 1
    return sparse.csr_matrix(dense)


def losses(recoder: Recoder) -> list[float]:
    return [record.loss for record in recoder.history]


# it learns: the right answer is known by construction


@pytest.mark.parametrize("negative_sampling", [False, True])
@pytest.mark.parametrize("sparse_gradients", [False, True])
@pytest.mark.parametrize(
    ("kind", "loss"),
    [("autoencoder", "logistic"), ("autoencoder", "logloss"), ("deep", "mse"), ("factorization", "logistic")],
)
def test_users_of_a_checkerboard_are_recommended_the_rest_of_their_colour(
    kind: str, loss: str, sparse_gradients: bool, negative_sampling: bool, checkerboard: sparse.csr_matrix
) -> None:
    # few factors: with many a model learns by heart who has not seen what
    model: FactorizationModel = {
        "autoencoder": lambda: DynamicAutoencoder([4], sparse=sparse_gradients, noise_prob=0.2),
        "deep": lambda: DynamicAutoencoder([8, 2], sparse=sparse_gradients, is_constrained=True),
        "factorization": lambda: MatrixFactorization(2, sparse=sparse_gradients),
    }[kind]()
    recoder = Recoder(model, optimizer_type="adam", loss=loss, seed=1)
    recoder.train(
        RecommendationDataset(checkerboard), num_epochs=12, batch_size=20, lr=0.05, negative_sampling=negative_sampling
    )
    lists = recoder.recommend(UsersInteractions(np.arange(80), checkerboard), 8)
    right = [item % 2 == user % 2 for user, items in enumerate(lists) for item in items]
    assert np.mean(right) > 0.97


def test_a_model_trained_against_a_target_recommends_the_target() -> None:
    # whoever saw item i goes on to item i + 1
    rng = np.random.default_rng(0)
    starts = rng.integers(0, ITEMS - 1, size=(200, 2))
    seen, next_ = np.zeros((200, ITEMS), np.float32), np.zeros((200, ITEMS), np.float32)
    for user, items in enumerate(starts):
        seen[user, items] = 1
        next_[user, items + 1] = 1
    recoder = Recoder(DynamicAutoencoder([12]), optimizer_type="adam", loss="logloss", seed=1)
    recoder.train(
        RecommendationDataset(sparse.csr_matrix(seen), sparse.csr_matrix(next_)),
        num_epochs=40,
        batch_size=20,
        lr=0.05,
        negative_sampling=True,
    )
    one_item_each = UsersInteractions(np.arange(ITEMS - 1), sparse.csr_matrix(np.eye(ITEMS - 1, ITEMS)))
    assert recoder.recommend(one_item_each, 1) == [[item + 1] for item in range(ITEMS - 1)]


# repeatable


def train(dataset: RecommendationDataset, seed: int | None, **kwargs: Any) -> Recoder:
    model = DynamicAutoencoder([6, 4], noise_prob=0.4, dropout_prob=0.2)
    recoder = Recoder(model, optimizer_type="adam", loss="logistic", seed=seed)
    recoder.train(dataset, **{"num_epochs": 3, "batch_size": 7, "lr": 0.01, "negative_sampling": True, **kwargs})
    return recoder


def same(one: Recoder, other: Recoder) -> bool:
    weights, others = one.model.state_dict(), other.model.state_dict()
    return losses(one) == losses(other) and all(torch.equal(weights[name], others[name]) for name in weights)


def test_a_seed_makes_a_run_repeatable_exactly(dataset: RecommendationDataset) -> None:
    first = train(dataset, seed=3)
    torch.rand(5)
    assert same(first, train(dataset, seed=3))


def test_other_seeds_give_other_runs(dataset: RecommendationDataset) -> None:
    runs = [train(dataset, seed=seed) for seed in (3, 4, 5)]
    assert len({tuple(losses(run)) for run in runs}) == 3


def test_without_a_seed_torchs_own_governs(dataset: RecommendationDataset) -> None:
    runs = []
    for torch_seed in (0, 0, 1):
        torch.manual_seed(torch_seed)
        runs.append(train(dataset, seed=None))
    assert same(runs[0], runs[1])
    assert losses(runs[0]) != losses(runs[2])
    assert runs[0].seed == runs[1].seed != runs[2].seed


def test_two_recoders_without_a_seed_differ(dataset: RecommendationDataset) -> None:
    assert losses(train(dataset, seed=None)) != losses(train(dataset, seed=None))


def test_seeds_govern_the_first_weights(dataset: RecommendationDataset) -> None:
    start = [train(dataset, seed=seed, lr=0.0, num_epochs=1).model.state_dict() for seed in (3, 3, 4)]
    for name, weight in start[0].items():
        assert torch.equal(weight, start[1][name])
        if not name.endswith("bias"):
            assert not torch.equal(weight, start[2][name])


class WithTorchsDropout(FactorizationModel):
    """Draws from torch's global generator, as users' own models do."""

    def init_model(self, num_items: int | None = None, num_users: int | None = None) -> None:
        assert num_items is not None
        self.layer = nn.Linear(num_items, num_items)

    def model_params(self) -> dict[str, Any]:
        return {}

    def load_model_params(self, model_params: dict[str, Any]) -> None:
        pass

    def forward(self, input: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        return self.layer(nn.functional.dropout(input, 0.5, self.training))


def test_a_seed_governs_a_users_own_layers_too(dataset: RecommendationDataset) -> None:
    runs = []
    for torch_seed in (0, 1):
        torch.manual_seed(torch_seed)
        recoder = Recoder(WithTorchsDropout(), seed=9)
        recoder.train(dataset, num_epochs=2, batch_size=7)
        runs.append(recoder)
    assert same(*runs)


def global_states() -> tuple[Any, ...]:
    name, keys, *rest = np.random.get_state()  # noqa: NPY002 (the one that must not be drawn from)
    return torch.get_rng_state().tolist(), name, list(keys), rest, random.getstate()


def test_every_step_of_every_epoch_draws_anew(dataset: RecommendationDataset) -> None:
    drawn: list[float] = []
    noise: list[list[float]] = []

    class Drawing(DynamicAutoencoder):
        def user_factors(self, input: Any, users: Tensor | None = None, items: Tensor | None = None) -> Tensor:
            drawn.append(float(torch.rand(())))
            noise.append(self._dropout(torch.ones(20)).tolist())
            return super().user_factors(input, users, items)

    Recoder(Drawing([4], dropout_prob=0.5), seed=1).train(dataset, num_epochs=3, batch_size=7)
    assert len(drawn) == 3 * 4
    assert len(set(drawn)) == len(drawn)
    assert len({tuple(mask) for mask in noise}) == len(noise)


@pytest.mark.parametrize(
    "make_model", [lambda: DynamicAutoencoder([4], noise_prob=0.4, dropout_prob=0.2), WithTorchsDropout]
)
@pytest.mark.parametrize("workers", [0, 2])
def test_training_leaves_every_global_generator_as_it_was(
    make_model: Callable[[], FactorizationModel],
    workers: int,
    dataset: RecommendationDataset,
    users: UsersInteractions,
    tmp_path: Path,
) -> None:
    recoder = Recoder(make_model(), seed=1)
    before = global_states()
    recoder.train(dataset, num_epochs=2, batch_size=7, num_data_workers=workers, val_dataset=dataset)
    recoder.init_from_model_file(recoder.save_state(tmp_path / "x"))
    recoder.recommend(users, 3)
    assert global_states() == before


def test_validation_does_not_change_training(dataset: RecommendationDataset, matrix: sparse.csr_matrix) -> None:
    judged = RecommendationDataset(matrix, matrix[:, ::-1])
    plain = train(dataset, seed=3)
    validated = train(dataset, seed=3, val_dataset=judged, metrics=[NDCG(3)], eval_freq=1)
    assert same(plain, validated)


# users' own models, by the documented methods alone


class Tutorial(FactorizationModel):
    """What a reader of the tutorial writes: embeddings of items, read with a dense input."""

    def __init__(self, size: int = 4, sparse: bool = False) -> None:
        super().__init__()
        self.size = size
        self.sparse = sparse

    def init_model(self, num_items: int | None = None, num_users: int | None = None) -> None:
        assert num_items is not None
        self.reads = nn.Embedding(num_items, self.size, sparse=self.sparse)
        self.scores = nn.Embedding(num_items, self.size, sparse=self.sparse)
        self.bias = nn.Parameter(torch.zeros(num_items))

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
        everything = torch.arange(self.bias.shape[0])
        read = everything if input_items is None else input_items
        scored = everything if target_items is None else target_items
        factors = torch.tanh(input @ self.reads(read))
        return factors @ self.scores(scored).T + self.bias[scored]


class Hinge(nn.Module):
    """A user's own loss, with a sum reduction."""

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return torch.relu(1 - (2 * target - 1) * input).sum()


@pytest.mark.parametrize("loss", ["mse", "logistic", "logloss", Hinge(), nn.MSELoss(reduction="sum")], ids=str)
@pytest.mark.parametrize("negative_sampling", [False, True])
@pytest.mark.parametrize("sparse_gradients", [False, True])
def test_a_users_own_model_trains_saves_loads_recommends_and_is_evaluated(
    loss: Any,
    negative_sampling: bool,
    sparse_gradients: bool,
    matrix: sparse.csr_matrix,
    users: UsersInteractions,
    tmp_path: Path,
) -> None:
    judged = RecommendationDataset(matrix, matrix[:, ::-1])
    recoder = Recoder(Tutorial(sparse=sparse_gradients), optimizer_type="adam", loss=loss, seed=1)
    assert not recoder.model.is_factorized
    recoder.train(
        RecommendationDataset(matrix),
        judged,
        num_epochs=8,
        batch_size=8,
        lr=0.02,
        negative_sampling=negative_sampling,
        metrics=[NDCG(5)],
        eval_freq=4,
    )
    assert losses(recoder)[-1] < losses(recoder)[0]
    assert all(record.val_loss is not None for record in recoder.history)
    loaded = Recoder(Tutorial(sparse=sparse_gradients), loss=loss)
    loaded.init_from_model_file(recoder.save_state(tmp_path / "own"))
    assert torch.equal(loaded.predict(users), recoder.predict(users))
    assert loaded.recommend(users, 5) == recoder.recommend(users, 5)
    results = [each.evaluate(judged, 5, [NDCG(5), Recall(3)], batch_size=10) for each in (recoder, loaded)]
    assert results[0] == results[1]
    loaded.train(RecommendationDataset(matrix), num_epochs=9, batch_size=8, negative_sampling=negative_sampling)


def test_sparse_gradients_of_a_users_own_tables_touch_only_the_rows_of_the_batch(matrix: sparse.csr_matrix) -> None:
    model = Tutorial(sparse=True)
    recoder = Recoder(model, num_items=ITEMS + 3, optimizer_type="adam", loss="logistic", seed=1)
    few = RecommendationDataset(matrix[:, :6])
    recoder.train(few, num_epochs=1, batch_size=8, lr=0.0)
    before = model.scores.weight.detach().clone()
    recoder.train(few, num_epochs=2, batch_size=8, lr=0.1, negative_sampling=True, weight_decay=0.5)
    changed = (before != model.scores.weight).any(dim=1)
    assert changed[:6].all()
    assert not changed[6:].any()


class Dense(DynamicAutoencoder):
    """The same autoencoder as a user's own ``forward``: trained from dense tensors."""

    def forward(self, *args: Any, **kwargs: Any) -> Tensor:
        return super().forward(*args, **kwargs)


@pytest.mark.parametrize("loss", ["mse", "logistic", "logloss"])
@pytest.mark.parametrize("sparse_gradients", [False, True])
@pytest.mark.parametrize("noise_prob", [0.0, 0.4])
def test_factorized_and_dense_models_learn_alike(
    loss: str, sparse_gradients: bool, noise_prob: float, dataset: RecommendationDataset, users: UsersInteractions
) -> None:
    recoders = []
    for kind in (DynamicAutoencoder, Dense):
        model = kind([6, 4], noise_prob=noise_prob, dropout_prob=noise_prob, sparse=sparse_gradients)
        recoder = Recoder(model, optimizer_type="adam", loss=loss, seed=2)
        recoder.train(
            dataset, dataset, num_epochs=5, batch_size=6, num_sampling_users=12, negative_sampling=True, lr=0.02
        )
        recoders.append(recoder)
    assert [recoder.model.is_factorized for recoder in recoders] == [True, False]
    factorized, dense = recoders
    np.testing.assert_allclose(losses(factorized), losses(dense), rtol=1e-5)
    val_losses = [[record.val_loss for record in recoder.history] for recoder in recoders]
    np.testing.assert_allclose(val_losses[0], val_losses[1], rtol=1e-5)
    torch.testing.assert_close(factorized.predict(users), dense.predict(users), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("negative_sampling", [False, True])
@pytest.mark.parametrize("loss", ["mse", "logistic", "logloss", nn.MSELoss(reduction="sum")], ids=str)
@pytest.mark.parametrize("model", [Tutorial, lambda: DynamicAutoencoder([4])], ids=["own", "autoencoder"])
def test_data_over_fewer_items_than_the_model_trains_as_if_nobody_had_the_others(
    model: Any, loss: Any, negative_sampling: bool, matrix: sparse.csr_matrix, users: UsersInteractions
) -> None:
    narrow = matrix[:, :10]
    wide = sparse.csr_matrix(sparse.hstack([narrow, sparse.csr_matrix((USERS, ITEMS - 10))]))
    recoders = []
    for data in (narrow, wide):
        recoder = Recoder(model(), num_items=ITEMS, optimizer_type="adam", loss=loss, seed=1)
        dataset = RecommendationDataset(data)
        recoder.train(dataset, dataset, num_epochs=2, batch_size=8, negative_sampling=negative_sampling)
        recoders.append(recoder)
    assert same(*recoders)
    assert recoders[0].history[-1].val_loss == recoders[1].history[-1].val_loss
    assert recoders[0].predict(users).shape == (USERS, ITEMS)


# popularity


def test_popularity_is_counted_saved_and_loaded(matrix: sparse.csr_matrix, tmp_path: Path) -> None:
    recoder = Recoder(Popularity())
    recoder.train(RecommendationDataset(matrix), model_checkpoint_prefix=tmp_path / "popularity")
    nobody = UsersInteractions([0], sparse.csr_matrix((1, ITEMS)))
    counts = matrix.getnnz(axis=0)
    expected = np.lexsort((np.arange(ITEMS), -counts)).tolist()
    assert recoder.recommend(nobody, ITEMS) == [expected]
    loaded = Recoder(Popularity())
    loaded.init_from_model_file(tmp_path / "popularity_epoch_1.model")
    assert loaded.recommend(nobody, ITEMS) == [expected]
    assert torch.equal(loaded.predict(nobody), torch.tensor(counts, dtype=torch.float32)[None])


def test_popularity_is_validated_like_any_model(matrix: sparse.csr_matrix) -> None:
    judged = RecommendationDataset(matrix, matrix[:, ::-1])
    recoder = Recoder(Popularity())
    recoder.train(RecommendationDataset(matrix), judged, metrics=[NDCG(5)], eval_freq=1)
    (record,) = recoder.history
    assert record.metrics["NDCG@5"] == pytest.approx(recoder.evaluate(judged, 5, [NDCG(5)]).mean["NDCG@5"])


def test_popularity_is_counted_anew_by_each_training(
    matrix: sparse.csr_matrix, dataset: RecommendationDataset, users: UsersInteractions
) -> None:
    recoder = Recoder(Popularity())
    recoder.train(dataset)
    before = recoder.predict(users).clone()
    recoder.train(dataset)
    assert torch.equal(recoder.predict(users), before)
    recoder.train(RecommendationDataset(matrix[:3]))
    assert torch.equal(recoder.predict(users)[0], torch.from_numpy(matrix[:3].getnnz(axis=0)).float())


# what used to be silent


class Shared(FactorizationModel):
    """Scores that are a view of a parameter: the same for every user."""

    def init_model(self, num_items: int | None = None, num_users: int | None = None) -> None:
        self.popularity = nn.Parameter(torch.linspace(0, 1, num_items or 1))

    def model_params(self) -> dict[str, Any]:
        return {}

    def forward(self, input: Any, input_users: Any = None, *others: Any, target_items: Any = None, **rest: Any) -> Any:
        scores = self.popularity if target_items is None else self.popularity[target_items]
        return scores.expand(len(input), -1)


def test_recommending_leaves_a_model_whole_whose_scores_are_a_view(
    dataset: RecommendationDataset, users: UsersInteractions
) -> None:
    recoder = Recoder(Shared())
    recoder.train(dataset, lr=0)
    before = recoder.model.popularity.detach().clone()
    assert all(recoder.recommend(users, 3))
    assert torch.equal(recoder.model.popularity, before)


def test_the_model_is_in_evaluation_mode_after_training_and_loading(
    dataset: RecommendationDataset, tmp_path: Path
) -> None:
    recoder = Recoder(DynamicAutoencoder([4], noise_prob=0.5))
    recoder.train(dataset)
    assert not any(module.training for module in recoder.model.modules())
    loaded = Recoder(DynamicAutoencoder())
    loaded.init_from_model_file(recoder.save_state(tmp_path / "m"))
    assert not any(module.training for module in loaded.model.modules())


def test_a_model_that_is_drawn_anew_is_said(dataset: RecommendationDataset, caplog: pytest.LogCaptureFixture) -> None:
    first = Recoder(DynamicAutoencoder([4]))
    first.train(dataset)
    assert "drawn anew" not in caplog.text
    Recoder(first.model).train(dataset)
    assert "drawn anew" in caplog.text


def test_histories_that_are_not_there_cannot_be_kept(
    matrix: sparse.csr_matrix, dataset: RecommendationDataset, tmp_path: Path
) -> None:
    recoder = Recoder(DynamicAutoencoder([4]))
    recoder.train(dataset)
    with pytest.raises(ConfigError, match="pass interactions="):
        recoder.save_state(tmp_path / "none", histories=True)
    kept = Recoder(DynamicAutoencoder())
    path = recoder.save_state(tmp_path / "kept", interactions=Interactions.from_matrix(matrix), histories=True)
    kept.init_from_model_file(path)
    again = Recoder(DynamicAutoencoder())
    again.init_from_model_file(kept.save_state(tmp_path / "again", histories=True))
    assert again.interactions is not None
    assert (again.interactions.matrix != matrix).nnz == 0


def test_a_factorization_keeps_only_the_ids_of_its_own_users(
    matrix: sparse.csr_matrix, dataset: RecommendationDataset, tmp_path: Path
) -> None:
    recoder = Recoder(MatrixFactorization(4))
    recoder.train(dataset)
    with pytest.raises(ShapeError, match="3 users"):
        recoder.save_state(tmp_path / "m", interactions=Interactions.from_matrix(matrix[:3]))


def test_evaluation_takes_a_data_set_over_fewer_items_than_the_model(
    matrix: sparse.csr_matrix, dataset: RecommendationDataset
) -> None:
    recoder = Recoder(DynamicAutoencoder([4]), num_items=matrix.shape[1] + 7)
    recoder.train(dataset)
    result = recoder.evaluate(RecommendationDataset(matrix, matrix), 5, [NDCG(5)])
    assert len(result.users) == int((matrix.getnnz(axis=1) > 0).sum())


# it leaves no trace elsewhere


def test_nothing_is_printed_and_no_logger_is_configured(
    matrix: sparse.csr_matrix, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    loggers = [logging.getLogger(name) for name in ("", "recoder", "recoder.model", "recoder.training")]
    before = [(list(logger.handlers), logger.level, logger.propagate, list(logger.filters)) for logger in loggers]
    judged = RecommendationDataset(matrix, matrix[:, ::-1])
    recoder = Recoder(DynamicAutoencoder([4]), seed=1)
    recoder.train(judged, judged, num_epochs=2, metrics=[NDCG(3)], eval_freq=1, model_checkpoint_prefix=tmp_path / "x")
    recoder.evaluate(judged, 3, [NDCG(3)])
    recoder.init_from_model_file(tmp_path / "x_epoch_2.model")
    after = [(list(logger.handlers), logger.level, logger.propagate, list(logger.filters)) for logger in loggers]
    assert before == after
    captured = capfd.readouterr()
    assert captured.out == ""
    assert captured.err == ""


def test_epochs_files_and_evaluations_are_logged_under_the_librarys_name(
    matrix: sparse.csr_matrix, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    judged = RecommendationDataset(matrix, matrix[:, ::-1])
    recoder = Recoder(DynamicAutoencoder([4]), seed=1)
    with caplog.at_level(logging.INFO):
        recoder.train(
            judged, judged, num_epochs=2, metrics=[NDCG(3)], eval_freq=1, model_checkpoint_prefix=tmp_path / "x"
        )
        recoder.evaluate(judged, 3, [Recall(2)])
    assert all(record.name.startswith("recoder.") for record in caplog.records)
    for said in ("epoch 1, loss", "epoch 2, loss", "val_loss", "NDCG@3", "x_epoch_2.model", "Recall@2"):
        assert said in caplog.text


def test_the_matrix_that_was_passed_is_never_changed(matrix: sparse.csr_matrix, users: UsersInteractions) -> None:
    arrays = [matrix.data, matrix.indices, matrix.indptr]
    before = [array.copy() for array in arrays]
    judged = RecommendationDataset(matrix, matrix)
    recoder = Recoder(DynamicAutoencoder([4], noise_prob=0.5), seed=1)
    recoder.train(judged, judged, num_epochs=2, negative_sampling=True, metrics=[NDCG(3)], eval_freq=1)
    scores, dense = recoder.predict(users, return_input=True)
    scores.zero_()
    dense.zero_()
    recoder.recommend(users, 4)
    assert all(np.array_equal(array, was) for array, was in zip(arrays, before, strict=True))


def test_the_input_of_a_prediction_may_be_wider_than_the_model(dataset: RecommendationDataset) -> None:
    recoder = Recoder(DynamicAutoencoder([4]), seed=1)
    recoder.train(dataset)
    users, _ = dataset[[0, 1]]
    matrix = users.interactions_matrix
    shape = (2, matrix.shape[1] + 20)
    wider = UsersInteractions(users.users, sparse.csr_matrix((matrix.data, matrix.indices, matrix.indptr), shape))
    for one, other in zip(recoder.predict(users, True), recoder.predict(wider, True), strict=True):
        assert torch.equal(one, other)


def test_repr_says_what_it_is(dataset: RecommendationDataset) -> None:
    recoder = Recoder(DynamicAutoencoder([4]))
    assert "not trained" in repr(recoder)
    recoder.train(dataset, num_epochs=2)
    assert "2 epochs" in repr(recoder)
    assert f"{ITEMS} items" in repr(recoder)


@pytest.mark.parametrize("number", [np.int64(3), np.float32(3), torch.tensor(3.0), 3])
@pytest.mark.parametrize(("loss", "name"), [("mse", "confidence"), ("logistic", "pos_weight")])
def test_parameters_of_a_loss_may_be_numbers_of_numpy_and_torch(
    dataset: RecommendationDataset, tmp_path: Path, loss: str, name: str, number: Any
) -> None:
    recoder = Recoder(DynamicAutoencoder([4]), loss=loss, loss_params={name: number}, optimizer_type="adam", seed=1)
    recoder.train(dataset)
    assert recoder.loss_params == {name: 3}
    loaded = Recoder(DynamicAutoencoder([4]))
    loaded.init_from_model_file(recoder.save_state(tmp_path / "m"))
    assert loaded.loss_params == {name: 3}


def test_a_seed_decides_the_first_weights_whatever_the_default_device() -> None:
    made = []
    for device in ("cpu", "meta"):
        model = DynamicAutoencoder([6, 4])
        torch.set_default_device(device)
        try:
            draw_parameters(model, num_items=7, num_users=None, seed=3)
        finally:
            torch.set_default_device(None)
        made.append(model.state_dict())
    for name, tensor in made[0].items():
        assert torch.equal(made[1][name], tensor), name


def test_train_returns_the_history_that_the_recoder_keeps(dataset: RecommendationDataset) -> None:
    recoder = Recoder(DynamicAutoencoder([4]))
    assert recoder.train(dataset, num_epochs=2) is recoder.history
    assert [record.epoch for record in recoder.history] == [1, 2]


def test_evaluate_returns_a_result(matrix: sparse.csr_matrix, dataset: RecommendationDataset) -> None:
    recoder = Recoder(MatrixFactorization(4))
    recoder.train(dataset)
    result = recoder.evaluate(RecommendationDataset(matrix, matrix[:, ::-1]), 4, [Recall(4)])
    assert isinstance(result, EvaluationResult)
    assert result[Recall(4)].shape == result.users.shape


@pytest.mark.parametrize("name", ["loss", "loss_params", "optimizer_type"])
def test_what_a_run_was_made_with_cannot_be_set_afterwards(name: str) -> None:
    recoder = Recoder(DynamicAutoencoder([4]), loss="mse", loss_params={"confidence": 2})
    with pytest.raises(AttributeError):
        setattr(recoder, name, "mse")
    recoder.loss_params["confidence"] = 9
    assert recoder.loss_params == {"confidence": 2}


def test_a_file_whose_ids_are_not_those_of_its_items_is_refused(
    dataset: RecommendationDataset, matrix: sparse.csr_matrix, tmp_path: Path
) -> None:
    recoder = Recoder(DynamicAutoencoder([4]))
    recoder.train(dataset)
    # what save_state would not take, written past it
    recoder.interactions = Interactions.from_matrix(matrix[:, :-2])
    path = recoder.save_state(tmp_path / "m")
    with pytest.raises(FileFormatError, match=f"{ITEMS - 2} item ids for {ITEMS} items"):
        Recoder(DynamicAutoencoder()).init_from_model_file(path)
