from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import sparse
from torch import nn

from recoder.data import BatchCollator, RecommendationDataset, UsersInteractions
from recoder.errors import ShapeError
from recoder.losses import make_loss
from recoder.model import Recoder
from recoder.nn import DynamicAutoencoder, FactorizationModel, MatrixFactorization, MultVAE
from recoder.nn.base import draw_parameters
from recoder.nn.noise import seed_step
from recoder.ops import fused, item_blocks
from recoder.ops.rows import SparseRows
from recoder.training import loop, step
from recoder.training.step import BatchLoss

NUM_USERS, NUM_ITEMS = 6, 11
LOSSES = {
    "mse": make_loss("mse", {"confidence": 2}),
    "logistic": make_loss("logistic", None),
    "logloss": make_loss("logloss", None),
    "own": nn.HuberLoss(reduction="sum"),
}
EVERY_LOSS = pytest.mark.parametrize("name", LOSSES)
OF_THE_LIBRARY = pytest.mark.parametrize("name", ["mse", "logistic", "logloss"])
SAMPLED_AND_FULL = pytest.mark.parametrize("negative_sampling", [False, True])


def batches(seed, negative_sampling, batch_size=4):
    generator = np.random.default_rng(seed)
    matrix = sparse.random(NUM_USERS, NUM_ITEMS, 0.25, "csr", np.float32, generator)
    return BatchCollator(batch_size, negative_sampling).collate(UsersInteractions(np.arange(NUM_USERS), matrix))


def dense(batch):
    return batch.rows.to_dense()


def initialized(model):
    draw_parameters(model, num_items=NUM_ITEMS, num_users=NUM_USERS, seed=0)
    return model


def autoencoder(**params):
    return initialized(DynamicAutoencoder([4], **params))


class Plain(FactorizationModel):
    """The same scores as an autoencoder's, but with only the documented ``forward``."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner
        self.calls = []

    def init_model(self, num_items=None, num_users=None):
        self.inner.init_model(num_items, num_users)

    def model_params(self):
        return self.inner.model_params()

    def forward(self, input, input_users=None, input_items=None, target_users=None, target_items=None):
        self.calls.append((input, input_users, input_items, target_users, target_items))
        return self.inner(input, input_users, input_items, target_users, target_items)


class WithoutBias(MatrixFactorization):
    """Item factors that are a parameter, and no biases."""

    def item_factors(self, items=None):
        return self.items.rows(items), None


class FromFeatures(MatrixFactorization):
    """Item factors that are computed, so that there is no table of them."""

    def init_model(self, num_items=None, num_users=None):
        super().init_model(num_items, num_users)
        self.features = torch.randn(num_items, 5, generator=torch.Generator().manual_seed(1))
        self.map = nn.Linear(5, self.embedding_size)
        self.popularity = nn.Parameter(torch.linspace(-1, 1, 5))

    def item_factors(self, items=None):
        features = self.features if items is None else self.features[items]
        features = features.to(self.popularity.dtype)
        return self.map(features), features @ self.popularity


class Penalised(DynamicAutoencoder):
    """Adds to the loss what follows from the factors of the forward pass, and from the item table."""

    def user_factors(self, input, users=None, items=None):
        self.last = super().user_factors(input, users, items)
        return self.last

    def penalty(self):
        return 0.3 * self.last.square().sum(dim=1).mean() + 0.2 * self.items.weight.square().sum()


def frozen(model, *names):
    for name in names:
        model.get_parameter(name).requires_grad_(False)
    return model


MODELS = {
    "autoencoder": lambda: autoencoder(),
    "sparse": lambda: autoencoder(sparse=True),
    "tied": lambda: autoencoder(is_constrained=True),
    "tied, sparse": lambda: autoencoder(is_constrained=True, sparse=True),
    "deep, tied": lambda: initialized(DynamicAutoencoder([4, 3], is_constrained=True)),
    "noisy": lambda: autoencoder(dropout_prob=0.3, noise_prob=0.3),
    "with a penalty": lambda: initialized(Penalised([4])),
    "factorization": lambda: initialized(MatrixFactorization(4, activation_type="tanh")),
    "factorization, sparse": lambda: initialized(MatrixFactorization(4, sparse=True)),
    "without biases": lambda: initialized(WithoutBias(4)),
    "computed items": lambda: initialized(FromFeatures(4)),
    "frozen items": lambda: frozen(autoencoder(), "items.weight"),
    "frozen items, sparse": lambda: frozen(autoencoder(sparse=True), "items.weight", "items.bias"),
    "frozen users": lambda: frozen(initialized(MatrixFactorization(4)), "users.weight"),
}
EVERY_MODEL = pytest.mark.parametrize("model", MODELS.values(), ids=MODELS.keys())


@pytest.fixture(params=["as it chooses", "without Gram", "in many blocks"])
def way(request, monkeypatch):
    """How the loss is computed."""
    if request.param != "as it chooses":
        monkeypatch.setattr(step, "gram_is_cheaper", lambda num_users, num_factors: False)
    if request.param == "in many blocks":
        monkeypatch.setattr(item_blocks, "BLOCK_SCORES", 8)
        monkeypatch.setattr(item_blocks, "_SMALLEST_BLOCK", 2)
        monkeypatch.setattr(fused, "KEPT_BYTES", 0)


def dense_loss(model, loss, batch, target):
    """The loss of a step as documented, by autograd, from dense input, scores and target."""
    scores = model(dense(batch), batch.users, batch.items, target_items=target.items)
    mean = loss(scores, dense(target).to(scores.dtype)) / len(batch)
    penalty = model.penalty()
    return mean if penalty is None else mean + penalty


def gradients(model):
    """The gradients as dense tensors by name; None where there is none."""
    return {
        name: parameter.grad if parameter.grad is None else parameter.grad.to_dense().clone()
        for name, parameter in model.named_parameters()
    }


def reference(model, loss, pairs):
    """Losses, and the gradients of their sum."""
    model.zero_grad()
    seed_step(model, 3)
    losses = [dense_loss(model, loss, batch, target) for batch, target in pairs]
    sum(losses).backward()
    return [loss.detach() for loss in losses], gradients(model)


def assert_same(ours, theirs):
    torch.testing.assert_close(ours, theirs, rtol=1e-7, atol=1e-9)


@SAMPLED_AND_FULL
@EVERY_LOSS
def test_loss_is_the_sum_of_the_documented_one_over_all_entries(name, negative_sampling):
    model, loss = autoencoder(), LOSSES[name]
    for batch in batches(0, negative_sampling):
        expected = loss(model(dense(batch), batch.users, batch.items, target_items=batch.items), dense(batch))
        torch.testing.assert_close(BatchLoss(model, loss).value(batch, None), expected)


@SAMPLED_AND_FULL
@EVERY_LOSS
def test_a_target_is_predicted_from_the_interactions(name, negative_sampling):
    model, loss = autoencoder(), LOSSES[name]
    for batch, target in zip(batches(0, negative_sampling), batches(1, negative_sampling), strict=True):
        expected = loss(model(dense(batch), batch.users, batch.items, target_items=target.items), dense(target))
        torch.testing.assert_close(BatchLoss(model, loss).value(batch, target), expected)


@pytest.mark.usefixtures("way")
@SAMPLED_AND_FULL
@OF_THE_LIBRARY
@EVERY_MODEL
def test_a_step_has_the_loss_and_gradients_of_the_dense_computation(model, name, negative_sampling):
    model, loss = model().double(), LOSSES[name]
    batch_loss = BatchLoss(model, loss)
    first, second = batches(0, negative_sampling), batches(1, negative_sampling)
    # two batches, of which the second has fewer users, predict themselves; one predicts others
    for batch, target in [(first[0], None), (first[1], None), (first[0], second[0])]:
        expected, expected_gradients = reference(model, loss, [(batch, target or batch)])
        model.zero_grad()
        seed_step(model, 3)
        whole = batch_loss.backward(*batch_loss.prepared((batch, target)))
        assert not whole.requires_grad
        assert_same([whole], expected)
        assert_same(gradients(model), expected_gradients)


@pytest.mark.parametrize("model", ["autoencoder", "tied, sparse", "factorization", "computed items"])
@EVERY_LOSS
def test_data_may_be_narrower_than_the_catalogue(name, model):
    model, loss = MODELS[model]().double(), LOSSES[name]
    matrix = sparse.random(NUM_USERS, NUM_ITEMS - 4, 0.4, "csr", np.float32, np.random.default_rng(0))
    (batch,) = BatchCollator(NUM_USERS).collate(UsersInteractions(np.arange(NUM_USERS), matrix))
    matrix.resize(NUM_USERS, NUM_ITEMS)
    (wide,) = BatchCollator(NUM_USERS).collate(UsersInteractions(np.arange(NUM_USERS), matrix))
    expected, expected_gradients = reference(model, loss, [(wide, wide)])
    model.zero_grad()
    assert_same([BatchLoss(model, loss).backward(batch, None)], expected)
    assert_same(gradients(model), expected_gradients)


@pytest.mark.parametrize("model", ["autoencoder", "tied, sparse", "factorization, sparse", "computed items"])
@EVERY_LOSS
def test_a_batch_without_candidates_has_no_loss_and_gradients_of_zero(name, model):
    model, nothing = MODELS[model](), sparse.csr_matrix((2, NUM_ITEMS), dtype=np.float32)
    (batch,) = BatchCollator(2, negative_sampling=True).collate(UsersInteractions(np.arange(2), nothing))
    assert float(BatchLoss(model, LOSSES[name]).backward(batch, None)) == 0
    assert not any(gradient.any() for gradient in gradients(model).values() if gradient is not None)


@SAMPLED_AND_FULL
@pytest.mark.parametrize("name", ["logistic", "own"])
@pytest.mark.parametrize("model", ["autoencoder", "sparse", "tied", "tied, sparse", "computed items", "frozen items"])
def test_gradients_of_a_second_batch_are_added_to_those_of_the_first(model, name, negative_sampling):
    model, loss = MODELS[model]().double(), LOSSES[name]
    batch_loss = BatchLoss(model, loss)
    pairs = [(batch, batch) for batch in batches(0, negative_sampling)]
    expected, expected_gradients = reference(model, loss, pairs)
    model.zero_grad()
    assert_same([batch_loss.backward(*pair) for pair in pairs], expected)
    assert_same(gradients(model), expected_gradients)


@pytest.mark.parametrize("make", [autoencoder, lambda **params: initialized(MatrixFactorization(4, **params))])
@OF_THE_LIBRARY
def test_sparse_gradients_hold_just_the_rows_of_the_candidates(name, make):
    model, (batch, _) = make(sparse=True), batches(0, True)
    BatchLoss(model, LOSSES[name]).backward(batch, None)
    assert len(batch.items) < NUM_ITEMS
    for table in (model.items.weight, model.items.bias):
        assert table.grad.is_sparse
        assert table.grad._indices().tolist() == [batch.items.tolist()]


@OF_THE_LIBRARY
def test_tables_that_serve_twice_get_one_sparse_gradient(name):
    model, (batch, _) = autoencoder(sparse=True, is_constrained=True), batches(0, True)
    BatchLoss(model, LOSSES[name]).backward(batch, None)
    assert model.items.weight.grad.is_sparse
    assert set(model.items.weight.grad._indices()[0].tolist()) == set(batch.items.tolist())


@SAMPLED_AND_FULL
@OF_THE_LIBRARY
def test_tables_without_sparse_gradients_get_dense_ones(name, negative_sampling):
    model, (batch, _) = autoencoder(), batches(0, negative_sampling)
    BatchLoss(model, LOSSES[name]).backward(batch, None)
    assert not any(parameter.grad.is_sparse for parameter in model.parameters())


@pytest.mark.parametrize("model", ["autoencoder", "sparse", "tied", "computed items"])
@OF_THE_LIBRARY
def test_value_is_that_of_backward_and_leaves_no_gradient(name, model):
    model, (batch, _) = MODELS[model](), batches(0, True)
    batch_loss = BatchLoss(model, LOSSES[name])
    value = batch_loss.value(batch, None)
    assert not value.requires_grad
    assert all(parameter.grad is None for parameter in model.parameters())
    torch.testing.assert_close(batch_loss.backward(batch, None) * len(batch), value)


@EVERY_LOSS
def test_a_model_with_only_forward_has_the_same_loss_and_gradient(name):
    factorized, plain = autoencoder(), Plain(autoencoder())
    for batch, target in zip(batches(0, True), batches(1, True), strict=True):
        losses = [BatchLoss(model, LOSSES[name]).backward(batch, target) for model in (factorized, plain)]
        torch.testing.assert_close(*losses)
    for ours, theirs in zip(factorized.parameters(), plain.inner.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-4, atol=1e-5)


def test_forward_is_called_as_documented():
    plain = Plain(autoencoder())
    (batch, _), (target, _) = batches(0, True), batches(1, True)
    BatchLoss(plain, LOSSES["mse"]).value(batch, target)
    ((input, input_users, input_items, target_users, target_items),) = plain.calls
    assert torch.equal(input, dense(batch))
    assert torch.equal(input_users, batch.users)
    assert torch.equal(input_items, batch.items)
    assert torch.equal(target_users, target.users)
    assert torch.equal(target_items, target.items)


@OF_THE_LIBRARY
def test_a_factorized_model_with_a_loss_of_the_library_makes_nothing_dense_of_the_interactions(name, monkeypatch):
    def refuse(rows):
        raise AssertionError("a dense tensor was made")

    batch, _ = batches(0, True)
    loss = BatchLoss(autoencoder(), LOSSES[name])
    monkeypatch.setattr(SparseRows, "to_dense", refuse)
    assert loss.backward(batch, None).isfinite()


@pytest.mark.parametrize(("num_factors", "is_gram"), [(5, True), (6, False)])
def test_squared_errors_come_from_gram_matrices_just_where_these_are_cheaper(num_factors, is_gram, monkeypatch):
    calls = []
    for name in ("fused_loss", "gram_squared_error"):
        original = getattr(step, name)
        monkeypatch.setattr(step, name, lambda *a, name=name, f=original, **k: calls.append(name) or f(*a, **k))
    batch, _ = batches(0, True)
    model = initialized(DynamicAutoencoder([num_factors]))
    BatchLoss(model, LOSSES["mse"]).backward(batch, None)
    BatchLoss(model, LOSSES["logistic"]).backward(batch, None)
    assert calls == ["gram_squared_error" if is_gram else "fused_loss", "fused_loss"]


def relative_error(ours, exact):
    return float((ours - exact).norm() / exact.norm())


def flat(gradients):
    return torch.cat([gradient.flatten() for gradient in gradients.values() if gradient is not None])


IN_BFLOAT16 = pytest.mark.parametrize("model", ["autoencoder", "deep, tied", "factorization, sparse", "computed items"])


@pytest.mark.usefixtures("way")
@IN_BFLOAT16
@EVERY_LOSS
def test_bfloat16_comes_close(name, model):
    (batch, _), model = batches(0, True), MODELS[model]()
    (expected,), expected_gradients = reference(model, LOSSES[name], [(batch, batch)])
    model.zero_grad()
    whole = BatchLoss(model, LOSSES[name], torch.bfloat16).backward(batch, None)
    assert float(whole) == pytest.approx(float(expected), rel=1e-2)
    exact, ours = flat(expected_gradients), flat(gradients(model))
    assert float((ours - exact).norm()) < 2e-2 * float(exact.norm())


@IN_BFLOAT16
@EVERY_LOSS
def test_losses_and_gradients_stay_float32_in_bfloat16(name, model):
    (batch, _), model = batches(0, True), MODELS[model]()
    whole = BatchLoss(model, LOSSES[name], torch.bfloat16).backward(batch, None)
    results = [whole, *(parameter.grad for parameter in model.parameters() if parameter.grad is not None)]
    assert {result.dtype for result in results} == {torch.float32}


def test_scores_of_another_shape_are_an_error():
    class Wrong(Plain):
        def forward(self, *args, **kwargs):
            return super().forward(*args, **kwargs)[:, :-1]

    batch, _ = batches(0, False)
    with pytest.raises(ShapeError, match=r"Wrong.forward returned \(4, 10\) for 4 users and 11 target items"):
        BatchLoss(Wrong(autoencoder()), LOSSES["mse"]).value(batch, None)


class Wrong(FactorizationModel):
    """Gives factors of the shapes that it is told to."""

    def __init__(self, *, users=(4, 3), items=(NUM_ITEMS, 3), biases=(NUM_ITEMS,), is_table=True):
        super().__init__()
        self.user_table = nn.Parameter(torch.zeros(users))
        self.item_table, self.item_biases = (nn.Parameter(torch.zeros(shape)) for shape in (items, biases))
        self.is_table = is_table

    def user_factors(self, input, users=None, items=None):
        return self.user_table

    def item_factors(self, items=None):
        return (self.item_table, self.item_biases) if self.is_table else (self.item_table * 1, self.item_biases * 1)


@pytest.mark.parametrize("is_table", [True, False])
@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ({"users": (3, 3)}, r"Wrong.user_factors returned \(3, 3\) for 4 users"),
        ({"users": (4,)}, r"Wrong.user_factors returned \(4,\) for 4 users"),
        ({"users": (4, 3, 1)}, r"Wrong.user_factors returned \(4, 3, 1\) for 4 users"),
        ({"items": (NUM_ITEMS, 2)}, r"user factors \(4, 3\) but item factors \(11, 2\)"),
        ({"items": (NUM_ITEMS,)}, r"user factors \(4, 3\) but item factors \(11,\)"),
        ({"biases": (NUM_ITEMS - 1,)}, r"factors \(11, 3\) but biases \(10,\)"),
        ({"biases": (NUM_ITEMS, 1)}, r"factors \(11, 3\) but biases \(11, 1\)"),
    ],
)
@OF_THE_LIBRARY
def test_factors_of_another_shape_are_an_error(name, shapes, message, is_table):
    batch, _ = batches(0, False)
    batch_loss = BatchLoss(Wrong(**shapes, is_table=is_table), LOSSES[name])
    for compute in (batch_loss.value, batch_loss.backward):
        with pytest.raises(ShapeError, match=message):
            compute(batch, None)


@EVERY_LOSS
def test_factors_of_other_items_than_were_asked_for_are_an_error(name):
    batch, _ = batches(0, True)
    assert len(batch.items) < NUM_ITEMS
    with pytest.raises(ShapeError, match=r"Wrong.item_factors"):
        BatchLoss(Wrong(is_table=False), LOSSES[name]).backward(batch, None)


def dataset(num_users=60, num_items=40, seed=0):
    """Users of two tastes."""
    generator = np.random.default_rng(seed)
    likes = np.arange(num_users)[:, None] % 2 == np.arange(num_items) % 2
    matrix = (generator.random((num_users, num_items)) < np.where(likes, 0.3, 0.05)).astype(np.float32)
    return RecommendationDataset(sparse.csr_matrix(matrix))


def loss_curve(model, loss, *, precision="fp32", **arguments):
    recoder = Recoder(model, optimizer_type="adam", loss=loss, seed=7, precision=precision)
    arguments = {"lr": 0.01, "num_epochs": 4, "batch_size": 16, "weight_decay": 1e-4} | arguments
    return [record.loss for record in recoder.train(dataset(), **arguments)]


SAMPLING = {
    "full": {},
    "sampled": {"negative_sampling": True},
    "sampled widely": {"negative_sampling": True, "num_sampling_users": 32},
}
TRAINED = {
    "autoencoder": lambda: DynamicAutoencoder([8]),
    "deep, tied": lambda: DynamicAutoencoder([8, 6], is_constrained=True),
    "noisy, sparse": lambda: DynamicAutoencoder([8], dropout_prob=0.3, noise_prob=0.3, sparse=True),
    "factorization, sparse": lambda: MatrixFactorization(8, sparse=True),
}
EVERY_TRAINED = pytest.mark.parametrize("make", TRAINED.values(), ids=TRAINED.keys())


@pytest.mark.parametrize("sampling", SAMPLING.values(), ids=SAMPLING.keys())
@EVERY_TRAINED
@OF_THE_LIBRARY
def test_training_has_the_loss_curve_of_a_model_with_only_forward(name, make, sampling):
    ours, theirs = (loss_curve(model, name, **sampling) for model in (make(), Plain(make())))
    assert ours[-1] < ours[0]
    np.testing.assert_allclose(ours, theirs, rtol=1e-4)


@SAMPLED_AND_FULL
@EVERY_TRAINED
@OF_THE_LIBRARY
def test_training_with_bfloat16_has_nearly_the_loss_curve_of_float32(name, make, negative_sampling):
    rounded, exact = (
        loss_curve(make(), name, precision=precision, negative_sampling=negative_sampling)
        for precision in ("bf16", "fp32")
    )
    np.testing.assert_allclose(rounded, exact, rtol=2e-2)


@pytest.mark.parametrize("sampling", SAMPLING.values(), ids=SAMPLING.keys())
def test_batches_made_ahead_in_a_thread_train_to_the_same_losses(sampling, monkeypatch):
    curves = []
    for is_idle in (True, False):
        monkeypatch.setattr(loop, "has_idle_core", lambda device, is_idle=is_idle: is_idle)
        curves.append(loss_curve(TRAINED["noisy, sparse"](), "logistic", iters_per_epoch=7, **sampling))
    assert curves[0] == curves[1]


def test_a_table_of_torch_trains_like_one_of_ours():
    class Embeddings(FactorizationModel):
        def init_model(self, num_items=None, num_users=None):
            ours = initialized(MatrixFactorization(4))
            self.users = nn.Embedding.from_pretrained(ours.users.weight.detach(), freeze=False)
            self.items = nn.Embedding.from_pretrained(ours.items.weight.detach(), freeze=False, sparse=True)

        def user_factors(self, input, users=None, items=None):
            return self.users(users)

        def item_factors(self, items=None):
            return (self.items.weight if items is None else self.items(items)), None

    model, expected, (batch, _) = initialized(Embeddings()), initialized(WithoutBias(4)), batches(0, True)
    for each in (model, expected):
        BatchLoss(each, LOSSES["logistic"]).backward(batch, None)
    assert model.items.weight.grad.is_sparse
    assert_same(model.items.weight.grad.to_dense(), expected.items.weight.grad)
    assert_same(model.users.weight.grad, expected.users.weight.grad)


def test_products_are_rounded_from_the_parameters_as_they_are_at_each_step():
    matrix = sparse.random(40, NUM_ITEMS, 0.3, "csr", np.float32, np.random.default_rng(0))

    def trained(*until):
        made = Recoder(MultVAE([8, 4]), optimizer_type="adam", loss="logistic", precision="bf16", seed=1)
        for num_epochs in until:
            made.train(RecommendationDataset(matrix), num_epochs=num_epochs, batch_size=10, lr=0.05)
        return made.model.state_dict()

    at_once, epoch_by_epoch = trained(6), trained(*range(1, 7))
    for name, tensor in at_once.items():
        assert torch.equal(tensor, epoch_by_epoch[name]), name
