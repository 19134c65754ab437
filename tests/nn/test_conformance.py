from __future__ import annotations

import torch
from torch import nn

from recoder.nn import (
    EASE,
    ELSA,
    DynamicAutoencoder,
    FactorizationModel,
    MatrixFactorization,
    MultVAE,
    Popularity,
    RecVAE,
)
from recoder.testing import FactorizationModelSuite


class TestAutoencoder(FactorizationModelSuite):
    def make_model(self):
        return DynamicAutoencoder([8], noise_prob=0.3, dropout_prob=0.2)


class TestDeepTiedAutoencoder(FactorizationModelSuite):
    loss = "logloss"

    def make_model(self):
        return DynamicAutoencoder([8, 5, 3], activation_type="selu", is_constrained=True)


class TestSparseAutoencoder(FactorizationModelSuite):
    loss = "mse"

    def make_model(self):
        return DynamicAutoencoder([8, 5], noise_prob=0.3, sparse=True)


class TestSparseTiedAutoencoder(FactorizationModelSuite):
    def make_model(self):
        return DynamicAutoencoder([8], dropout_prob=0.2, is_constrained=True, sparse=True)


class TestMatrixFactorization(FactorizationModelSuite):
    optimizer_type = "adagrad"

    def make_model(self):
        return MatrixFactorization(6, activation_type="tanh", dropout_prob=0.2)


class TestSparseMatrixFactorization(FactorizationModelSuite):
    def make_model(self):
        return MatrixFactorization(6, sparse=True)


class TestMatrixFactorizationThatFoldsUsersIn(FactorizationModelSuite):
    loss = "logloss"

    def make_model(self):
        return MatrixFactorization(6, fold_in=True, sparse=True)


class TestAlternatingLeastSquares(FactorizationModelSuite):
    optimizer_type = "als"
    loss = "mse"

    def make_model(self):
        return MatrixFactorization(6, fold_in=True, l2_power=0.5)


class TestMultVAE(FactorizationModelSuite):
    loss = "logloss"

    def make_model(self):
        return MultVAE([10, 6, 4], noise_prob=0.3, kl_steps=20)


class TestTiedMultVAE(FactorizationModelSuite):
    def make_model(self):
        return MultVAE([10, 6, 4], noise_prob=0.3, kl_steps=20, is_constrained=True)


class TestRecVAE(FactorizationModelSuite):
    loss = "logloss"

    def make_model(self):
        return RecVAE(10, 4, noise_prob=0.3, encoder_passes=2)


class TestELSA(FactorizationModelSuite):
    takes_samples = False

    def make_model(self):
        return ELSA(6, noise_prob=0.2)


class TestPopularity(FactorizationModelSuite):
    def make_model(self):
        return Popularity()


class TestEASEOverItems(FactorizationModelSuite):
    def make_model(self):
        return EASE(l2=3, dropout_prob=0.2, popularity_discount=0.1)


class TestEASEOverUsers(FactorizationModelSuite):
    num_users = 12

    def make_model(self):
        return EASE(l2=3)


class Own(FactorizationModel):
    """A model that has only what the manual asks for, with layers of torch, one of which draws noise."""

    def __init__(self, size=5, dropout=0.3):
        super().__init__()
        self.size, self.dropout = size, dropout

    def init_model(self, num_items=None, num_users=None):
        self.num_items = num_items
        self.encoder = nn.Linear(num_items, self.size)
        self.noise = nn.Dropout(self.dropout)
        self.decoder = nn.Linear(self.size, num_items)

    def model_params(self):
        return {"size": self.size, "dropout": self.dropout}

    def load_model_params(self, model_params):
        self.size, self.dropout = model_params["size"], model_params["dropout"]

    def forward(self, input, input_users=None, input_items=None, target_users=None, target_items=None):
        if input_items is not None:
            whole = input.new_zeros(len(input), self.num_items)
            whole[:, input_items] = input
            input = whole
        scores = self.decoder(self.noise(torch.tanh(self.encoder(input))))
        return scores if target_items is None else scores[:, target_items]


class TestOwnModelWithOnlyTheDocumentedForward(FactorizationModelSuite):
    optimizer_type = "rmsprop"
    lr = 0.005
    loss = nn.BCEWithLogitsLoss(reduction="sum")

    def make_model(self):
        return Own()


class OwnTable(FactorizationModel):
    """A user's own look-up model with torch's sparse embeddings and a penalty."""

    folds_in_users = False

    def init_model(self, num_items=None, num_users=None):
        self.users = nn.Embedding(num_users, 4, sparse=True)
        self.items = nn.Embedding(num_items, 4, sparse=True)

    def model_params(self):
        return {}

    def load_model_params(self, model_params):
        pass

    def user_factors(self, input, users=None, items=None):
        self.last = self.users(users)
        return self.last

    def item_factors(self, items=None):
        return (self.items.weight if items is None else self.items(items)), None

    def penalty(self):
        return 0.01 * self.last.square().sum() / len(self.last)


class TestOwnFactorizedModelWithSparseEmbeddings(FactorizationModelSuite):
    def make_model(self):
        return OwnTable()
