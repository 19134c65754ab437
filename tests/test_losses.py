from __future__ import annotations

import inspect
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy import sparse
from torch import nn

from recoder.data import RecommendationDataset
from recoder.errors import ConfigError, DataError
from recoder.losses import (
    LogisticLoss,
    MSELoss,
    MultinomialNLLLoss,
    check_targets,
    dense_form,
    fused_form,
    make_loss,
)
from recoder.model import Recoder
from recoder.nn import DynamicAutoencoder
from recoder.ops.rows import SparseRows
from recoder.ops.score_losses import Logistic, Multinomial, SquaredError

X = torch.tensor([[0.5, -1.0, 2.0], [0.0, 3.0, -0.25]], dtype=torch.float64)
Y = torch.tensor([[1.0, 0.0, 0.5], [0.0, 1.0, 0.25]], dtype=torch.float64)

LOSSES = [MSELoss, LogisticLoss, MultinomialNLLLoss]


def mse_by_hand(confidence):
    return [[(1 + confidence * y) * (y - x) ** 2 for x, y in zip(xs, ys, strict=True)] for xs, ys in rows()]


def logistic_by_hand():
    def entry(x, y):
        sigmoid = 1 / (1 + math.exp(-x))
        return -y * math.log(sigmoid) - (1 - y) * math.log(1 - sigmoid)

    return [[entry(x, y) for x, y in zip(xs, ys, strict=True)] for xs, ys in rows()]


def multinomial_by_hand():
    return [
        [-y * (x - math.log(sum(math.exp(other) for other in xs))) for x, y in zip(xs, ys, strict=True)]
        for xs, ys in rows()
    ]


def rows():
    return list(zip(X.tolist(), Y.tolist(), strict=True))


def by_hand(loss):
    if isinstance(loss, MSELoss):
        values = mse_by_hand(loss.confidence)
    else:
        values = logistic_by_hand() if isinstance(loss, LogisticLoss) else multinomial_by_hand()
    return torch.tensor(values, dtype=torch.float64)


def makers():
    return [lambda **kw: MSELoss(**kw), lambda **kw: MSELoss(2.5, **kw), *LOSSES[1:]]


@pytest.mark.parametrize("make", makers(), ids=["mse", "mse with confidence", "logistic", "multinomial"])
def test_each_loss_is_its_formula(make):
    loss = make(reduction="none")
    torch.testing.assert_close(loss(X, Y), by_hand(loss))


@pytest.mark.parametrize("make", makers(), ids=["mse", "mse with confidence", "logistic", "multinomial"])
def test_reductions_are_the_sum_and_the_mean_over_entries(make):
    entries = by_hand(make())
    torch.testing.assert_close(make(reduction="sum")(X, Y), entries.sum())
    torch.testing.assert_close(make(reduction="elementwise_mean")(X, Y), entries.mean())
    torch.testing.assert_close(make(reduction="mean")(X, Y), entries.mean())
    torch.testing.assert_close(make()(X, Y), entries.mean())


def test_arguments_and_defaults_are_the_documented_ones():
    def defaults(loss):
        return {name: p.default for name, p in inspect.signature(loss).parameters.items()}

    assert defaults(MSELoss) == {"confidence": 0, "reduction": "elementwise_mean"}
    assert defaults(MultinomialNLLLoss) == {"reduction": "elementwise_mean"}


def test_logistic_loss_is_that_of_torch():
    torch.testing.assert_close(LogisticLoss("sum")(X, Y), nn.BCEWithLogitsLoss(reduction="sum")(X, Y))


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("reduction", ["avg", "", None])
def test_unknown_reduction_is_an_error(loss, reduction):
    with pytest.raises(ConfigError, match=r"unknown reduction .*elementwise_mean"):
        loss(reduction=reduction)


@pytest.mark.parametrize("confidence", [-1, float("inf"), float("nan")])
def test_confidence_must_be_finite_and_not_negative(confidence):
    with pytest.raises(ConfigError, match="confidence"):
        MSELoss(confidence)


@pytest.mark.parametrize(
    ("name", "params", "kind"),
    [
        ("mse", None, MSELoss),
        ("mse", {"confidence": 3}, MSELoss),
        ("logistic", {}, LogisticLoss),
        ("logloss", None, MultinomialNLLLoss),
    ],
)
def test_losses_by_name_are_sums(name, params, kind):
    loss = make_loss(name, params)
    assert type(loss) is kind
    assert loss.reduction == "sum"
    assert getattr(loss, "confidence", 0) == (params or {}).get("confidence", 0)


@pytest.mark.parametrize("loss", ["bce", "MSE", None, ["mse"], 3, nn.MSELoss])
def test_unknown_loss_is_an_error(loss):
    with pytest.raises(ConfigError, match=r"unknown loss .*mse, logistic, logloss"):
        make_loss(loss, None)


@pytest.mark.parametrize(
    ("loss", "params"),
    [("mse", {"alpha": 1}), ("logistic", {"confidence": 1}), ("logloss", {"reduction": "mean"})],
)
def test_unknown_loss_parameter_is_an_error_that_names_it(loss, params):
    with pytest.raises(ConfigError, match=next(iter(params))):
        make_loss(loss, params)


def test_module_with_a_sum_reduction_is_taken_as_it_is_and_its_params_ignored():
    loss = nn.MSELoss(reduction="sum")
    assert make_loss(loss, {"anything": 1}) is loss
    own = nn.Identity()
    assert make_loss(own, None) is own


@pytest.mark.parametrize("loss", [nn.MSELoss(), MSELoss(), nn.BCEWithLogitsLoss(reduction="none")])
def test_module_with_another_reduction_is_an_error(loss):
    with pytest.raises(ConfigError, match="reduction='sum'"):
        make_loss(loss, None)


class Doubled(MSELoss):
    def forward(self, input, target):
        return 2 * super().forward(input, target)


@pytest.mark.parametrize("loss", [MSELoss(1.5, "sum"), LogisticLoss("sum"), MultinomialNLLLoss("sum")])
def test_dense_form_of_a_loss_agrees_with_it(loss):
    torch.testing.assert_close(dense_form(loss)(X, SparseRows.from_dense(Y)), loss(X, Y))


def test_only_the_library_classes_themselves_have_a_fused_form():
    assert fused_form(MSELoss(1.5, "sum")) == SquaredError(1.5)
    assert fused_form(LogisticLoss("sum")) == Logistic()
    assert fused_form(MultinomialNLLLoss("sum")) == Multinomial()
    assert fused_form(Doubled(reduction="sum")) is None
    assert fused_form(nn.MSELoss(reduction="sum")) is None


def test_dense_form_gives_a_target_of_the_dtype_and_width_of_the_scores():
    seen = []

    class Recording(nn.Module):
        def forward(self, input, target):
            seen.append(target)
            return (input - target).sum()

    narrow = SparseRows.from_dense(Y[:, :2].float())
    dense_form(Recording())(X, narrow)
    assert torch.equal(seen[0], torch.cat([Y[:, :2], torch.zeros(2, 1, dtype=torch.float64)], dim=1))


@pytest.mark.parametrize("returned", [X, X.sum(dim=1), 3.0, None])
def test_module_that_returns_more_or_less_than_one_number_is_an_error(returned):
    class Own(nn.Module):
        def forward(self, input, target):
            return returned

    with pytest.raises(ConfigError, match="Own returned"):
        dense_form(Own())(X, SparseRows.from_dense(Y))


@pytest.mark.parametrize("loss", [LogisticLoss("sum"), nn.BCEWithLogitsLoss(reduction="sum")])
def test_logistic_targets_above_1_are_an_error_that_says_what_to_do(loss):
    check_targets(loss, np.array([0.5, 1], np.float32), "train_dataset")
    check_targets(loss, np.array([], np.float32), "train_dataset")
    with pytest.raises(DataError, match=r"largest of train_dataset is 5; .*binarize.*confidence"):
        check_targets(loss, np.array([1, 5], np.float32), "train_dataset")


@pytest.mark.parametrize("loss", [MSELoss(reduction="sum"), MultinomialNLLLoss("sum"), nn.MSELoss(reduction="sum")])
def test_other_losses_take_targets_above_1(loss):
    check_targets(loss, np.array([1, 5], np.float32), "train_dataset")


def test_the_logistic_loss_takes_the_parameters_of_torchs():
    loss = make_loss("logistic", {"pos_weight": 3, "weight": 0.5})
    scores, targets = torch.tensor([[1.0, -2.0]]), torch.tensor([[1.0, 0.0]])
    expected = 0.5 * (3 * F.softplus(-scores[0, 0]) + F.softplus(scores[0, 1]))
    torch.testing.assert_close(loss(scores, targets), expected)
    for wrong in (-1.0, math.nan, "3", True, [1.0, 2.0]):
        with pytest.raises(ConfigError, match="pos_weight is"):
            make_loss("logistic", {"pos_weight": wrong})


def test_a_model_with_a_weight_for_interactions_is_trained_saved_and_goes_on(tmp_path):
    data = RecommendationDataset(sparse.random(20, 9, 0.3, "csr", np.float32, np.random.default_rng(0), np.ones))
    runs = []
    for stop in (None, 1):
        made = Recoder(
            DynamicAutoencoder([4]), optimizer_type="adam", loss="logistic", loss_params={"pos_weight": 3.0}, seed=1
        )
        if stop:
            made.train(data, num_epochs=stop, lr=0.01)
            path = made.save_state(tmp_path / "m")
            made = Recoder(DynamicAutoencoder([4]), optimizer_type="adam", loss="logistic", seed=9)
            made.init_from_model_file(path)
            assert made.loss_params == {"pos_weight": 3.0}
        made.train(data, num_epochs=2, lr=0.01)
        runs.append(made)
    for name, tensor in runs[0].model.state_dict().items():
        assert torch.equal(tensor, runs[1].model.state_dict()[name]), name
