from __future__ import annotations

import copy
from contextlib import nullcontext

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from recoder.errors import ConfigError, FileFormatError
from recoder.nn import DynamicAutoencoder, MatrixFactorization
from recoder.training.optimizers import OPTIMIZER_TYPES, ModelOptimizer
from recoder.training.updates import StepOptions, update_by_adam

LR, DECAY = 0.05, 0.1


class Dense(nn.Module):
    def __init__(self):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.layers = nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 2))
        self.double()

    def loss(self, step):
        x = torch.randn(5, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(step))
        return (self.layers(x) - 1).square().sum()


class Table(nn.Module):
    """A table of the user's own, and a dense weight."""

    def __init__(self, kind):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            if kind == "embedding":
                self.table = nn.Embedding(8, 3, sparse=True)
            elif kind == "bag":
                self.table = nn.EmbeddingBag(8, 3, mode="sum", sparse=True)
            else:  # nothing tells beforehand that its gradient will be sparse
                self.bare = nn.Parameter(torch.randn(8, 3))
            self.weight = nn.Parameter(torch.randn(3))
        self.double()

    def loss(self, step):
        ids = torch.tensor([[1, 2], [2, 5], [step % 8, 0]])
        is_bare = "bare" in self._parameters
        rows = F.embedding(ids, self.bare, sparse=True).sum(dim=1) if is_bare else self.table(ids)
        return (rows @ self.weight - 2).square().sum()

    def whole(self):
        return self.table.weight if hasattr(self, "table") else self.bare


def take_steps(model, optimizer, steps, lr=LR):
    for step in steps:
        optimizer.zero_grad()
        model.loss(step).backward()
        optimizer.step(lr)


def torch_optimizer(optimizer_type, groups):
    makers = {
        "sgd": lambda: torch.optim.SGD(groups, lr=LR, momentum=0.9),
        "adam": lambda: torch.optim.Adam(groups, lr=LR),
        "adagrad": lambda: torch.optim.Adagrad(groups, lr=LR),
        "rmsprop": lambda: torch.optim.RMSprop(groups, lr=LR, momentum=0.9),
        "rowwise_adagrad": lambda: torch.optim.Adagrad(groups, lr=LR),  # of parameters that are no tables
    }
    return makers[optimizer_type]()


@pytest.mark.parametrize("optimizer_type", OPTIMIZER_TYPES)
def test_each_type_is_that_of_torch_with_l2_on_all_but_biases(optimizer_type):
    ours, theirs = Dense(), Dense()
    optimizer = ModelOptimizer(ours, optimizer_type, DECAY)
    weights = [theirs.layers[0].weight, theirs.layers[2].weight]
    biases = [theirs.layers[0].bias, theirs.layers[2].bias]
    reference = torch_optimizer(
        optimizer_type, [{"params": weights, "weight_decay": DECAY}, {"params": biases, "weight_decay": 0.0}]
    )
    for step in range(6):
        take_steps(ours, optimizer, [step])
        reference.zero_grad()
        theirs.loss(step).backward()
        reference.step()
    for ours_p, theirs_p in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(ours_p, theirs_p, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("optimizer_type", OPTIMIZER_TYPES)
def test_learning_rate_of_a_step_reaches_every_parameter(optimizer_type):
    model = Dense()
    optimizer = ModelOptimizer(model, optimizer_type, DECAY)
    before = copy.deepcopy(model.state_dict())
    take_steps(model, optimizer, [0], lr=0.0)
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name])
    take_steps(model, optimizer, [1])
    for name, value in model.state_dict().items():
        assert (value != before[name]).all()


def test_learning_rate_reaches_tables_too():
    model = MatrixFactorization(3, sparse=True)
    model.init_model(num_items=5, num_users=4)
    optimizer = ModelOptimizer(model, "adam", 0.0)
    before = copy.deepcopy(model.state_dict())
    for lr in (0.0, 0.1):
        optimizer.zero_grad()
        model(None, torch.tensor([0, 3]), target_items=torch.tensor([1, 2])).square().sum().backward()
        optimizer.step(lr)
        unchanged = [torch.equal(value, before[name]) for name, value in model.state_dict().items()]
        assert all(unchanged) if lr == 0 else not any(unchanged)


@pytest.mark.parametrize("kind", ["embedding", "bag", "bare"])
@pytest.mark.parametrize("weight_decay", [0.0, DECAY])
def test_sparse_gradients_in_a_users_own_model_are_found_and_update_rows(kind, weight_decay):
    model, reference_model = Table(kind), Table(kind)
    optimizer = ModelOptimizer(model, "adam", weight_decay)
    state = {}
    dense = torch.optim.Adam([reference_model.weight], lr=LR, weight_decay=weight_decay)
    for step in range(5):
        take_steps(model, optimizer, [step])
        reference_model.zero_grad()
        reference_model.loss(step).backward()
        with torch.no_grad():
            table = reference_model.whole()
            update_by_adam(table, table.grad, state, StepOptions(LR, weight_decay))
        dense.step()
    assert model.whole().grad.is_sparse
    torch.testing.assert_close(model.whole(), reference_model.whole(), rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(model.weight, reference_model.weight, rtol=1e-9, atol=1e-12)
    assert torch.equal(model.whole()[7], Table(kind).whole()[7])


def rowwise_adagrad(table, sums, gradient, weight_decay, rows):
    """Exact row-wise Adagrad of some rows, without this library."""
    slopes = gradient[rows] + weight_decay * table[rows]
    sums[rows] += (slopes**2).mean(1)
    table[rows] -= LR * slopes / (sums[rows].sqrt() + 1e-10).unsqueeze(1)


@pytest.mark.parametrize("kind", ["embedding", "bag", "bare"])
@pytest.mark.parametrize("weight_decay", [0.0, DECAY])
def test_rowwise_adagrad_keeps_a_number_for_each_row_and_touches_those_of_the_gradient(kind, weight_decay):
    model, reference = Table(kind), Table(kind)
    optimizer = ModelOptimizer(model, "rowwise_adagrad", weight_decay)
    weight = torch.optim.Adagrad([reference.weight], lr=LR, weight_decay=weight_decay)
    sums = torch.zeros(8, dtype=torch.float64)
    for step in range(5):
        take_steps(model, optimizer, [step])
        reference.zero_grad()
        reference.loss(step).backward()
        rows = torch.tensor(sorted({0, 1, 2, 5, step % 8}))
        with torch.no_grad():
            table = reference.whole()
            rowwise_adagrad(table, sums, table.grad.to_dense(), weight_decay, rows)
        weight.step()
    torch.testing.assert_close(model.whole(), reference.whole(), rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(model.weight, reference.weight, rtol=1e-9, atol=1e-12)
    state = {name.rpartition(".")[0] or name: entries["sum"].shape for name, entries in optimizer.state().items()}
    assert state == {"weight": (3,), **({"bare": (8,)} if kind == "bare" else {"table": (8,)})}


@pytest.mark.parametrize("weight_decay", [0.0, DECAY])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_rowwise_adagrad_of_a_model_whose_gradients_are_not_sparse_updates_every_row(weight_decay, dtype):
    model = DynamicAutoencoder([3])
    model.init_model(num_items=6)
    model.to(dtype)
    optimizer = ModelOptimizer(model, "rowwise_adagrad", weight_decay)
    expected = {name: value.detach().clone() for name, value in model.named_parameters()}
    sums = {name: torch.zeros(len(value), dtype=dtype) for name, value in expected.items()}
    items = torch.tensor([1, 4])
    for _ in range(3):
        for by_rows in (optimizer.row_gradients(), nullcontext()):
            optimizer.zero_grad()
            with by_rows:
                model(torch.ones(2, 2, dtype=dtype), input_items=items, target_items=items).square().sum().backward()
            for name, parameter in model.named_parameters():
                if parameter.dim() > 1:
                    rowwise_adagrad(expected[name], sums[name], parameter.grad.to_dense(), weight_decay, slice(None))
            optimizer.step(LR)
            for name, parameter in model.named_parameters():
                if parameter.dim() > 1:
                    torch.testing.assert_close(parameter.data, expected[name], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("optimizer_type", ["adam", "rowwise_adagrad"])
def test_sparse_and_dense_gradients_end_alike_where_all_rows_have_one(optimizer_type):
    class All(Table):
        def loss(self, step):
            return (F.embedding(torch.arange(8), self.bare, sparse=self.is_sparse) @ self.weight - 2).square().sum()

    def trained(is_sparse):
        model = All("bare")
        model.is_sparse = is_sparse
        optimizer = ModelOptimizer(model, optimizer_type, DECAY)
        if not is_sparse:  # nothing else tells that it is a table
            optimizer._rows = {model.bare: None}
        take_steps(model, optimizer, range(6))
        return model.bare

    torch.testing.assert_close(trained(True), trained(False), rtol=1e-12, atol=1e-14)


def test_moments_of_tables_alone_are_bfloat16():
    model = MatrixFactorization(3, sparse=True)
    model.init_model(num_items=5, num_users=4)
    model.register_parameter("dense", nn.Parameter(torch.ones(3, 2)))
    optimizer = ModelOptimizer(model, "adam", 0.0, state_precision="bf16")
    scores = model(None, torch.tensor([0, 3]), target_items=torch.tensor([1, 2]))
    (scores.square().sum() + model.dense.square().sum()).backward()
    optimizer.step(LR)
    dtypes = {
        name: {entries[key].dtype for key in ("exp_avg", "exp_avg_sq")} for name, entries in optimizer.state().items()
    }
    rounded = {name: {torch.bfloat16} for name in ("users.weight", "items.weight", "items.bias")}
    assert dtypes == {**rounded, "dense": {torch.float32}}


def test_moments_in_bfloat16_end_near_those_in_float32_and_repeat_with_the_seed():
    def trained(seed=1, **options):
        model = Table("embedding")
        take_steps(model, ModelOptimizer(model, "adam", DECAY, seed=seed, **options), range(30), lr=0.01)
        return model.whole().detach()

    rounded, exact = trained(state_precision="bf16"), trained()
    assert torch.equal(rounded, trained(state_precision="bf16"))
    assert not torch.equal(rounded, trained(seed=2, state_precision="bf16"))
    assert not torch.equal(rounded, exact)
    torch.testing.assert_close(rounded, exact, atol=0.02, rtol=0)


@pytest.mark.parametrize(
    ("optimizer_type", "state_precision", "words"),
    [
        ("sgd", "bf16", "'bf16' is for the moments of optimizer_type 'adam', not for 'sgd'"),
        ("rowwise_adagrad", "bf16", "not for 'rowwise_adagrad'"),
        ("adam", "int8", "unknown optimizer_state 'int8'; choose one of fp32, bf16"),
        ("adam", None, "unknown optimizer_state None"),
    ],
)
def test_how_a_state_cannot_be_kept_is_said(optimizer_type, state_precision, words):
    with pytest.raises(ConfigError, match=words):
        ModelOptimizer(Dense(), optimizer_type, 0.0, state_precision=state_precision)


@pytest.mark.parametrize("kind", ["embedding", "bag", "bare"])
@pytest.mark.parametrize("optimizer_type", ["sgd", "adagrad", "rmsprop"])
def test_sparse_gradients_with_another_optimizer_are_an_error_that_says_what_to_do(kind, optimizer_type):
    model = Table(kind)
    words = rf"sparse gradients, .*'{optimizer_type}'.*'adam' or 'rowwise_adagrad'.*sparse=False"
    with pytest.raises(ConfigError, match=words):
        take_steps(model, ModelOptimizer(model, optimizer_type, 0.0), [0])


def sparse_autoencoder():
    model = DynamicAutoencoder([3], sparse=True)
    model.init_model(num_items=5)
    return model


@pytest.mark.parametrize("make", [lambda: Table("embedding"), lambda: Table("bag"), sparse_autoencoder])
@pytest.mark.parametrize("optimizer_type", ["sgd", "adagrad", "rmsprop"])
def test_layers_that_say_they_are_sparse_are_refused_before_the_first_step(make, optimizer_type):
    model = make()
    with pytest.raises(ConfigError, match="sparse gradients"):
        ModelOptimizer(model, optimizer_type, 0.0)


@pytest.mark.parametrize("optimizer_type", OPTIMIZER_TYPES)
def test_frozen_tables_do_not_matter(optimizer_type):
    model = Table("embedding")
    model.table.weight.requires_grad_(False)
    before = model.table.weight.clone()
    take_steps(model, ModelOptimizer(model, optimizer_type, DECAY), range(3))
    assert torch.equal(model.table.weight, before)
    assert not torch.equal(model.weight, Table("embedding").weight)


def test_a_gradient_that_turns_sparse_later_keeps_its_moments():
    class Late(Table):
        def loss(self, step):
            # every row each time, so that both ways are Adam
            ids = torch.arange(8)
            rows = F.embedding(ids, self.bare, sparse=step >= self.first_sparse)
            return (rows @ self.weight - 2).square().sum()

    def weights(first_sparse):
        model = Late("bare")
        model.first_sparse = first_sparse
        take_steps(model, ModelOptimizer(model, "adam", DECAY), range(6))
        return model.bare

    torch.testing.assert_close(weights(3), weights(100), rtol=1e-12, atol=1e-14)


def test_a_model_of_which_every_gradient_turns_out_sparse_trains():
    class Only(nn.Module):
        def __init__(self):
            super().__init__()
            self.bare = nn.Parameter(torch.ones(4, 2))

        def loss(self, step):
            return F.embedding(torch.tensor([1, 3]), self.bare, sparse=True).square().sum()

    model = Only()
    take_steps(model, ModelOptimizer(model, "adam", 0.0), range(3))
    assert model.bare[[0, 2]].tolist() == [[1, 1], [1, 1]]
    assert (model.bare[[1, 3]] < 1).all()


def build(kind):
    return Dense() if kind == "dense" else Table(kind)


@pytest.mark.parametrize(
    ("kind", "optimizer_type"),
    [
        *(("dense", kind) for kind in OPTIMIZER_TYPES),
        *((kind, of_rows) for kind in ("embedding", "bag", "bare") for of_rows in ("adam", "rowwise_adagrad")),
    ],
)
def test_state_that_is_saved_and_loaded_goes_on_exactly(kind, optimizer_type):
    undisturbed = build(kind)
    take_steps(undisturbed, ModelOptimizer(undisturbed, optimizer_type, DECAY), range(6))

    first = build(kind)
    optimizer = ModelOptimizer(first, optimizer_type, DECAY)
    take_steps(first, optimizer, range(3))
    state = copy.deepcopy(optimizer.state())
    resumed = build(kind)
    resumed.load_state_dict(first.state_dict())
    optimizer = ModelOptimizer(resumed, optimizer_type, DECAY)
    optimizer.load(state)
    take_steps(resumed, optimizer, range(3, 6))
    for name, value in resumed.state_dict().items():
        assert torch.equal(value, undisturbed.state_dict()[name]), name


def test_state_is_tensors_by_parameter_name():
    model = Table("embedding")
    optimizer = ModelOptimizer(model, "adam", 0.0)
    take_steps(model, optimizer, range(2))
    state = optimizer.state()
    assert set(state) == {"table.weight", "weight"}
    for entries in state.values():
        assert set(entries) == {"step", "exp_avg", "exp_avg_sq"}
        assert all(isinstance(value, torch.Tensor) for value in entries.values())
        assert entries["step"] == 2


@pytest.mark.parametrize("optimizer_type", OPTIMIZER_TYPES)
def test_state_before_the_first_step_loads_as_a_fresh_start(optimizer_type):
    fresh, model = Dense(), Dense()
    optimizer = ModelOptimizer(model, optimizer_type, DECAY)
    optimizer.load(copy.deepcopy(ModelOptimizer(Dense(), optimizer_type, DECAY).state()))
    take_steps(model, optimizer, range(2))
    take_steps(fresh, ModelOptimizer(fresh, optimizer_type, DECAY), range(2))
    for name, value in model.state_dict().items():
        assert torch.equal(value, fresh.state_dict()[name])


def test_a_loaded_state_is_not_there_twice():
    model = Dense()
    optimizer = ModelOptimizer(model, "adam", 0.0)
    take_steps(model, optimizer, [0])
    state = copy.deepcopy(optimizer.state())
    optimizer.load(state)
    take_steps(model, optimizer, [1])
    assert optimizer.state()["layers.0.weight"]["exp_avg"] is state["layers.0.weight"]["exp_avg"]


def adam_state(*shape):
    return {"step": torch.tensor(1.0), "exp_avg": torch.zeros(shape), "exp_avg_sq": torch.zeros(shape)}


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ({"missing": adam_state(3, 4)}, "'missing' that the model does not have"),
        ({"layers.0.bias": adam_state(3, 4)}, r"of 'layers.0.bias' has shape \(3, 4\), the parameter \(3,\)"),
        ({"layers.0.bias": adam_state(3) | {"step": torch.zeros(3)}}, r"step of 'layers.0.bias' has shape \(3,\)"),
        ({"layers.0.bias": {"step": torch.tensor(1.0)}}, "'layers.0.bias' lacks exp_avg, which adam needs"),
    ],
)
def test_state_of_another_model_is_an_error(state, words):
    with pytest.raises(FileFormatError, match=words):
        ModelOptimizer(Dense(), "adam", 0.0).load(state)


def test_a_state_of_other_numbers_or_shapes_than_this_optimizer_keeps_is_an_error():
    model = Table("embedding")
    state = {"step": torch.tensor(1.0), **{key: torch.zeros(8, 3).double() for key in ("exp_avg", "exp_avg_sq")}}
    rounded = {key: value if key == "step" else value.bfloat16() for key, value in state.items()}
    ModelOptimizer(model, "adam", 0.0).load({"table.weight": dict(state)})
    ModelOptimizer(model, "adam", 0.0, state_precision="bf16").load({"table.weight": dict(rounded)})
    with pytest.raises(FileFormatError, match=r"exp_avg of 'table.weight' holds torch.bfloat16, not torch.float64"):
        ModelOptimizer(model, "adam", 0.0).load({"table.weight": rounded})
    with pytest.raises(FileFormatError, match=r"exp_avg of 'table.weight' holds torch.float64, not torch.bfloat16"):
        ModelOptimizer(model, "adam", 0.0, state_precision="bf16").load({"table.weight": state})
    with pytest.raises(FileFormatError, match=r"sum of 'table.weight' has shape \(3,\), the parameter \(8, 3\)"):
        ModelOptimizer(model, "rowwise_adagrad", 0.0).load({"table.weight": {"sum": torch.zeros(3).double()}})


@pytest.mark.parametrize("optimizer_type", ["adamw", "SGD", "", None])
def test_unknown_type_is_an_error_that_names_the_known_ones(optimizer_type):
    with pytest.raises(ConfigError, match="sgd, adam, adagrad, rmsprop"):
        ModelOptimizer(Dense(), optimizer_type, 0.0)


def test_a_model_without_parameters_is_an_error():
    with pytest.raises(ConfigError, match="no parameters to train"):
        ModelOptimizer(nn.Tanh(), "sgd", 0.0)


def test_tied_tables_are_one_parameter():
    model = DynamicAutoencoder([3], is_constrained=True, sparse=True)
    model.init_model(num_items=6)
    optimizer = ModelOptimizer(model, "adam", 0.0)
    items = torch.tensor([1, 4])
    model(torch.ones(2, 2), input_items=items, target_items=items).square().sum().backward()
    optimizer.step(LR)
    assert set(optimizer.state()) == {"item_sum.table.weight", "input_bias", "items.bias"}
    assert optimizer.state()["item_sum.table.weight"]["step"] == 1


@pytest.mark.parametrize("optimizer_type", ["sgd", "adam", "adagrad", "rmsprop", "rowwise_adagrad"])
def test_the_layout_of_a_parameter_in_memory_does_not_matter(optimizer_type):
    class Own(torch.nn.Module):
        def __init__(self, values):
            super().__init__()
            self.weight = torch.nn.Parameter(values)

    generator = torch.Generator().manual_seed(0)
    base = torch.randn(5, 8, generator=generator)
    around = base.clone()
    layouts = [base.T, around[:, 2:6]]
    for values in layouts:
        outside = around[:, :2].clone()
        ours, theirs = Own(values), Own(values.clone(memory_format=torch.contiguous_format))
        assert not ours.weight.is_contiguous()
        optimizers = [ModelOptimizer(model, optimizer_type, weight_decay=0.1) for model in (ours, theirs)]
        for _ in range(3):
            gradient = torch.randn(values.shape, generator=generator)
            for model, optimizer in zip((ours, theirs), optimizers, strict=True):
                model.weight.grad = gradient.clone()
                optimizer.step(0.1)
        torch.testing.assert_close(ours.weight, theirs.weight, rtol=0, atol=0)
        assert torch.equal(around[:, :2], outside)
