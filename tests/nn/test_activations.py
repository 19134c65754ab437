from __future__ import annotations

import threading
import time
import warnings

import pytest
import torch
import torch.nn.functional as F

from recoder.errors import ConfigError
from recoder.nn import activations
from recoder.nn.activations import activation

X = torch.tensor([[-2.0, -0.5, 0.0], [0.25, 1.0, 7.0]])


def test_none_is_the_identity():
    assert activation("none")(X) is X


@pytest.mark.parametrize(
    "name",
    [
        *("relu", "relu6", "elu", "selu", "celu", "leaky_relu", "rrelu", "gelu", "silu", "mish", "tanh", "sigmoid"),
        *("logsigmoid", "hardtanh", "hardsigmoid", "hardswish", "hardshrink", "softshrink", "tanhshrink"),
        *("softplus", "softsign"),
    ],
)
def test_every_element_wise_activation_of_torch_nn_functional_has_its_name(name):
    assert torch.equal(activation(name)(X), getattr(F, name)(X))


@pytest.mark.parametrize("name", ["softmax", "softmin", "log_softmax"])
def test_a_softmax_is_over_the_units_of_each_user(name):
    assert torch.equal(activation(name)(X), torch.stack([getattr(F, name)(row, dim=0) for row in X]))


@pytest.mark.parametrize("name", ["sin", "exp", "square", "asinh", "erf", "sqrt"])
def test_element_wise_functions_of_torch_have_their_names(name):
    assert torch.equal(activation(name)(X.abs()), getattr(torch, name)(X.abs()))


@pytest.mark.parametrize(
    "name",
    [
        *("softmax_x", "", "Tanh", "__name__", "tanh ", "nn.ReLU", None, 3),
        *("glu", "linear", "threshold", "sum", "cat", "pdist"),  # other shapes, or more arguments
        *("normalize", "cumsum", "msort", "t", "flip"),  # not element by element
        *("dropout", "dropout1d", "dropout2d", "bernoulli", "rand_like"),  # at random
        *("isnan", "signbit"),  # no numbers
        *("float32", "Tensor", "nn", "warnings", "pi"),  # no functions
        *("load", "save", "compile", "manual_seed", "set_default_dtype", "eval", "import_ir_module"),  # not of tensors
    ],
)
def test_what_is_no_element_wise_function_is_an_error(name):
    with pytest.raises(ConfigError, match="unknown activation"):
        activation(name)


def test_no_name_in_torch_warns_draws_or_does_anything_but_answer():
    state, dtype = torch.get_rng_state(), torch.get_default_dtype()
    accepted = []
    for name in sorted({*dir(F), *dir(torch)}):
        try:
            accepted.append(activation(name))
        except ConfigError:
            continue
    assert len(accepted) > 50
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.get_default_dtype() == dtype
    for function in accepted:
        assert function(X).shape == X.shape


def test_functions_that_two_threads_try_leave_warnings_and_the_generator_as_they_were():
    def slow(x):
        if x.dim():
            torch.rand(1)
            time.sleep(0.1)
        return x

    filters, state = list(warnings.filters), torch.get_rng_state()
    threads = [threading.Thread(target=activations._is_element_wise, args=(slow,)) for _ in range(2)]
    for thread in threads:
        thread.start()
        time.sleep(0.05)  # the first one ends while the second one tries
    for thread in threads:
        thread.join()
    assert list(warnings.filters) == filters
    assert torch.equal(torch.get_rng_state(), state)
