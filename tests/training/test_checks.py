from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse

from recoder.data import Interactions, RecommendationDataset, strong_generalization
from recoder.errors import ConfigError, DataError, DataTypeError, EmptyDataError, UnknownIdError
from recoder.losses import make_loss
from recoder.metrics import NDCG
from recoder.model import Recoder
from recoder.nn import DynamicAutoencoder, FactorizationModel, MatrixFactorization, Popularity
from recoder.training.checks import check_data, check_sizes, warn_of_large_values
from support import train_config as config


def matrix(num_users=3, num_items=4, value=1.0):
    return sparse.csr_matrix(np.eye(num_users, num_items, dtype=np.float32) * value)


def dataset(num_users=3, num_items=4, value=1.0, target=None):
    return RecommendationDataset(matrix(num_users, num_items, value), target)


EMPTY = sparse.csr_matrix((3, 4), dtype=np.float32)
EVALUATED = config(metrics=[NDCG(2)], eval_freq=1)
LOGISTIC, MSE = make_loss("logistic", None), make_loss("mse", None)


def test_data_in_order_passes():
    check_data(dataset(), None, config(), LOGISTIC)
    check_data(dataset(), dataset(target=matrix()), EVALUATED, LOGISTIC)
    check_data(dataset(value=5), dataset(value=7), config(), MSE)


@pytest.mark.parametrize(
    ("train", "validation", "arguments", "loss", "error", "words"),
    [
        (matrix(), None, config(), MSE, DataTypeError, "train_dataset is a csr_matrix; wrap"),
        (None, None, config(), MSE, DataTypeError, "train_dataset is a NoneType; wrap"),
        (dataset(), matrix(), config(), MSE, DataTypeError, "val_dataset is a csr_matrix; wrap"),
        (RecommendationDataset(EMPTY), None, config(), MSE, EmptyDataError, "3 users but no interactions"),
        (dataset(target=EMPTY), None, config(), MSE, EmptyDataError, "3 users but no target interactions"),
        (dataset(), None, EVALUATED, MSE, ConfigError, "there is no val_dataset"),
        (dataset(), dataset(), EVALUATED, MSE, ConfigError, "val_dataset has none"),
        (dataset(), dataset(target=EMPTY), EVALUATED, MSE, EmptyDataError, "none of the 3 users of val_dataset"),
        (dataset(value=5), None, config(), LOGISTIC, DataError, "largest of train_dataset is 5; set them"),
        (dataset(), dataset(value=7), config(), LOGISTIC, DataError, "largest of val_dataset is 7; set them"),
        (dataset(target=matrix(value=3)), None, config(), LOGISTIC, DataError, "largest of train_dataset is 3;"),
        (dataset(), dataset(value=7, target=matrix()), config(), LOGISTIC, DataError, "largest of val_dataset is 7;"),
        (dataset(), dataset(target=matrix(value=3)), config(), LOGISTIC, DataError, "largest of val_dataset is 3;"),
    ],
)
def test_data_that_cannot_work_is_an_error(train, validation, arguments, loss, error, words):
    with pytest.raises(error, match=words):
        check_data(train, validation, arguments, loss)


def test_values_that_outweigh_all_others_are_warned_of(caplog):
    warn_of_large_values(dataset(value=100), DynamicAutoencoder([2]))
    warn_of_large_values(dataset(value=3000), Popularity())
    assert not caplog.records
    warn_of_large_values(dataset(value=3000), DynamicAutoencoder([2]))
    assert "reach 3000: " in caplog.text
    assert "Interactions.binarize" in caplog.text


def test_a_loss_is_asked_about_what_is_predicted_and_not_about_the_input():
    check_data(dataset(value=5, target=matrix()), None, config(), LOGISTIC)
    check_data(dataset(value=5, target=matrix()), dataset(value=5, target=matrix()), config(), LOGISTIC)


def sizes(train, validation, model, **told):
    defaults = {"num_items": 4, "num_users": 3, "user_based": True, "item_based": True}
    check_sizes(train, validation, model, **(defaults | told))


AUTOENCODER, FACTORIZATION = DynamicAutoencoder([2]), MatrixFactorization(2)


@pytest.mark.parametrize("model", [AUTOENCODER, FACTORIZATION])
def test_data_within_the_model_passes(model):
    sizes(dataset(), dataset(), model)
    sizes(dataset(2, 3), dataset(2, 3), model)


@pytest.mark.parametrize(
    ("train", "validation", "model", "told", "words"),
    [
        (dataset(3, 5), None, AUTOENCODER, {}, "train_dataset has 5 items, the model 4: item id 4 is outside"),
        (dataset(9, 4), None, AUTOENCODER, {}, "train_dataset has 9 users, the model 3: user id 8 is outside"),
        (dataset(9, 4), None, FACTORIZATION, {"user_based": False}, "train_dataset has 9 users, the model 3"),
        (dataset(), dataset(3, 6), AUTOENCODER, {}, "val_dataset has 6 items, the model 4"),
        (dataset(), dataset(3, 6), AUTOENCODER, {"item_based": False}, "val_dataset has 6 items, the model 4"),
        (dataset(), dataset(9, 4), FACTORIZATION, {}, "val_dataset has 9 users, the model 3"),
    ],
)
def test_ids_beyond_the_model_are_errors(train, validation, model, told, words):
    with pytest.raises(UnknownIdError, match=words):
        sizes(train, validation, model, **told)


def test_an_autoencoder_takes_more_users_where_it_is_told_not_to_be_user_based():
    sizes(dataset(9, 4), None, AUTOENCODER, user_based=False)


class OwnScores(FactorizationModel):
    def forward(self, input, **others):
        return input


def test_a_model_with_its_own_scores_takes_more_items_where_it_is_told_not_to_be_item_based():
    sizes(dataset(3, 9), None, OwnScores(), item_based=False)
    with pytest.raises(UnknownIdError, match="or pass item_based=False"):
        sizes(dataset(3, 9), None, OwnScores())


def test_a_model_with_a_row_for_each_item_takes_no_more_items_whatever_it_is_told():
    with pytest.raises(UnknownIdError, match=r"item id 8 is outside it.*or make it with num_items=9$"):
        sizes(dataset(3, 9), None, AUTOENCODER, item_based=False)


def test_validation_users_of_an_autoencoder_are_others_than_those_of_training():
    sizes(dataset(), dataset(50, 4), AUTOENCODER)


def held_out_users():
    rng = np.random.default_rng(0)
    return strong_generalization(
        Interactions.from_matrix(sparse.csr_matrix((rng.random((60, 20)) < 0.4).astype(np.float32))),
        num_valid_users=8,
        num_test_users=8,
        seed=0,
    )


def test_users_who_were_held_out_are_strangers_to_a_model_that_looks_users_up():
    split = held_out_users()
    train, valid = RecommendationDataset(split.train.matrix), split.valid.dataset
    metrics = [NDCG(5)]
    with pytest.raises(UnknownIdError, match=r"users of val_dataset were held out .*fold_in=True"):
        Recoder(MatrixFactorization(4)).train(train, valid, metrics=metrics, eval_freq=1)
    recoder = Recoder(MatrixFactorization(4))
    recoder.train(train)
    with pytest.raises(UnknownIdError, match="users of eval_dataset were held out"):
        recoder.evaluate(split.test.dataset, 5, metrics)
    with pytest.raises(UnknownIdError, match="users of eval_dataset were held out"):
        recoder.evaluate(split.test.dataset.widened(20), 5, metrics)


def test_those_who_are_folded_in_or_encoded_need_not_be_known():
    split = held_out_users()
    train = RecommendationDataset(split.train.matrix)
    for model in (MatrixFactorization(4, fold_in=True), DynamicAutoencoder([4])):
        recoder = Recoder(model)
        recoder.train(train, split.valid.dataset, metrics=[NDCG(5)], eval_freq=1)
        assert len(recoder.evaluate(split.test.dataset, 5, [NDCG(5)])[NDCG(5)]) == 8
