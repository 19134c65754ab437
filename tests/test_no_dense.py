"""What training and recommending allocate: no tensor of users by items, and no wait for the device in an epoch.

Sizes: B users of a batch, N items, I candidate items of a batch, D factors.
"""

from __future__ import annotations

import weakref
from collections import Counter

import numpy as np
import pytest
import torch
from scipy import sparse
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from recoder.data import RecommendationDataLoader, RecommendationDataset, UsersInteractions
from recoder.data.batches import Batch, BatchCollator
from recoder.losses import make_loss
from recoder.model import Recoder
from recoder.nn import (
    EASE,
    ELSA,
    DynamicAutoencoder,
    FactorizationModel,
    MatrixFactorization,
    MultVAE,
    RecVAE,
    ease_weights,
)
from recoder.nn.base import draw_parameters
from recoder.ops import search
from recoder.recommender import scoring
from recoder.training import loop
from recoder.training.optimizers import ModelOptimizer
from recoder.training.step import BatchLoss

NUM_USERS, NUM_ITEMS, BATCH, NUM_FACTORS = 256, 2000, 64, 8
WAIT = "aten._local_scalar_dense.default"


def strided_parts(result):
    """Yields the tensors of a result; of a sparse one that of its values."""
    for leaf in tree_leaves(result):
        if isinstance(leaf, Tensor):
            sparse_values = {torch.sparse_coo: Tensor._values, torch.sparse_csr: Tensor.values}.get(leaf.layout)
            yield leaf if sparse_values is None else sparse_values(leaf)


class Operations(TorchDispatchMode):
    """Counts the operations by name, and knows the largest tensor that one returned."""

    def __init__(self):
        super().__init__()
        self.counts = Counter()
        self.largest = 0, ""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        self.counts[str(func)] += 1
        sizes = [part.numel() for part in strided_parts(result)]
        self.largest = max(self.largest, (max(sizes, default=0), str(func)))
        return result


@pytest.fixture(autouse=True)
def one_thread(monkeypatch):
    """A dispatch mode sees the operations of its own thread only."""
    monkeypatch.setattr(loop, "has_idle_core", lambda device: False)


@pytest.fixture(scope="module")
def matrix():
    """A power law of items, about 20 for each user."""
    generator = np.random.default_rng(0)
    chances = 1 / np.arange(1, NUM_ITEMS + 1) ** 0.7
    cols = generator.choice(NUM_ITEMS, size=(NUM_USERS, 24), p=chances / chances.sum())
    dense = np.zeros((NUM_USERS, NUM_ITEMS), dtype=np.float32)
    np.put_along_axis(dense, cols, 1.0, axis=1)
    return sparse.csr_matrix(dense)


@pytest.fixture
def dataset(matrix):
    return RecommendationDataset(matrix)


MODELS = {
    "noisy": lambda: DynamicAutoencoder([NUM_FACTORS], dropout_prob=0.3, noise_prob=0.3),
    "noisy, sparse": lambda: DynamicAutoencoder([NUM_FACTORS], noise_prob=0.3, sparse=True),
    "tied, sparse": lambda: DynamicAutoencoder([NUM_FACTORS], is_constrained=True, sparse=True),
    "deep, tied": lambda: DynamicAutoencoder([NUM_FACTORS, 4], is_constrained=True, dropout_prob=0.3),
    "factorization": lambda: MatrixFactorization(NUM_FACTORS, activation_type="tanh", dropout_prob=0.3),
    "factorization, sparse": lambda: MatrixFactorization(NUM_FACTORS, sparse=True),
}
LOSSES = {
    "mse": {"loss": "mse", "loss_params": {"confidence": 3}},
    "logistic": {"loss": "logistic"},
    "logloss": {"loss": "logloss"},
}
EVERY_MODEL = pytest.mark.parametrize("make", MODELS.values(), ids=MODELS.keys())
EVERY_LOSS = pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES.keys())
SAMPLED_AND_FULL = pytest.mark.parametrize("negative_sampling", [False, True])


class Plain(FactorizationModel):
    """A model with only the documented ``forward``."""

    def init_model(self, num_items=None, num_users=None):
        self.inner = DynamicAutoencoder([NUM_FACTORS])
        self.inner.init_model(num_items)

    def model_params(self):
        return {}

    def forward(self, input, input_users=None, input_items=None, target_users=None, target_items=None):
        return self.inner(input, input_users, input_items, target_users, target_items)


def operations_of_training(
    model, dataset, *, precision="fp32", loss, loss_params=None, optimizer_type="adam", **arguments
):
    recoder = Recoder(
        model,
        optimizer_type=optimizer_type,
        loss=loss,
        loss_params=loss_params,
        precision=precision,
        seed=1,
        num_users=NUM_USERS,
    )
    arguments = {"lr": 0.01, "weight_decay": 1e-5, "batch_size": BATCH} | arguments
    with Operations() as operations:
        recoder.train(dataset, **arguments)
    return operations


def fewest_candidates(dataset, seed=1):
    """The smallest number of candidates of the batches of the first epoch."""
    loader = RecommendationDataLoader(dataset, BATCH, negative_sampling=True, seed=seed)
    return min(len(batch.items) for batch, _ in loader.epoch(1))


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@SAMPLED_AND_FULL
@EVERY_LOSS
@EVERY_MODEL
def test_an_epoch_makes_no_tensor_of_users_by_items(make, loss, negative_sampling, precision, dataset):
    num_items = fewest_candidates(dataset) if negative_sampling else NUM_ITEMS
    assert BATCH * num_items > NUM_ITEMS * NUM_FACTORS  # so that a table is not mistaken for such a tensor
    operations = operations_of_training(
        make(), dataset, precision=precision, negative_sampling=negative_sampling, **loss
    )
    size, name = operations.largest
    assert size < BATCH * num_items, name


SAMPLES = {"negative_sampling": True, "num_uniform_negatives": 100}
OTHERS = {
    "multvae, logistic": (lambda: MultVAE([12, NUM_FACTORS]), {"loss": "logistic", **SAMPLES}),
    "multvae, multinomial": (lambda: MultVAE([12, NUM_FACTORS]), {"loss": "logloss"}),
    "recvae, logistic": (lambda: RecVAE(12, NUM_FACTORS), {"loss": "logistic", **SAMPLES}),
    "recvae, multinomial": (lambda: RecVAE(12, NUM_FACTORS), {"loss": "logloss"}),
    "elsa": (lambda: ELSA(NUM_FACTORS), {"loss": "mse", "weight_decay": 0.0}),
    "logq": (MODELS["noisy"], {"loss": "logloss", "logq_correction": True, **SAMPLES}),
    "clipped": (MODELS["noisy, sparse"], {"loss": "logistic", "max_grad_norm": 1.0, **SAMPLES}),
}
EVERY_OTHER = pytest.mark.parametrize(("make", "arguments"), OTHERS.values(), ids=OTHERS.keys())


@EVERY_OTHER
def test_other_models_and_settings_make_none_either(make, arguments, dataset):
    num_items = fewest_candidates(dataset) if "negative_sampling" in arguments else NUM_ITEMS
    size, name = operations_of_training(make(), dataset, **arguments).largest
    assert size < BATCH * num_items, name


@EVERY_OTHER
def test_their_steps_do_not_wait_for_the_device_either(make, arguments, dataset):
    few, many = (operations_of_training(make(), dataset, iters_per_epoch=steps, **arguments) for steps in (1, 4))
    assert few.counts.total() < many.counts.total()
    assert few.counts[WAIT] == many.counts[WAIT]


def test_least_squares_make_none_of_all_users_by_items(dataset):
    made = operations_of_training(
        MatrixFactorization(NUM_FACTORS), dataset, loss="mse", loss_params={"confidence": 3}, optimizer_type="als"
    )
    size, name = made.largest
    assert size < NUM_USERS * NUM_ITEMS / 4, name


@pytest.mark.parametrize("make", [MODELS["noisy"], MODELS["deep, tied"]], ids=["shallow", "deep"])
def test_evaluating_holds_scores_of_a_block_only(make, matrix, monkeypatch):
    at_once = 25 * NUM_ITEMS
    monkeypatch.setattr(search, "_BLOCK_SCORES", at_once)
    monkeypatch.setattr(scoring, "BLOCK_SCORES", at_once)
    recoder = Recoder(make(), loss="logistic", seed=1, optimizer_type="adam")
    recoder.train(RecommendationDataset(matrix), batch_size=128)
    judged = RecommendationDataset(matrix, sparse.csr_matrix(np.eye(NUM_USERS, NUM_ITEMS, dtype=np.float32)))
    with Operations() as operations:
        recoder.evaluate(judged, 100, ["NDCG@100", "Recall@20"], batch_size=NUM_USERS)
    size, name = operations.largest
    assert size == at_once, name


@EVERY_LOSS
@pytest.mark.parametrize(
    "make", [MODELS["noisy"], MODELS["factorization, sparse"]], ids=["autoencoder", "factorization"]
)
def test_validation_makes_none_either(make, loss, matrix, dataset):
    some_users = RecommendationDataset(matrix[:BATCH])
    size, name = operations_of_training(make(), dataset, val_dataset=some_users, **loss).largest
    assert size < BATCH * NUM_ITEMS, name


def test_a_model_with_only_forward_does_make_one(dataset):
    size, _ = operations_of_training(Plain(), dataset, loss="mse").largest
    assert size >= BATCH * NUM_ITEMS


@SAMPLED_AND_FULL
@EVERY_LOSS
@EVERY_MODEL
def test_steps_do_not_wait_for_the_device(make, loss, negative_sampling, dataset):
    few, many = (
        operations_of_training(make(), dataset, negative_sampling=negative_sampling, iters_per_epoch=steps, **loss)
        for steps in (1, 4)
    )
    assert few.counts.total() < many.counts.total()
    assert few.counts[WAIT] == many.counts[WAIT]


def test_a_loss_that_looks_at_a_number_does_wait(dataset):
    class Looking(nn.Module):
        def forward(self, input, target):
            assert float(input.detach().sum()) < 1e9
            return input.square().sum()

    few, many = (
        operations_of_training(MODELS["noisy"](), dataset, loss=Looking(), iters_per_epoch=steps) for steps in (1, 4)
    )
    assert many.counts[WAIT] == few.counts[WAIT] + 3


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("make", [MODELS["deep, tied"], MODELS["factorization"], Plain], ids=["deep", "mf", "plain"])
def test_recommending_holds_scores_of_a_block_only(make, precision, matrix, monkeypatch):
    at_once = 25 * NUM_ITEMS
    monkeypatch.setattr(search, "_BLOCK_SCORES", at_once)
    monkeypatch.setattr(scoring, "BLOCK_SCORES", at_once)
    recoder = Recoder(make(), loss="logistic", precision=precision, seed=1, optimizer_type="adam")
    recoder.train(RecommendationDataset(matrix), batch_size=128)
    with Operations() as operations:
        lists = recoder.recommend(UsersInteractions(np.arange(NUM_USERS), matrix), 10)
    assert [len(items) for items in lists] == [10] * NUM_USERS
    size, name = operations.largest
    assert size == at_once, name


@pytest.mark.parametrize("products_for_a_sum", [0, 10**9], ids=["sums", "products"])
def test_scores_by_what_users_share_are_held_a_block_at_a_time(products_for_a_sum, monkeypatch):
    known, asked = (sparse.random(users, 500, 0.05, "csr", np.float32, users).sign() for users in (40, 300))
    at_once = 25 * 500
    monkeypatch.setattr(scoring, "BLOCK_SCORES", at_once)
    monkeypatch.setattr(ease_weights, "_WEIGHTS_AT_ONCE", at_once)
    monkeypatch.setattr(ease_weights, "_AT_ONCE", 25)
    monkeypatch.setattr(ease_weights, "_PRODUCTS_FOR_A_SUM", products_for_a_sum)
    recoder = Recoder(EASE(10.0), seed=1)
    recoder.train(RecommendationDataset(known))
    with Operations() as operations:
        recoder.recommend(UsersInteractions(np.arange(300), asked), 10)
    size, name = operations.largest
    assert size == at_once, name


class Memory(TorchDispatchMode):
    """Follows the bytes that operations allocate and that are still in use, and their peak.

    Args:
        known: tensors that were there before.
    """

    def __init__(self, known):
        super().__init__()
        self.live = self.peak = 0
        self._storages = weakref.WeakSet(tensor.untyped_storage() for tensor in known)

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for part in strided_parts(result):
            self._see(part.untyped_storage())
        return result

    def _see(self, storage):
        if storage in self._storages:
            return
        self._storages.add(storage)
        self.live += storage.nbytes()
        self.peak = max(self.peak, self.live)
        weakref.finalize(storage, self._forget, storage.nbytes())

    def _forget(self, size):
        self.live -= size


def test_memory_is_followed_through_views_until_it_is_free():
    known = torch.zeros(1000)
    with Memory([known]) as memory:
        first = torch.zeros(10)
        view = first[2:]
        torch.add(known, 1, out=known)
        del first
        assert (memory.live, memory.peak) == (40, 40)
        second = torch.zeros(5)
        del view
        assert (memory.live, memory.peak) == (20, 60)
        del second
    assert (memory.live, memory.peak) == (0, 60)


def large_batch(num_users, num_items, negative_sampling):
    """Few interactions, but all items are candidates."""
    cols = np.random.default_rng(0).integers(0, num_items, size=num_users * 40)
    rows = np.repeat(np.arange(num_users), 40)
    matrix = sparse.csr_matrix((np.ones(len(cols), dtype=np.float32), (rows, cols)), shape=(num_users, num_items))
    matrix.data[:] = 1
    (batch,) = BatchCollator(num_users).collate(UsersInteractions(np.arange(num_users), matrix))
    items = torch.arange(num_items) if negative_sampling else None
    return Batch(batch.users, items, batch.indices, batch.values, batch.size)


def optimizer_with_its_state(model):
    optimizer = ModelOptimizer(model, "adam", 0.0)
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step(0.01)
    optimizer.zero_grad()
    return optimizer


@pytest.mark.parametrize(
    ("params", "negative_sampling", "loss"),
    [
        ({"sparse": True}, True, "mse"),
        ({"sparse": True}, True, "logloss"),
        ({}, False, "logistic"),
        ({}, True, "mse"),
        ({"sparse": True}, True, "logistic"),
    ],
)
def test_a_step_takes_less_than_64_mib_beyond_parameters_gradients_and_optimizer(params, negative_sampling, loss):
    num_users, num_items, num_factors = 500, 200_000, 90
    assert num_items * num_factors * 4 > 64 << 20  # so that one more table would show
    model = DynamicAutoencoder([num_factors], **params)
    draw_parameters(model, num_items=num_items, num_users=None, seed=0)
    batch = large_batch(num_users, num_items, negative_sampling)
    batch_loss, optimizer = BatchLoss(model, make_loss(loss, None)), optimizer_with_its_state(model)
    batch_loss.prepared((batch, None))
    state = [value for entries in optimizer.state().values() for value in entries.values()]
    with Memory([*model.parameters(), *state, batch.rows.cols, batch.rows.values, batch.rows.offsets]) as memory:
        batch_loss.backward(batch, None)
        optimizer.step(0.01)
    gradients = {part.untyped_storage() for part in strided_parts([parameter.grad for parameter in model.parameters()])}
    assert memory.peak - sum(storage.nbytes() for storage in gradients) < 64 << 20
