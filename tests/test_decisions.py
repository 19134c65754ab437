"""What the documentation left open, decided: one test for each decision about ``Recoder`` that no other file covers."""

from __future__ import annotations

import logging
import os
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import sparse
from torch import Tensor

from recoder.data import RecommendationDataset, UsersInteractions
from recoder.errors import UnknownIdError
from recoder.losses import LogisticLoss, MSELoss, MultinomialNLLLoss
from recoder.metrics import NDCG, EvaluationResult, Recall
from recoder.model import Recoder
from recoder.nn import DynamicAutoencoder, FactorizationModel, MatrixFactorization

USERS, ITEMS = 14, 9


@pytest.fixture(scope="module")
def matrix() -> sparse.csr_matrix:
    dense = (np.random.default_rng(0).random((USERS, ITEMS)) < 0.35).astype(np.float32)
    dense[:, 0] = 1
    return sparse.csr_matrix(dense)


@pytest.fixture(scope="module")
def target() -> sparse.csr_matrix:
    dense = (np.random.default_rng(1).random((USERS, ITEMS)) < 0.3).astype(np.float32)
    dense[[2, 5, 13]] = 0
    return sparse.csr_matrix(dense)


def trained(dataset: RecommendationDataset, model: FactorizationModel | None = None, **kwargs: Any) -> Recoder:
    made = {key: kwargs.pop(key) for key in ("loss", "loss_params", "user_based", "item_based") if key in kwargs}
    model = model or DynamicAutoencoder([5, 3], noise_prob=0.4, dropout_prob=0.3)
    recoder = Recoder(model, optimizer_type="adam", seed=1, **made)
    recoder.train(dataset, **{"batch_size": 4, "lr": 0.02, **kwargs})
    return recoder


def weights(recoder: Recoder) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in recoder.model.state_dict().items()}


def equal(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


# num_epochs is the total


def test_num_epochs_counts_those_of_earlier_calls(dataset: RecommendationDataset) -> None:
    recoder = trained(dataset, num_epochs=2)
    recoder.train(dataset, num_epochs=5, batch_size=4, lr=0.02)
    assert [record.epoch for record in recoder.history] == [1, 2, 3, 4, 5]
    assert equal(weights(recoder), weights(trained(dataset, num_epochs=5)))


@pytest.mark.parametrize("num_epochs", [1, 3])
def test_nothing_left_to_do_is_said_in_a_warning(
    num_epochs: int, dataset: RecommendationDataset, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    recoder = trained(dataset, num_epochs=3)
    before = weights(recoder)
    with caplog.at_level(logging.WARNING, "recoder"):
        recoder.train(dataset, num_epochs=num_epochs, model_checkpoint_prefix=tmp_path / "x")
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert f"3 epochs are done and num_epochs, which counts them all, is {num_epochs}" in record.getMessage()
    assert "pass a larger one" in record.getMessage()
    assert equal(weights(recoder), before)
    assert len(recoder.history) == 3
    assert list(tmp_path.iterdir()) == []


def test_lr_falls_to_a_tenth_after_each_milestone_has_ended(dataset: RecommendationDataset) -> None:
    recoder = trained(dataset, num_epochs=6, lr=0.1, lr_milestones=[2, 4])
    assert [record.lr for record in recoder.history] == pytest.approx([0.1, 0.1, 0.01, 0.01, 0.001, 0.001])


@pytest.mark.parametrize(("iters_per_epoch", "rows_seen"), [(2, 7), (4, 14), (6, 21)])
def test_iters_per_epoch_cuts_an_epoch_or_goes_round_again(
    iters_per_epoch: int, rows_seen: int, dataset: RecommendationDataset
) -> None:
    seen = []

    class Counting(DynamicAutoencoder):
        def user_factors(self, input: Any, users: Tensor | None = None, items: Tensor | None = None) -> Tensor:
            assert users is not None
            seen.append(users.tolist())
            return super().user_factors(input, users, items)

    trained(dataset, Counting([3]), iters_per_epoch=iters_per_epoch, num_epochs=2)
    assert len(seen) == 2 * iters_per_epoch
    first, second = ([*chain.from_iterable(half)] for half in (seen[:iters_per_epoch], seen[iters_per_epoch:]))
    assert len(first) == rows_seen
    assert sorted(set(first[:USERS])) == sorted(first[:USERS])  # nobody twice before everybody once
    assert first[USERS:] == first[: max(0, rows_seen - USERS)]  # the epoch's own order again
    assert first != second


# checkpoints


@pytest.mark.parametrize(("freq", "epochs"), [(0, [5]), (1, [1, 2, 3, 4, 5]), (2, [2, 4, 5]), (5, [5]), (9, [5])])
def test_files_come_every_so_many_epochs_and_after_the_last(
    freq: int, epochs: list[int], dataset: RecommendationDataset, tmp_path: Path
) -> None:
    prefix = tmp_path / "a" / "new" / "folder" / "model_"
    trained(dataset, num_epochs=5, model_checkpoint_prefix=str(prefix), checkpoint_freq=freq)
    assert sorted(path.name for path in prefix.parent.iterdir()) == [f"model__epoch_{n}.model" for n in epochs]


def test_save_state_returns_the_path_and_makes_folders(
    dataset: RecommendationDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recoder = trained(dataset, num_epochs=3)
    path = recoder.save_state(f"{tmp_path}/new/folder/model_")
    assert path == f"{tmp_path}/new/folder/model__epoch_3.model"
    assert isinstance(path, str)
    assert os.path.getsize(path) > 0  # noqa: PTH202 (a str, as users have it)
    monkeypatch.chdir(tmp_path)
    assert recoder.save_state("here") == "here_epoch_3.model"
    assert recoder.save_state(Path("here")) == "here_epoch_3.model"


# predict


@pytest.mark.parametrize("model", [DynamicAutoencoder([3], noise_prob=0.5), MatrixFactorization(3, dropout_prob=0.5)])
def test_predict_gives_the_scores_alone_without_graph_noise_or_a_change_of_mode(
    model: FactorizationModel, dataset: RecommendationDataset, users: UsersInteractions
) -> None:
    recoder = trained(dataset, model)
    recoder.model.train()
    scores = recoder.predict(users)
    assert isinstance(scores, Tensor)
    assert scores.shape == (USERS, ITEMS)
    assert scores.dtype == torch.float32
    assert not scores.requires_grad
    assert torch.equal(scores, recoder.predict(users))
    assert all(module.training for module in recoder.model.modules())
    recoder.model.eval()
    recoder.predict(users)
    assert not any(module.training for module in recoder.model.modules())


def test_scores_are_the_callers_to_change(dataset: RecommendationDataset, users: UsersInteractions) -> None:
    recoder = trained(dataset)
    scores = recoder.predict(users)
    before = scores.clone()
    scores[torch.from_numpy(users.interactions_matrix.toarray()) > 0] = float("-inf")
    assert scores.isinf().any()
    assert torch.equal(recoder.predict(users), before)


def test_predict_with_return_input_gives_the_dense_input_too(
    dataset: RecommendationDataset, users: UsersInteractions, matrix: sparse.csr_matrix
) -> None:
    recoder = trained(dataset)
    scores, dense = recoder.predict(users, return_input=True)
    assert torch.equal(scores, recoder.predict(users))
    assert torch.equal(dense, torch.from_numpy(matrix.toarray()))
    narrow = UsersInteractions(users.users, matrix[:, :4])
    scores, dense = recoder.predict(narrow, True)
    assert scores.shape == dense.shape == (USERS, ITEMS)
    assert torch.equal(dense[:, :4], torch.from_numpy(matrix.toarray()[:, :4]))
    assert not dense[:, 4:].any()


def test_predict_is_forward_in_evaluation_mode(dataset: RecommendationDataset, users: UsersInteractions) -> None:
    for model in (DynamicAutoencoder([5, 3], noise_prob=0.4), MatrixFactorization(3, "tanh", dropout_prob=0.3)):
        recoder = trained(dataset, model)
        dense = torch.from_numpy(users.interactions_matrix.toarray())
        model.eval()
        expected = model(dense, input_users=torch.from_numpy(users.users))
        torch.testing.assert_close(recoder.predict(users), expected.detach())


def test_a_list_of_users_is_scored_as_one(dataset: RecommendationDataset, users: UsersInteractions) -> None:
    recoder = trained(dataset, MatrixFactorization(3))
    parts = [dataset[:5][0], dataset[5:6][0], dataset[6:][0]]
    assert torch.equal(recoder.predict(parts), recoder.predict(users))
    assert recoder.recommend(parts, 3) == recoder.recommend(users, 3)


def test_scores_of_one_user_do_not_depend_on_the_others(
    dataset: RecommendationDataset, users: UsersInteractions
) -> None:
    recoder = trained(dataset)
    together = recoder.predict(users)
    for user in range(USERS):
        torch.testing.assert_close(recoder.predict(dataset[user][0])[0], together[user])


# users without items


def test_a_user_without_items_is_scored_by_the_autoencoders_biases(dataset: RecommendationDataset) -> None:
    model = DynamicAutoencoder([5, 3], "sigmoid")
    recoder = trained(dataset, model, num_epochs=2)
    nobody = UsersInteractions([0], sparse.csr_matrix((1, ITEMS)))
    first, second = torch.sigmoid(model.input_bias), model.encoder[0]
    hidden = torch.sigmoid(model.decoder[0](torch.sigmoid(second(first))))
    assert model.items is not None
    expected = hidden @ model.items.weight.T + model.items.bias
    torch.testing.assert_close(recoder.predict(nobody)[0], expected.detach())


def test_without_biases_below_the_output_a_user_without_items_gets_the_item_biases(
    dataset: RecommendationDataset,
) -> None:
    model = DynamicAutoencoder([5], "tanh")
    recoder = trained(dataset, model, num_epochs=2)
    with torch.no_grad():
        model.input_bias.zero_()
    assert model.items is not None
    scores = recoder.predict(UsersInteractions([0], sparse.csr_matrix((1, ITEMS))))
    assert torch.equal(scores[0], model.items.bias)


def test_users_without_items_may_be_trained_on(matrix: sparse.csr_matrix) -> None:
    dense = matrix.toarray()
    dense[[0, 3, 4, 5, 6]] = 0
    for sampled in (False, True):
        for loss in ("mse", "logistic", "logloss"):
            dataset = RecommendationDataset(sparse.csr_matrix(dense))
            recoder = trained(dataset, num_epochs=3, negative_sampling=sampled, loss=loss, batch_size=2)
            assert all(np.isfinite(record.loss) for record in recoder.history)


# recommend


class Table(FactorizationModel):
    """Scores each item by a fixed number, for everyone."""

    def __init__(self, scores: list[float]) -> None:
        super().__init__()
        self.fixed = scores

    def init_model(self, num_items: int | None = None, num_users: int | None = None) -> None:
        self.register_buffer("scores", torch.tensor(self.fixed))

    def model_params(self) -> dict[str, Any]:
        return {}

    def load_model_params(self, model_params: dict[str, Any]) -> None:
        pass

    def solve(self, interactions: sparse.csr_matrix) -> None:
        pass

    def forward(self, input: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        return self.scores.repeat(len(input), 1)


@pytest.mark.parametrize(
    ("scores", "seen", "k", "expected"),
    [
        ([3, 1, 2, 0], [], 4, [0, 2, 1, 3]),
        ([3, 1, 2, 0], [0, 1], 4, [2, 3]),
        ([3, 1, 2, 0], [0, 1, 2, 3], 2, []),
        ([1, 1, 1, 1], [], 3, [0, 1, 2]),
        ([1, 1, 1, 1], [1], 9, [0, 2, 3]),
        ([0, 5, 0, 5], [], 3, [1, 3, 0]),
        ([-1, -5, -1, -2], [], 2, [0, 2]),
    ],
)
def test_recommend_leaves_out_what_was_seen_breaks_ties_by_id_and_shortens_lists(
    scores: list[float], seen: list[int], k: int, expected: list[int]
) -> None:
    history = np.zeros((1, 4))
    history[0, seen] = 0.5
    recoder = Recoder(Table([float(score) for score in scores]))
    recoder.train(RecommendationDataset(sparse.csr_matrix(np.eye(2, 4))))
    histories = UsersInteractions([0], sparse.csr_matrix(history))
    assert recoder.recommend(histories, k) == [expected]
    assert recoder.ranked(histories, k).tolist() == [expected + [-1] * (min(k, 4) - len(expected))]


def test_recommend_gives_lists_of_plain_ints(dataset: RecommendationDataset, users: UsersInteractions) -> None:
    lists = trained(dataset).recommend(users, 3)
    assert all(type(items) is list for items in lists)
    assert all(type(item) is int for items in lists for item in items)


def test_recommend_follows_the_scores_of_predict(dataset: RecommendationDataset, users: UsersInteractions) -> None:
    recoder = trained(dataset, num_epochs=3)
    scores = recoder.predict(users).masked_fill(torch.from_numpy(users.interactions_matrix.toarray()) > 0, -torch.inf)
    for row, items in zip(scores, recoder.recommend(users, 4), strict=True):
        assert items == row.argsort(descending=True)[: len(items)].tolist()


# evaluate


def test_evaluate_gives_a_value_for_each_user_with_a_target_in_their_order(
    dataset: RecommendationDataset, matrix: sparse.csr_matrix, target: sparse.csr_matrix, users: UsersInteractions
) -> None:
    recoder = trained(dataset, num_epochs=2)
    result = recoder.evaluate(RecommendationDataset(matrix, target), 4, [Recall(3), NDCG(4)], batch_size=5)
    assert isinstance(result, EvaluationResult)
    assert result.users.tolist() == [user for user in range(USERS) if user not in (2, 5, 13)]
    lists = recoder.recommend(users, 4)
    for metric in (Recall(3), NDCG(4)):
        by_hand = [metric.evaluate(lists[user], target[user].indices.tolist()) for user in result.users]
        np.testing.assert_allclose(result[metric], by_hand)
        assert result.mean[metric] == pytest.approx(np.mean(by_hand))


def test_evaluate_does_not_depend_on_the_batch_size_and_changes_nothing(
    dataset: RecommendationDataset, matrix: sparse.csr_matrix, target: sparse.csr_matrix
) -> None:
    recoder = trained(dataset, num_epochs=2)
    before = weights(recoder)
    judged = RecommendationDataset(matrix, target)
    recoder.model.train()
    recoder.model.decoder.eval()
    modes = [module.training for module in recoder.model.modules()]
    results = [recoder.evaluate(judged, 4, [NDCG(4)], batch_size=size) for size in (1, 3, 100)]
    assert results[0] == results[1] == results[2]
    assert [module.training for module in recoder.model.modules()] == modes
    assert equal(weights(recoder), before)


def test_evaluate_on_some_users_takes_the_first_that_count(
    dataset: RecommendationDataset, matrix: sparse.csr_matrix, target: sparse.csr_matrix
) -> None:
    recoder = trained(dataset)
    judged = RecommendationDataset(matrix, target)
    some, all_ = (recoder.evaluate(judged, 4, [NDCG(4)], num_users=n) for n in (5, None))
    assert some.users.tolist() == [0, 1, 3, 4, 6]
    np.testing.assert_array_equal(some[NDCG(4)], all_[NDCG(4)][:5])
    assert recoder.evaluate(judged, 4, [NDCG(4)], num_users=1000) == all_


def test_evaluate_logs_what_it_found(
    dataset: RecommendationDataset,
    matrix: sparse.csr_matrix,
    target: sparse.csr_matrix,
    caplog: pytest.LogCaptureFixture,
) -> None:
    recoder = trained(dataset)
    with caplog.at_level(logging.INFO, "recoder"):
        result = recoder.evaluate(RecommendationDataset(matrix, target), 4, [NDCG(4)])
    (record,) = caplog.records
    assert "NDCG@4" in record.getMessage()
    assert f"{result.mean['NDCG@4']:.4f}" in record.getMessage()


# losses


LOSSES = {
    "mse": MSELoss(confidence=2, reduction="sum"),
    "logistic": LogisticLoss(reduction="sum"),
    "logloss": MultinomialNLLLoss(reduction="sum"),
}


def params_of(loss: str) -> dict[str, float]:
    return {"confidence": 2} if loss == "mse" else {}


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("with_target", [False, True])
@pytest.mark.parametrize("negative_sampling", [False, True])
def test_validation_loss_is_that_of_the_whole_catalogue_per_user_without_noise(
    loss: str,
    with_target: bool,
    negative_sampling: bool,
    dataset: RecommendationDataset,
    matrix: sparse.csr_matrix,
    target: sparse.csr_matrix,
    users: UsersInteractions,
) -> None:
    validation = RecommendationDataset(matrix, target if with_target else None)
    recoder = trained(
        dataset,
        val_dataset=validation,
        num_epochs=2,
        loss=loss,
        loss_params=params_of(loss),
        negative_sampling=negative_sampling,
    )
    # what is given of a user counts as wanted, as it does in training
    truth = torch.from_numpy((matrix.maximum(target) if with_target else matrix).toarray())
    by_hand = LOSSES[loss](recoder.predict(users), truth) / USERS
    assert recoder.history[-1].val_loss == pytest.approx(float(by_hand), rel=1e-5)


def test_validation_loss_compares_across_settings_of_training(
    dataset: RecommendationDataset, matrix: sparse.csr_matrix
) -> None:
    # lr 0: the same model, whatever is sampled
    settings: list[dict[str, Any]] = [
        {},
        {"negative_sampling": True},
        {"negative_sampling": True, "num_sampling_users": 8},
        {"batch_size": 2},
    ]
    recorded = [trained(dataset, val_dataset=dataset, lr=0.0, **setting).history[-1] for setting in settings]
    assert len({record.val_loss for record in recorded}) == 1
    assert len({round(record.loss, 4) for record in recorded}) > 1


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("batch_size", [3, USERS])
def test_training_loss_of_an_epoch_is_the_sum_over_entries_per_user(
    loss: str, batch_size: int, dataset: RecommendationDataset, matrix: sparse.csr_matrix, users: UsersInteractions
) -> None:
    recoder = trained(
        dataset, DynamicAutoencoder([4]), loss=loss, loss_params=params_of(loss), lr=0.0, batch_size=batch_size
    )
    by_hand = LOSSES[loss](recoder.predict(users), torch.from_numpy(matrix.toarray())) / USERS
    assert recoder.history[0].loss == pytest.approx(float(by_hand), rel=1e-5)


def test_penalty_is_added_once_per_user(dataset: RecommendationDataset) -> None:
    class Penalised(DynamicAutoencoder):
        def penalty(self) -> Tensor:
            return torch.tensor(2.5)

    plain, penalised = (trained(dataset, kind([4]), lr=0.0) for kind in (DynamicAutoencoder, Penalised))
    assert penalised.history[0].loss == pytest.approx(plain.history[0].loss + 2.5)


# user_based and item_based


def larger(users: int = USERS, items: int = ITEMS) -> RecommendationDataset:
    return RecommendationDataset(sparse.csr_matrix(np.ones((users, items))))


def test_more_users_or_items_than_before_are_an_error_unless_the_model_is_said_not_to_mind(
    dataset: RecommendationDataset,
) -> None:
    strict = trained(dataset)
    with pytest.raises(UnknownIdError, match="20 users, the model 14"):
        strict.train(larger(users=20), num_epochs=2)
    with pytest.raises(UnknownIdError, match="12 items, the model 9"):
        strict.train(larger(items=12), num_epochs=2)
    assert len(strict.history) == 1
    relaxed = trained(dataset, user_based=False)
    relaxed.train(larger(users=20), num_epochs=2, batch_size=4)
    assert len(relaxed.history) == 2


def test_fewer_users_and_items_than_before_are_fine(dataset: RecommendationDataset) -> None:
    for model in (DynamicAutoencoder([3]), MatrixFactorization(3)):
        recoder = trained(dataset, model)
        recoder.train(larger(users=5, items=4), num_epochs=2, batch_size=4)
        assert (recoder.num_users, recoder.num_items) == (USERS, ITEMS)


def test_sizes_that_were_given_win_over_those_of_the_data(dataset: RecommendationDataset) -> None:
    recoder = Recoder(MatrixFactorization(3), num_items=50, num_users=60, seed=1)
    recoder.train(dataset, batch_size=4)
    somebody = UsersInteractions([59], sparse.csr_matrix((1, ITEMS)))
    assert recoder.predict(somebody).shape == (1, 50)


def test_an_autoencoder_folds_new_users_in_whatever_their_number(dataset: RecommendationDataset) -> None:
    recoder = trained(dataset)
    somebody = UsersInteractions([10**12], sparse.csr_matrix(np.eye(1, ITEMS)))
    known = UsersInteractions([0], sparse.csr_matrix(np.eye(1, ITEMS)))
    assert torch.equal(recoder.predict(somebody), recoder.predict(known))


# values of interactions


def test_an_autoencoder_reads_the_direction_of_a_row_not_its_length(
    dataset: RecommendationDataset, matrix: sparse.csr_matrix, users: UsersInteractions
) -> None:
    recoder = trained(dataset)
    scaled = UsersInteractions(users.users, matrix * 8)
    torch.testing.assert_close(recoder.predict(scaled), recoder.predict(users))


def test_negative_sampling_scores_only_the_items_of_the_super_batch(matrix: sparse.csr_matrix) -> None:
    scored: list[Any] = []

    class Watching(DynamicAutoencoder):
        def item_factors(self, items: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
            scored.append(items)
            weight, bias = super().item_factors(items)
            # computed, so that they are asked for at each step; parameters themselves are looked at once
            return weight * 1, bias

    dataset = RecommendationDataset(matrix)
    trained(dataset, Watching([3]), num_epochs=1)
    assert scored.pop(0) is None
    assert scored == [None] * 4
    scored.clear()
    trained(dataset, Watching([3]), num_epochs=1, negative_sampling=True, num_sampling_users=8)
    assert scored.pop(0) is None
    assert len(scored) == 4
    # two batches of each super-batch have the same candidates
    assert torch.equal(scored[0], scored[1])
    assert torch.equal(scored[2], scored[3])
    assert all(torch.equal(items, items.unique()) for items in scored)
