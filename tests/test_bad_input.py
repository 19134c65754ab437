"""Bad input: each row either raises early, by an error that names the value, the limit and the next step, or works."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from scipy import sparse
from torch import Tensor, nn

from recoder.data import (
    BatchCollator,
    Interactions,
    RecommendationDataLoader,
    RecommendationDataset,
    UsersInteractions,
    random_holdout,
    strong_generalization,
)
from recoder.errors import (
    ConfigError,
    DataError,
    DataTypeError,
    DivergedError,
    EmptyDataError,
    FileFormatError,
    FileWriteError,
    NotInitializedError,
    RecoderError,
    ShapeError,
    UnknownIdError,
)
from recoder.losses import MSELoss, MultinomialNLLLoss, make_loss
from recoder.metrics import NDCG, Metric, Recall, RecommenderEvaluator
from recoder.model import Recoder
from recoder.nn import DynamicAutoencoder, FactorizationModel, MatrixFactorization, Popularity
from recoder.ops.normalize import normalize
from recoder.recommender import InferenceRecommender

U, N = 6, 5
DENSE = np.array(
    [
        [1, 1, 0, 0, 0],
        [0, 1, 1, 0, 0],
        [0, 0, 1, 1, 0],
        [0, 0, 0, 1, 1],
        [1, 0, 0, 0, 1],
        [1, 0, 1, 0, 0],
    ],
    dtype=np.float32,
)
NO_CUDA = pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device here")


def csr(dense: Any = DENSE) -> sparse.csr_matrix:
    return sparse.csr_matrix(np.asarray(dense))


def holding(value: float, dtype: Any = np.float64) -> sparse.csr_matrix:
    """Returns the matrix with one value replaced."""
    matrix = csr().astype(dtype)
    matrix.data[3] = value
    return matrix


def data(matrix: Any = None, target: Any = None) -> RecommendationDataset:
    return RecommendationDataset(csr() if matrix is None else matrix, target)


def judged(matrix: Any = None) -> RecommendationDataset:
    matrix = csr() if matrix is None else matrix
    return RecommendationDataset(matrix, sparse.csr_matrix(matrix.toarray()[:, ::-1]))


def users(matrix: Any = None, ids: Any = None) -> UsersInteractions:
    matrix = csr() if matrix is None else matrix
    return UsersInteractions(np.arange(matrix.shape[0]) if ids is None else ids, matrix)


def train(model: FactorizationModel | None = None, dataset: Any = None, /, **kwargs: Any) -> Recoder:
    """Trains a new model; keywords that are not of ``train`` go to the constructor."""
    made = {key: kwargs.pop(key) for key in list(kwargs) if key in CONSTRUCTOR}
    recoder = Recoder(model or DynamicAutoencoder([3]), **{"optimizer_type": "adam", "seed": 1, **made})
    recoder.train(data() if dataset is None else dataset, **{"batch_size": 3, **kwargs})
    return recoder


CONSTRUCTOR = ("optimizer_type", "loss", "loss_params", "num_items", "num_users", "user_based", "item_based")


@functools.cache
def autoencoder() -> Recoder:
    return train()


@functools.cache
def factorization() -> Recoder:
    return train(MatrixFactorization(3))


# broken matrices that scipy lets pass


def with_item_beyond() -> sparse.csr_matrix:
    matrix = csr()
    matrix.indices[0] = 9
    return matrix


def with_negative_user() -> sparse.coo_matrix:
    matrix = csr().tocoo()
    matrix.row[0] = -1
    return matrix


def with_broken_pointer() -> sparse.csr_matrix:
    matrix = csr()
    matrix.indptr[2] = 1
    matrix.indptr[1] = 4
    return matrix


# users' own models and losses


class Own(FactorizationModel):
    """Does all that is documented; what forward gives is another matter."""

    def __init__(self, forward: Callable[[Tensor, Tensor], Any] | None = None, **embedding: Any) -> None:
        super().__init__()
        self.output = forward or torch.matmul
        self.embedding = embedding

    def init_model(self, num_items: int | None = None, num_users: int | None = None) -> None:
        self.table = nn.Embedding(num_items or 0, num_items or 0, **self.embedding)

    def model_params(self) -> dict[str, Any]:
        return {}

    def load_model_params(self, model_params: dict[str, Any]) -> None:
        pass

    def forward(self, input: Tensor, *args: Any, **kwargs: Any) -> Any:
        return self.output(input, self.table(torch.arange(input.shape[1])))


class Nothing(Own):
    def init_model(self, num_items: int | None = None, num_users: int | None = None) -> None:
        pass


class OneNumberEach(nn.Module):
    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return (input - target).square().sum(dim=1)


class FirstHit(Metric):
    def __init__(self) -> None:
        super().__init__("first hit")

    def evaluate(self, x: Any, y: Any) -> float:
        return float(x[0] in y)


class Row(NamedTuple):
    """A call, the error that it must raise, and what the message must hold."""

    call: Callable[[], Any]
    error: type[Exception]
    fragments: tuple[str, ...]


def row(call: Callable[[], Any], error: type[Exception], *fragments: str) -> Row:
    return Row(call, error, fragments)


VALIDATED: dict[str, Any] = {"val_dataset": judged(), "eval_freq": 1}

ROWS = {
    # matrices
    "no users": row(lambda: data(csr(np.zeros((0, 5)))), ShapeError, "empty: 0 users by 5 items", "at least one"),
    "no items": row(lambda: data(csr(np.zeros((5, 0)))), ShapeError, "empty: 5 users by 0 items", "at least one"),
    "NaN": row(lambda: data(holding(np.nan)), DataError, "1 values that are NaN or infinite", "nan", "drop these"),
    "infinite": row(lambda: data(holding(np.inf)), DataError, "NaN or infinite", "inf", "drop these"),
    "too large for float32": row(lambda: data(holding(1e300)), DataError, "infinite as float32", "drop these"),
    "negative": row(lambda: data(holding(-2)), DataError, "1 negative values", "-2", "drop these", "map them to 0"),
    "negative integers": row(lambda: data(holding(-2, np.int8)), DataError, "negative values", "-2"),
    "dense array": row(lambda: data(DENSE), DataTypeError, "not ndarray", "scipy.sparse.csr_matrix(...)"),
    "list of lists": row(lambda: data(DENSE.tolist()), DataTypeError, "not list", "scipy.sparse.csr_matrix(...)"),
    "tensor": row(lambda: data(torch.eye(3)), DataTypeError, "scipy sparse matrix of users by items", "not Tensor"),
    "path": row(lambda: data("train.npz"), DataTypeError, "scipy sparse matrix of users by items", "not str"),
    "complex numbers": row(lambda: data(csr(DENSE * 1j)), DataTypeError, "complex", "real numbers"),
    "item id beyond the columns": row(
        lambda: data(with_item_beyond()), DataError, "item id 9", "5 items (0 to 4)", "rebuild"
    ),
    "negative user id in a matrix": row(
        lambda: data(with_negative_user()), DataError, "user id -1", "6 users (0 to 5)", "rebuild"
    ),
    "broken index pointer": row(lambda: data(with_broken_pointer()), DataError, "not a valid CSR matrix", "rebuild"),
    "one dimension": row(
        lambda: data(sparse.coo_array(np.ones(3))), ShapeError, "two dimensions, users by items, not 1"
    ),
    "target of another shape": row(
        lambda: data(csr(), csr(DENSE[:, :4])),
        ShapeError, "target_interactions_matrix", "(6, 4)", "(6, 5)", "same users",
    ),
    "NaN in the target": row(lambda: data(csr(), holding(np.nan)), DataError, "target_interactions_matrix", "NaN"),
    "dense target": row(lambda: data(csr(), DENSE), DataTypeError, "target_interactions_matrix", "not ndarray"),
    # users
    "fewer users than rows": row(lambda: users(ids=[0, 1]), ShapeError, "(2,)", "6 rows", "one user for each row"),
    "one user for many rows": row(lambda: users(ids=3), ShapeError, "()", "6 rows", "one user for each row"),
    "negative user id": row(lambda: users(ids=[0, 1, 2, 3, 4, -7]), DataError, "negative id -7", "from 0"),
    "fractional user ids": row(lambda: users(ids=np.ones(6)), DataTypeError, "float64", "row numbers"),
    "users' own ids": row(lambda: users(ids=list("abcdef")), DataTypeError, "integers", "map your own ids"),
    "index beyond the data set": row(lambda: data()[6], IndexError, "index 6", "6 users"),
    "index by a name": row(lambda: data()["x"], DataTypeError, "'x'", "an int, a slice or a sequence of ints"),
    # loading
    "batch of no users": row(lambda: BatchCollator(0), ConfigError, "batch_size is 0", "at least 1"),
    "loader of empty batches": row(
        lambda: RecommendationDataLoader(data(), 0), ConfigError, "batch_size is 0", "at least 1"
    ),
    "loader with -1 workers": row(
        lambda: RecommendationDataLoader(data(), 2, num_workers=-1), ConfigError, "num_workers is -1", "at least 0"
    ),
    "loader with odd super-batches": row(
        lambda: RecommendationDataLoader(data(), 4, True, 6),
        ConfigError, "num_sampling_users is 6", "multiple of batch_size 4", "for example 4",
    ),
    # making a Recoder
    "no model": row(lambda: Recoder(nn.Linear(2, 2)), DataTypeError, "model is a Linear", "FactorizationModel"),
    "class of a model": row(lambda: Recoder(DynamicAutoencoder), DataTypeError, "model is a", "FactorizationModel"),
    "unknown optimizer": row(
        lambda: Recoder(DynamicAutoencoder([2]), optimizer_type="adamw"),
        ConfigError, "unknown optimizer_type 'adamw'", "sgd, adam, adagrad, rmsprop",
    ),
    "unknown state of the optimizer": row(
        lambda: Recoder(DynamicAutoencoder([2]), optimizer_type="adam", optimizer_state="int8"),
        ConfigError, "unknown optimizer_state 'int8'", "fp32, bf16",
    ),
    "state of another optimizer": row(
        lambda: Recoder(DynamicAutoencoder([2]), optimizer_state="bf16"),
        ConfigError, "optimizer_state='bf16'", "optimizer_type 'adam', not for 'sgd'", "leave one of them out",
    ),
    "unknown loss": row(
        lambda: Recoder(DynamicAutoencoder([2]), loss="hinge"),
        ConfigError, "unknown loss 'hinge'", "mse, logistic, logloss", "torch.nn.Module",
    ),
    "class of a loss": row(
        lambda: Recoder(DynamicAutoencoder([2]), loss=MSELoss), ConfigError, "MSELoss", "torch.nn.Module"
    ),
    "list of losses": row(lambda: Recoder(DynamicAutoencoder([2]), loss=["mse"]), ConfigError, "['mse']", "mse, log"),
    "unknown loss parameter": row(
        lambda: Recoder(DynamicAutoencoder([2]), loss="mse", loss_params={"weight": 3}),
        ConfigError, "loss 'mse' has no parameter 'weight'", "confidence",
    ),
    "parameter of a loss that takes none": row(
        lambda: Recoder(DynamicAutoencoder([2]), loss="logistic", loss_params={"confidence": 3}),
        ConfigError, "loss 'logistic' has no parameter 'confidence'", "takes pos_weight, weight",
    ),
    "negative confidence": row(
        lambda: Recoder(DynamicAutoencoder([2]), loss="mse", loss_params={"confidence": -1}),
        ConfigError, "confidence is -1", "at least 0",
    ),
    "loss that is a mean": row(
        lambda: Recoder(DynamicAutoencoder([2]), loss=nn.BCEWithLogitsLoss()),
        ConfigError, "BCEWithLogitsLoss has reduction 'mean'", "reduction='sum'",
    ),
    "the library's loss with its default reduction": row(
        lambda: Recoder(DynamicAutoencoder([2]), loss=MultinomialNLLLoss()),
        ConfigError, "reduction 'elementwise_mean'", "reduction='sum'",
    ),
    "unknown reduction": row(lambda: MSELoss(reduction="max"), ConfigError, "'max'", "elementwise_mean"),
    "catalogue of no items": row(
        lambda: Recoder(DynamicAutoencoder([2]), num_items=0), ConfigError, "num_items is 0", "at least 1"
    ),
    "catalogue of True items": row(
        lambda: Recoder(DynamicAutoencoder([2]), num_items=True), ConfigError, "num_items is True", "whole number"
    ),
    "half a user": row(
        lambda: Recoder(DynamicAutoencoder([2]), num_users=2.5), ConfigError, "num_users is 2.5", "whole number"
    ),
    "negative seed": row(lambda: Recoder(DynamicAutoencoder([2]), seed=-1), ConfigError, "seed is -1", "at least 0"),
    "fractional seed": row(lambda: Recoder(DynamicAutoencoder([2]), seed=0.5), ConfigError, "seed is 0.5", "whole"),
    "two devices": row(
        lambda: Recoder(DynamicAutoencoder([2]), use_cuda=True, device="cpu"),
        ConfigError, "use_cuda=True", "device='cpu'", "pass one of them",
    ),
    "unknown device": row(
        lambda: Recoder(DynamicAutoencoder([2]), device="gpu"), ConfigError, "device is 'gpu'", "'cuda:0'"
    ),
    # making models
    "unknown activation": row(
        lambda: DynamicAutoencoder([2], "tanhh"), ConfigError, "unknown activation 'tanhh'", "'tanh'", "'none'"
    ),
    "activation that is no function of one tensor": row(
        lambda: MatrixFactorization(2, "linear"), ConfigError, "unknown activation 'linear'", "element-wise"
    ),
    "activation that changes the shape": row(
        lambda: MatrixFactorization(2, "sum"), ConfigError, "unknown activation 'sum'", "element-wise"
    ),
    "activation that is no name": row(
        lambda: MatrixFactorization(2, torch.tanh), ConfigError, "unknown activation", "'tanh'"
    ),
    "no layers": row(lambda: DynamicAutoencoder([]), ConfigError, "hidden_layers is []", "at least one layer"),
    "layer of no units": row(lambda: DynamicAutoencoder([4, 0]), ConfigError, "[4, 0]", "at least 1 unit"),
    "layers that are a number": row(lambda: DynamicAutoencoder(200), ConfigError, "hidden_layers is 200", "[200]"),
    "layer of half a unit": row(lambda: DynamicAutoencoder([2.5]), ConfigError, "hidden_layers is [2.5]", "at least 1"),
    "layers not given": row(
        lambda: train(DynamicAutoencoder()), ConfigError, "hidden_layers is not set", "DynamicAutoencoder([200])"
    ),
    "no factors": row(lambda: MatrixFactorization(0), ConfigError, "embedding_size is 0", "at least 1"),
    "half a factor": row(lambda: MatrixFactorization(2.5), ConfigError, "embedding_size is 2.5", "whole number"),
    "noise that drops all": row(
        lambda: DynamicAutoencoder([2], noise_prob=1.0), ConfigError, "noise probability is 1.0", "[0, 1)"
    ),
    "negative dropout": row(
        lambda: DynamicAutoencoder([2], dropout_prob=-0.1), ConfigError, "dropout_prob is -0.1", "at least 0"
    ),
    "dropout that is NaN": row(
        lambda: MatrixFactorization(2, dropout_prob=float("nan")), ConfigError, "dropout_prob is nan", "at least 0"
    ),
    # arguments of train
    "negative lr": row(lambda: train(lr=-1), ConfigError, "lr is -1", "finite number of at least 0"),
    "lr that is NaN": row(lambda: train(lr=float("nan")), ConfigError, "lr is nan", "finite number"),
    "lr that is text": row(lambda: train(lr="fast"), ConfigError, "lr is 'fast'", "finite number"),
    "negative weight decay": row(lambda: train(weight_decay=-1), ConfigError, "weight_decay is -1", "at least 0"),
    "no epochs": row(lambda: train(num_epochs=0), ConfigError, "num_epochs is 0", "at least 1"),
    "True epochs": row(lambda: train(num_epochs=True), ConfigError, "num_epochs is True", "whole number"),
    "half an epoch": row(lambda: train(num_epochs=0.5), ConfigError, "num_epochs is 0.5", "whole number"),
    "epochs that are text": row(lambda: train(num_epochs="x"), ConfigError, "num_epochs is 'x'", "whole number"),
    "epochs that are None": row(lambda: train(num_epochs=None), ConfigError, "num_epochs is None", "whole number"),
    "no users in a batch": row(lambda: train(batch_size=0), ConfigError, "batch_size is 0", "at least 1"),
    "True users in a batch": row(lambda: train(batch_size=True), ConfigError, "batch_size is True", "whole number"),
    "no steps": row(lambda: train(iters_per_epoch=0), ConfigError, "iters_per_epoch is 0", "at least 1"),
    "milestone 0": row(lambda: train(lr_milestones=[3, 0]), ConfigError, "lr_milestones is 0", "at least 1"),
    "milestone that is no list": row(lambda: train(lr_milestones=3), ConfigError, "lr_milestones is 3", "list"),
    "negative workers": row(lambda: train(num_data_workers=-1), ConfigError, "num_data_workers is -1", "at least 0"),
    "odd super-batches": row(
        lambda: train(negative_sampling=True, num_sampling_users=7),
        ConfigError, "num_sampling_users is 7", "multiple of batch_size 3", "for example 6",
    ),
    "super-batches without sampling": row(
        lambda: train(num_sampling_users=6), ConfigError, "num_sampling_users is 6", "negative_sampling=True"
    ),
    "checkpoints without a path": row(
        lambda: train(checkpoint_freq=2), ConfigError, "checkpoint_freq is 2", "model_checkpoint_prefix"
    ),
    "path that is a number": row(
        lambda: train(model_checkpoint_prefix=3), ConfigError, "model_checkpoint_prefix is 3", "str or a pathlib.Path"
    ),
    "evaluation of nobody": row(
        lambda: train(eval_freq=2, metrics=[NDCG(2)]), ConfigError, "eval_freq is 2", "no val_dataset"
    ),
    "evaluation by nothing": row(
        lambda: train(eval_freq=2, val_dataset=judged()), ConfigError, "eval_freq is 2", "no metrics", "['NDCG@100']"
    ),
    "metrics that are never evaluated": row(
        lambda: train(val_dataset=judged(), metrics=[NDCG(2)]), ConfigError, "eval_freq is 0", "eval_freq=1"
    ),
    "validation without a target": row(
        lambda: train(val_dataset=data(), eval_freq=1, metrics=[NDCG(2)]),
        ConfigError, "val_dataset has none", "target_interactions_matrix",
    ),
    "metric beyond the recommendations in training": row(
        lambda: train(**VALIDATED, metrics=[NDCG(9)], eval_num_recommendations=4),
        ConfigError, "NDCG@9", "num_recommendations is 4", "at least 9",
    ),
    "metric of unknown length": row(
        lambda: train(**VALIDATED, metrics=[FirstHit()]), ConfigError, "first hit", "pass eval_num_recommendations"
    ),
    "metrics that are functions": row(
        lambda: train(**VALIDATED, metrics=[len], eval_num_recommendations=3), DataTypeError, "Metric objects", "len"
    ),
    "metrics that are no list": row(lambda: train(**VALIDATED, metrics=Recall(2)), DataTypeError, "Recall@2", "a list"),
    # data for train
    "matrix to train on": row(
        lambda: train(None, csr()), DataTypeError, "train_dataset is a csr_matrix", "RecommendationDataset"
    ),
    "users to train on": row(
        lambda: train(None, users()), DataTypeError, "train_dataset is a UsersInteractions", "RecommendationDataset"
    ),
    "nothing to train on": row(
        lambda: autoencoder().train(None), DataTypeError, "train_dataset is a NoneType", "RecommendationDataset"
    ),
    "matrix to validate on": row(
        lambda: train(val_dataset=csr()), DataTypeError, "val_dataset is a csr_matrix", "RecommendationDataset"
    ),
    "no interactions": row(
        lambda: train(None, data(csr(DENSE * 0))), EmptyDataError, "6 users but no interactions", "nothing to learn"
    ),
    "explicit zeros only": row(
        lambda: train(None, data(sparse.csr_matrix((np.zeros(2), ([0, 1], [1, 2])), shape=(3, 4)))),
        EmptyDataError, "3 users but no interactions",
    ),
    "target without interactions": row(
        lambda: train(None, data(csr(), csr(DENSE * 0))), EmptyDataError, "no target interactions", "nothing to learn"
    ),
    "ratings for the logistic loss": row(
        lambda: train(None, data(csr(DENSE * 5)), loss="logistic"),
        DataError, "in [0, 1]", "train_dataset is 5", "matrix.data[:] = 1", "loss='mse'", "confidence",
    ),
    "ratings as a target of the logistic loss": row(
        lambda: train(None, data(csr(), csr(DENSE * 5)), loss="logistic"), DataError, "train_dataset is 5", "binarize"
    ),
    "ratings to validate the logistic loss": row(
        lambda: train(val_dataset=data(csr(DENSE * 5)), loss="logistic"), DataError, "val_dataset is 5", "binarize"
    ),
    "ratings for torch's own logistic loss": row(
        lambda: train(None, data(csr(DENSE * 5)), loss=nn.BCEWithLogitsLoss(reduction="sum")),
        DataError, "train_dataset is 5", "binarize",
    ),
    "more items than the model": row(
        lambda: autoencoder().train(data(csr(np.eye(6, 8))), num_epochs=9),
        UnknownIdError, "8 items, the model 5", "item id 7", "num_items=8",
    ),
    "more users than the model": row(
        lambda: factorization().train(data(csr(np.eye(9, 5))), num_epochs=9),
        UnknownIdError, "9 users, the model 6", "user id 8", "num_users=9",
    ),
    "more users than an autoencoder that is said to be based on users": row(
        lambda: autoencoder().train(data(csr(np.eye(9, 5))), num_epochs=9),
        UnknownIdError, "9 users, the model 6", "user_based=False",
    ),
    "more users than a factorization that is said not to be based on users": row(
        lambda: train(MatrixFactorization(2), num_users=4, user_based=False), UnknownIdError, "6 users, the model 4"
    ),
    "fewer items said than there are": row(
        lambda: train(num_items=3), UnknownIdError, "5 items, the model 3", "num_items=5"
    ),
    "more items to validate": row(
        lambda: train(val_dataset=data(csr(np.eye(6, 8)))), UnknownIdError, "val_dataset has 8 items, the model 5"
    ),
    "more users to validate": row(
        lambda: train(MatrixFactorization(2), val_dataset=data(csr(np.eye(9, 5)))),
        UnknownIdError, "val_dataset has 9 users, the model 6",
    ),
    # models and losses in training
    "sparse gradients with sgd": row(
        lambda: train(DynamicAutoencoder([2], sparse=True), optimizer_type="sgd"),
        ConfigError, "sparse gradients", "'sgd'", "optimizer_type='adam'", "sparse=False",
    ),
    "sparse gradients with adagrad": row(
        lambda: train(MatrixFactorization(2, sparse=True), optimizer_type="adagrad"),
        ConfigError, "sparse gradients", "'adagrad'", "optimizer_type='adam'",
    ),
    "sparse gradients with rmsprop": row(
        lambda: train(MatrixFactorization(2, sparse=True), optimizer_type="rmsprop"),
        ConfigError, "sparse gradients", "'rmsprop'", "optimizer_type='adam'",
    ),
    "sparse gradients of a user's own table": row(
        lambda: train(Own(sparse=True), optimizer_type="sgd"),
        ConfigError, "table.weight has sparse gradients", "'adam'",
    ),
    "model without parameters": row(
        lambda: train(Nothing(lambda x, w: x)), ConfigError, "Nothing has no parameters", "init_model"
    ),
    "model without init_model": row(
        lambda: train(FactorizationModel()), NotImplementedError, "FactorizationModel does not implement"
    ),
    "scores of too few items": row(
        lambda: train(Own(lambda x, w: (x @ w)[:, 1:])),
        ShapeError, "Own.forward returned (3, 4)", "3 users and 5 target items", "(3, 5)",
    ),
    "scores that are no tensor": row(
        lambda: train(Own(lambda x, w: [x @ w])), ShapeError, "Own.forward returned list", "(3, 5)"
    ),
    "loss that is no single number": row(
        lambda: train(loss=OneNumberEach()), ConfigError, "OneNumberEach returned (3,)", "one number: a sum"
    ),
    "loss that grows without bound": row(
        lambda: train(None, data(csr(DENSE * 100)), loss="mse", optimizer_type="sgd", lr=1e6, num_epochs=50),
        DivergedError, "training loss of epoch", "learning rate 1e+06", "lower lr",
    ),
    # before there is a model
    "scores before training": row(
        lambda: Recoder(DynamicAutoencoder([2])).predict(users()),
        NotInitializedError, "DynamicAutoencoder was neither trained nor loaded", "call train or init_from_model_file",
    ),
    "recommendations before training": row(
        lambda: Recoder(MatrixFactorization(2)).recommend(users(), 3), NotInitializedError, "call train"
    ),
    "evaluation before training": row(
        lambda: Recoder(DynamicAutoencoder([2])).evaluate(judged(), 3, [NDCG(3)]), NotInitializedError, "call train"
    ),
    "saving before training": row(
        lambda: Recoder(DynamicAutoencoder([2])).save_state("x"), NotInitializedError, "call train"
    ),
    "popularity before training": row(
        lambda: Recoder(Popularity()).recommend(users(), 3), NotInitializedError, "call train"
    ),
    "forward before init_model": row(
        lambda: DynamicAutoencoder([2])(torch.ones(1, 5)), NotInitializedError, "init_model"
    ),
    # using a model
    "matrix to score": row(lambda: autoencoder().predict(csr()), DataTypeError, "csr_matrix", "UsersInteractions"),
    "matrix to recommend for": row(
        lambda: autoencoder().recommend(csr(), 2), DataTypeError, "csr_matrix", "UsersInteractions"
    ),
    "item of a data set": row(
        lambda: autoencoder().recommend(data()[:2], 2), DataTypeError, "(input, target)", "UsersInteractions"
    ),
    "nobody to score": row(lambda: autoencoder().predict([]), ShapeError, "at least one UsersInteractions"),
    "users over different catalogues": row(
        lambda: autoencoder().predict([users(), users(csr(DENSE[:, :4]))]), ShapeError, "[4, 5]", "same catalogue"
    ),
    "item beyond the autoencoder": row(
        lambda: autoencoder().predict(users(csr(np.eye(6, 8)))),
        UnknownIdError, "item id 5", "5 items", "item_id_map",
    ),
    "item beyond the factorization": row(
        lambda: factorization().recommend(users(csr(np.eye(6, 8))), 2), UnknownIdError, "item id 5", "5 items"
    ),
    "user beyond the factorization": row(
        lambda: factorization().predict(users(csr(), [0, 1, 2, 3, 4, 6])),
        UnknownIdError, "user id 6", "6 users", "autoencoder",
    ),
    "no recommendations": row(
        lambda: autoencoder().recommend(users(), 0), ConfigError, "num_recommendations is 0", "at least 1"
    ),
    "negative recommendations": row(
        lambda: InferenceRecommender(autoencoder(), -3), ConfigError, "num_recommendations is -3", "at least 1"
    ),
    "half a recommendation": row(
        lambda: autoencoder().recommend(users(), 2.5), ConfigError, "num_recommendations is 2.5", "whole number"
    ),
    # evaluation
    "evaluation without a target": row(
        lambda: autoencoder().evaluate(data(), 3, [NDCG(3)]), ConfigError, "no target", "target_interactions_matrix"
    ),
    "evaluation of a matrix": row(
        lambda: autoencoder().evaluate(csr(), 3, [NDCG(3)]), DataTypeError, "csr_matrix", "RecommendationDataset"
    ),
    "metric beyond the recommendations": row(
        lambda: autoencoder().evaluate(judged(), 3, [Recall(4)]),
        ConfigError, "Recall@4", "num_recommendations is 3", "at least 4",
    ),
    "no metrics": row(lambda: autoencoder().evaluate(judged(), 3, []), ConfigError, "metrics is empty", "NDCG(k=100)"),
    "metric that is a name": row(
        lambda: autoencoder().evaluate(judged(), 3, ["NDCG"]), ConfigError, "'NDCG'", "NDCG@100"
    ),
    "metric of nothing": row(lambda: Recall(0), ConfigError, "k is 0", "at least 1"),
    "metric of half a rank": row(lambda: Recall(2.5), DataTypeError, "k is 2.5", "integer"),
    "evaluation in batches of none": row(
        lambda: autoencoder().evaluate(judged(), 3, [NDCG(3)], batch_size=0), ConfigError, "batch_size is 0", "least 1"
    ),
    "evaluation of no users": row(
        lambda: autoencoder().evaluate(judged(), 3, [NDCG(3)], num_users=0), ConfigError, "num_users is 0", "least 1"
    ),
    "nobody has a target": row(
        lambda: autoencoder().evaluate(data(csr(), csr(DENSE * 0)), 3, [NDCG(3)]),
        EmptyDataError, "none of the data set's 6 users has a target",
    ),
    "evaluation of an item beyond the model": row(
        lambda: autoencoder().evaluate(judged(csr(np.eye(6, 8))), 3, [NDCG(3)]), UnknownIdError, "item id", "5 items"
    ),
    "evaluation of a user beyond the factorization": row(
        lambda: factorization().evaluate(judged(csr(np.ones((9, 5)))), 3, [NDCG(3)]),
        UnknownIdError, "user id 8", "6 users",
    ),
    # files
    "no such file": row(lambda: autoencoder().init_from_model_file("nowhere"), FileNotFoundError, "nowhere", "check"),
    "folder as a model": row(lambda: autoencoder().init_from_model_file("/"), FileFormatError, "is a folder", "path"),
    "source as a model": row(
        lambda: autoencoder().init_from_model_file(__file__), FileFormatError, __file__, "another kind", "checkpoint"
    ),
    "folder below a file": row(
        lambda: autoencoder().save_state(f"{__file__}/x"),
        FileWriteError, f"cannot write {__file__}/x", "choose a folder",
    ),
    "checkpoints below a file": row(
        lambda: train(model_checkpoint_prefix=Path(__file__) / "x"), FileWriteError, "cannot write", "choose a folder"
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", ROWS)
def test_bad_input_is_refused_with_a_message_that_helps(name: str) -> None:
    with pytest.raises(ROWS[name].error) as caught:
        ROWS[name].call()
    message = str(caught.value)
    missing = [fragment for fragment in ROWS[name].fragments if fragment not in message]
    assert not missing, message
    assert issubclass(caught.type, RecoderError) or caught.type in (IndexError, NotImplementedError, FileNotFoundError)


# the wrong kind of value, where a number, a list or an object of the library belongs


def evaluate(**kwargs: Any) -> Any:
    return autoencoder().evaluate(judged(), 3, [NDCG(3)], **kwargs)


def interactions() -> Interactions:
    return Interactions.from_matrix(csr())


def split(given: Any, **kwargs: Any) -> Any:
    return strong_generalization(given, **{"num_valid_users": 1, "num_test_users": 1, "seed": 1, **kwargs})


# an argument, the values it is given, a call that takes one of them, and the end of the sentence
NUMBERS: list[tuple[str, list[Any], Callable[[Any], Any], str]] = [
    (
        "num_recommendations",
        ["5", None, np.nan, 2.0, True],
        lambda x: InferenceRecommender(autoencoder(), x),
        "least 1",
    ),
    ("num_users", ["a", 5.0], lambda x: evaluate(num_users=x), "least 1"),
    ("batch_size", ["a", None, 2.5], lambda x: evaluate(batch_size=x), "least 1"),
    (
        "num_workers",
        ["a", None, 1.0],
        lambda x: RecommenderEvaluator(recommender(), [NDCG(3)]).evaluate(judged(), num_workers=x),
        "least 0",
    ),
    ("batch_size", ["a", None, 2.5], BatchCollator, "least 1"),
    ("batch_size", ["a", None, 2.5], lambda x: RecommendationDataLoader(data(), x), "least 1"),
    ("num_sampling_users", ["a", None, 4.0], lambda x: RecommendationDataLoader(data(), 2, True, x), "least 0"),
    ("num_workers", ["a", None, 1.0], lambda x: RecommendationDataLoader(data(), 2, num_workers=x), "least 0"),
    ("embedding_size", ["a", None, np.inf, True], MatrixFactorization, "least 1"),
    ("dropout_prob", ["a", None], lambda x: MatrixFactorization(2, dropout_prob=x), "least 0"),
    ("dropout_prob", ["a", None], lambda x: DynamicAutoencoder([2], dropout_prob=x), "least 0"),
    ("noise_prob", ["a", None], lambda x: DynamicAutoencoder([2], noise_prob=x), "least 0"),
    ("hidden_layers", [["a"], 5, [2.5]], DynamicAutoencoder, "as in [200]"),
    ("confidence", ["3", None, np.nan, 10**400], MSELoss, "least 0"),
    ("confidence", ["3", None, 10**400], lambda x: make_loss("mse", {"confidence": x}), "least 0"),
    ("loss_params", [[1], "confidence", 3], lambda x: make_loss("mse", x), "pass a dict"),
    ("axis", [(0, 1), "0", 1.0, 2], lambda x: normalize(np.eye(2), x), "-2 to 1, or None"),
    ("seed", [None, "a", 1.5, -1], lambda x: split(interactions(), seed=x), "least 0"),
    ("seed", [None, "a", 1.5, -1], lambda x: random_holdout(interactions(), seed=x), "least 0"),
    ("num_valid_users", ["a", None, 1.0], lambda x: split(interactions(), num_valid_users=x), "least 1"),
    ("num_test_users", ["a", None, 1.0], lambda x: split(interactions(), num_test_users=x), "least 1"),
    ("min_interactions", ["a", None, 2.0], lambda x: split(interactions(), min_interactions=x), "least 2"),
    ("fold_in", ["0.5", None, np.nan], lambda x: split(interactions(), fold_in=x), "above 0 and below 1"),
    (
        "fraction",
        ["0.5", None, np.nan],
        lambda x: random_holdout(interactions(), fraction=x, seed=1),
        "above 0 and below 1",
    ),
]


@pytest.mark.parametrize(("name", "values", "call", "limit"), NUMBERS)
def test_value_of_the_wrong_kind_is_named(name: str, values: list[Any], call: Callable[[Any], Any], limit: str) -> None:
    for value in values:
        with pytest.raises(ConfigError) as caught:
            call(value)
        assert f"{name} is {value!r}" in str(caught.value)
        assert limit in str(caught.value)


OBJECTS = {
    "one metric": row(lambda: RecommenderEvaluator(recommender(), NDCG(3)), DataTypeError, "metrics is", "pass a list"),
    "None for metrics": row(lambda: RecommenderEvaluator(recommender(), None), DataTypeError, "is None", "pass a list"),
    "matrix to load": row(
        lambda: RecommendationDataLoader(csr(), 5), DataTypeError, "not csr_matrix", "RecommendationDataset(matrix)"
    ),
    "matrix to split": row(lambda: split(csr()), DataTypeError, "not csr_matrix", "Interactions.from_matrix(matrix)"),
    "matrix to hold out of": row(
        lambda: random_holdout(csr(), seed=1), DataTypeError, "not csr_matrix", "Interactions.from_matrix(matrix)"
    ),
    "row beyond": row(lambda: interactions().select_users([0, 6]), UnknownIdError, "row 6", "6 users (0 to 5)"),
    "negative row": row(lambda: interactions().select_users([-1]), UnknownIdError, "row -1", "6 users (0 to 5)"),
    "column beyond": row(lambda: interactions().select_items([5]), UnknownIdError, "column 5", "5 items (0 to 4)"),
    "mask of users": row(
        lambda: interactions().select_users(np.ones(U, bool)), DataTypeError, "bool", "np.flatnonzero(mask)"
    ),
    "mask of items": row(
        lambda: interactions().select_items(np.ones(N, bool)), DataTypeError, "bool", "np.flatnonzero(mask)"
    ),
    "titles in one string": row(
        lambda: Interactions.from_matrix(csr(), titles="abcde"), DataTypeError, "list of strings", "'abcde'"
    ),
    "number for titles": row(lambda: Interactions.from_matrix(csr(), titles=5), DataTypeError, "list of strings", "5"),
}  # fmt: skip


def recommender() -> InferenceRecommender:
    return InferenceRecommender(autoencoder(), 3)


@pytest.mark.parametrize("name", OBJECTS)
def test_object_of_the_wrong_kind_is_refused(name: str) -> None:
    with pytest.raises(OBJECTS[name].error) as caught:
        OBJECTS[name].call()
    assert [fragment for fragment in OBJECTS[name].fragments if fragment not in str(caught.value)] == []


def test_a_tuple_of_a_collate_function_is_one_batch() -> None:
    loader = RecommendationDataLoader(data(), 3, collate_fn=lambda x: ("a", len(x)), shuffle=False)
    assert list(loader) == [(("a", 3), None)] * 2


def test_the_table_is_long_enough() -> None:
    assert len(ROWS) >= 45


@NO_CUDA
@pytest.mark.parametrize("arguments", [{"use_cuda": True}, {"device": "cuda"}, {"device": "cuda:1"}], ids=str)
def test_cuda_where_there_is_none_is_refused(arguments: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"(True|'cuda.*'), but there is no CUDA device .*leave it out"):
        Recoder(DynamicAutoencoder([2]), **arguments)


# raised early: nothing has happened by then


@pytest.mark.parametrize(
    "name",
    [
        "odd super-batches",
        "metric beyond the recommendations in training",
        "metrics that are functions",
        "ratings for the logistic loss",
        "no interactions",
        "more items to validate",
        "sparse gradients with sgd",
        "checkpoints below a file",
        "model without parameters",
    ],
)
def test_it_is_refused_before_the_first_step(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def step(*args: Any) -> None:
        raise AssertionError("a step was taken")

    monkeypatch.setattr("recoder.training.step.BatchLoss.backward", step)
    with pytest.raises(ROWS[name].error):
        ROWS[name].call()


def test_a_run_that_diverges_leaves_only_the_files_of_the_epochs_before(tmp_path: Path) -> None:
    with pytest.raises(DivergedError) as caught:
        train(
            None,
            data(csr(DENSE * 100)),
            loss="mse",
            optimizer_type="sgd",
            lr=1e3,
            num_epochs=50,
            model_checkpoint_prefix=tmp_path / "x",
            checkpoint_freq=1,
        )
    found = re.search(r"epoch (\d+) is (nan|inf)", str(caught.value))
    assert found is not None
    last = int(found.group(1)) - 1
    assert last >= 1
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(f"x_epoch_{n}.model" for n in range(1, last + 1))


def test_a_model_that_diverged_in_its_first_epoch_leaves_no_file_and_is_not_saved(tmp_path: Path) -> None:
    recoder = Recoder(DynamicAutoencoder([2]), seed=1)
    with pytest.raises(DivergedError):
        recoder.train(
            data(csr(DENSE * 100)), lr=1e30, num_epochs=2, model_checkpoint_prefix=tmp_path / "x", batch_size=1
        )
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(DivergedError, match="load the last checkpoint"):
        recoder.save_state(tmp_path / "x")
    with pytest.raises(DivergedError, match="a score is NaN"):
        recoder.recommend(users(), 2)


def test_arguments_that_were_refused_leave_the_recoder_as_it_was() -> None:
    recoder = Recoder(DynamicAutoencoder([3]), optimizer_type="adam", seed=1)
    for arguments in ({"lr": -1}, {"num_sampling_users": 6}, {"checkpoint_freq": 1}, {"num_epochs": 0}):
        with pytest.raises(ConfigError):
            recoder.train(data(csr(np.eye(9, 9))), **arguments)  # type: ignore[arg-type]
    assert (recoder.num_items, recoder.num_users, len(recoder.history)) == (None, None, 0)
    recoder.train(data(), batch_size=3)
    assert recoder.num_items == N


# what is converted, or works as decided

CONVERTED: dict[str, Callable[[], Any]] = {
    "integers": lambda: csr().astype(np.int64),
    "booleans": lambda: csr().astype(bool),
    "float64": lambda: csr().astype(np.float64),
    "small integers": lambda: csr().astype(np.uint8),
    "COO": lambda: csr().tocoo(),
    "CSC": lambda: csr().tocsc(),
    "LIL": lambda: csr().tolil(),
    "DOK": lambda: csr().todok(),
    "BSR": lambda: csr().tobsr((2, 5)),
    "CSR array": lambda: sparse.csr_array(csr()),
    "COO array": lambda: sparse.coo_array(csr()),
    "unsorted columns": lambda: unsorted(csr()),
    "explicit zeros": lambda: with_zeros(csr()),
    "repeats": lambda: with_repeats(csr()),
}


def unsorted(matrix: sparse.csr_matrix) -> sparse.csr_matrix:
    indices = np.concatenate([row[::-1] for row in np.split(matrix.indices, matrix.indptr[1:-1])])
    return sparse.csr_matrix((matrix.data, indices, matrix.indptr), shape=matrix.shape)


def with_zeros(matrix: sparse.csr_matrix) -> sparse.csr_matrix:
    rows, cols = np.indices(matrix.shape)
    return sparse.csr_matrix((matrix.toarray().ravel(), (rows.ravel(), cols.ravel())), shape=matrix.shape)


def with_repeats(matrix: sparse.csr_matrix) -> sparse.coo_matrix:
    coo = matrix.tocoo()
    halves = np.tile(coo.data / 2, 2)
    return sparse.coo_matrix((halves, (np.tile(coo.row, 2), np.tile(coo.col, 2))), shape=matrix.shape)


@pytest.mark.parametrize("kind", CONVERTED)
def test_matrix_is_converted_and_not_changed(kind: str) -> None:
    given = CONVERTED[kind]()
    format_, dtype, stored = given.format, given.dtype, given.nnz
    before = given.copy()
    recoder = train(None, data(given))
    assert [record.loss for record in recoder.history] == [record.loss for record in autoencoder().history]
    assert torch.equal(recoder.predict(users(given)), autoencoder().predict(users()))
    assert (given.format, given.dtype, given.nnz) == (format_, dtype, stored)
    assert (given != before).nnz == 0


def test_more_recommendations_than_items_give_the_shorter_list() -> None:
    lists = autoencoder().recommend(users(), 100)
    for seen, recommended in zip(DENSE, lists, strict=True):
        assert sorted(recommended) == np.flatnonzero(seen == 0).tolist()


def test_a_user_who_has_seen_everything_gets_an_empty_list() -> None:
    everything = users(csr([[1, 1, 1, 1, 1], [1, 0, 0, 0, 0]]))
    assert [len(items) for items in autoencoder().recommend(everything, 3)] == [0, 3]


def test_a_matrix_narrower_than_the_catalogue_is_scored_over_the_whole() -> None:
    narrow, wide = users(csr(DENSE[:, :3])), users(csr(np.hstack([DENSE[:, :3], np.zeros((U, 2))])))
    assert autoencoder().predict(narrow).shape == (U, N)
    assert torch.equal(autoencoder().predict(narrow), autoencoder().predict(wide))


def test_more_users_pass_where_the_model_is_said_not_to_depend_on_them() -> None:
    recoder = train(user_based=False)
    recoder.train(data(csr(np.eye(9, 5))), num_epochs=2, batch_size=3)
    assert len(recoder.history) == 2


def test_numpy_numbers_are_numbers(tmp_path: Path) -> None:
    recoder = Recoder(
        DynamicAutoencoder([np.int64(3)]), num_items=np.int64(5), num_users=np.int32(6), optimizer_type="adam",
        seed=np.uint8(1),
    )  # fmt: skip
    recoder.train(
        data(), batch_size=np.int64(3), lr=np.float32(0.25), num_epochs=np.int16(2), lr_milestones=np.array([1]),
        model_checkpoint_prefix=tmp_path / "x", checkpoint_freq=np.int64(1),
    )  # fmt: skip
    assert [record.lr for record in recoder.history] == [0.25, 0.025]
    Recoder(DynamicAutoencoder()).init_from_model_file(tmp_path / "x_epoch_2.model")
