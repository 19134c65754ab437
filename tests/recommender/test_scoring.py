from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import sparse
from torch import Tensor

from recoder.data import Interactions, RecommendationDataset, UsersInteractions
from recoder.errors import ConfigError, DivergedError, UnknownIdError
from recoder.model import Recoder
from recoder.nn import DynamicAutoencoder, FactorizationModel, MatrixFactorization, MultVAE
from recoder.nn.base import draw_parameters
from recoder.ops.search import Precision
from recoder.recommender import scoring as module
from recoder.recommender.scoring import ModelScorer

USERS, ITEMS = 700, 3000
CPU = torch.device("cpu")


class Plain(FactorizationModel):
    """Only the documented ``forward``: a user's score of an item is their value of the one before."""

    def forward(
        self,
        input: Tensor | None,
        input_users: Tensor | None = None,
        input_items: Tensor | None = None,
        target_users: Tensor | None = None,
        target_items: Tensor | None = None,
    ) -> Tensor:
        assert input is not None
        return input.roll(1, dims=1)


class Counting(MatrixFactorization):
    def __init__(self, embedding_size: int) -> None:
        super().__init__(embedding_size)
        self.calls = 0

    def item_factors(self, items: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        self.calls += 1
        return super().item_factors(items)


def model_of(kind: str) -> FactorizationModel:
    model = {"autoencoder": DynamicAutoencoder([16]), "factorization": MatrixFactorization(16), "plain": Plain()}[kind]
    if kind != "plain":
        draw_parameters(model, num_items=ITEMS, num_users=USERS, seed=0)
    return model.eval()


def scorer(model: FactorizationModel, precision: Precision = "fp32") -> ModelScorer:
    num_users = None if model.folds_in_users else USERS
    return ModelScorer(model, num_items=ITEMS, num_users=num_users, device=CPU, precision=precision)


def histories(users: int = USERS, items: int = ITEMS) -> UsersInteractions:
    rng = np.random.default_rng(0)
    matrix = sparse.random(users, items, 0.02, "csr", np.float32, rng)
    return UsersInteractions(np.arange(users), matrix)


def by_sorting(scores: Tensor, users_interactions: UsersInteractions, k: int) -> np.ndarray:
    masked = scores.numpy().copy()
    rows, cols = users_interactions.interactions_matrix.nonzero()
    masked[rows, cols] = -np.inf
    best = np.argsort(-masked, axis=1, kind="stable")[:, :k]
    return np.where(np.take_along_axis(masked, best, axis=1) > -np.inf, best, -1)


@pytest.mark.parametrize("kind", ["autoencoder", "factorization", "plain"])
@pytest.mark.parametrize("block_scores", [1, 40 * ITEMS, 1 << 24])
def test_ranked_is_the_sorted_scores_without_what_was_seen(
    kind: str, block_scores: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BLOCK_SCORES", block_scores)
    monkeypatch.setattr("recoder.ops.search._BLOCK_SCORES", block_scores)
    made, users = scorer(model_of(kind)), histories(90)
    ranked = made.ranked(users, 30)
    assert ranked.dtype == np.int64
    assert ranked.tolist() == by_sorting(made.scores(users), users, 30).tolist()


@pytest.mark.parametrize("kind", ["autoencoder", "factorization", "plain"])
def test_bf16_ranks_the_items_of_fp32(kind: str) -> None:
    model, users = model_of(kind), histories()
    single, rounded = scorer(model), scorer(model, "bf16")
    expected, ranked = single.ranked(users, 20), rounded.ranked(users, 20)
    assert np.sort(ranked, axis=1).tolist() == np.sort(expected, axis=1).tolist()
    assert torch.equal(rounded.scores(users), single.scores(users))


def test_bf16_is_for_many_users(monkeypatch: pytest.MonkeyPatch) -> None:
    rounded = []
    table = module.FactorSearch

    def spy(*args: object, precision: Precision) -> object:
        rounded.append(precision)
        return table(*args, precision=precision)

    monkeypatch.setattr(module, "FactorSearch", spy)
    made = scorer(model_of("autoencoder"), "bf16")
    made.ranked(histories(), 5)
    made.ranked(histories(3), 5)
    assert rounded == ["bf16", "fp32"]


def test_the_item_table_is_asked_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recoder.ops.search._BLOCK_SCORES", 10 * ITEMS)
    model = Counting(4)
    draw_parameters(model, num_items=ITEMS, num_users=USERS, seed=0)
    scorer(model.eval()).ranked(histories(), 5)
    assert model.calls == 1


@pytest.mark.parametrize("kind", ["autoencoder", "plain"])
def test_nobody_is_ranked_nothing(kind: str) -> None:
    nobody, _ = RecommendationDataset(histories().interactions_matrix)[[]]
    made = scorer(model_of(kind))
    assert made.ranked(nobody, 7).shape == (0, 7)
    assert made.scores(nobody).shape == (0, ITEMS)


def test_a_matrix_may_be_narrower_than_the_catalogue() -> None:
    made, users = scorer(model_of("autoencoder")), histories(20, 900)
    assert made.ranked(users, 15).tolist() == by_sorting(made.scores(users), users, 15).tolist()


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_diverged_parameters_are_an_error(precision: Precision) -> None:
    model = model_of("factorization")
    with torch.no_grad():
        next(model.parameters())[5] = float("nan")
    with pytest.raises(DivergedError, match="NaN"):
        scorer(model, precision).ranked(histories(), 5)


def test_what_cannot_be_ranked_is_an_error() -> None:
    made = scorer(model_of("factorization"))
    with pytest.raises(ConfigError, match="k is 0"):
        made.ranked(histories(), 0)
    with pytest.raises(UnknownIdError, match="item id 3099 is outside this model's 3000 items"):
        made.ranked(UsersInteractions([0], sparse.csr_matrix(([1.0], ([0], [3099])), shape=(1, 3100))), 5)
    with pytest.raises(UnknownIdError, match="user id 700 is outside this model's 700 users"):
        made.ranked(UsersInteractions([700], sparse.csr_matrix(np.eye(ITEMS)[:1])), 5)


def test_the_scores_are_the_caller_s_to_change() -> None:
    model, users = model_of("factorization"), histories(5)
    made = scorer(model)
    before = made.ranked(users, 9)
    made.scores(users).fill_(0)
    assert made.ranked(users, 9).tolist() == before.tolist()


@pytest.mark.parametrize("model", [DynamicAutoencoder([32, 16]), MultVAE([32, 16])], ids=lambda m: type(m).__name__)
def test_a_caller_s_autocast_changes_nothing(model: FactorizationModel) -> None:
    draw_parameters(model, num_items=ITEMS, num_users=None, seed=0)
    alone = scorer(model).best(histories(5), 10)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        within = scorer(model).best(histories(5), 10)
    for array, other in zip(alone, within, strict=True):
        np.testing.assert_array_equal(array, other)


def test_users_whom_a_split_held_out_are_not_taken_for_those_of_the_same_rows():
    matrix = sparse.random(60, 12, 0.4, "csr", np.float32, np.random.default_rng(0))
    train, _, test = Interactions.from_matrix(matrix).split("strong", seed=1, num_valid_users=5, num_test_users=5)
    recoder = Recoder(MatrixFactorization(3), optimizer_type="adam", loss="logistic", seed=1)
    recoder.train(RecommendationDataset(train.matrix))
    users, target = test.dataset[[0, 2]]
    for held_out in (users, target, users[1], [users, users]):
        with pytest.raises(UnknownIdError, match="these users were held out of the training"):
            recoder.recommend(held_out, 2)
    with pytest.raises(UnknownIdError, match="held out"):
        recoder.predict([users, RecommendationDataset(train.matrix)[[1]][0]])
    folding = Recoder(MatrixFactorization(3, fold_in=True), optimizer_type="adam", loss="logistic", seed=1)
    folding.train(RecommendationDataset(train.matrix), weight_decay=0.1)
    assert len(folding.recommend(users, 2)) == 2
