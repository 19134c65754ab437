"""Activation functions by name."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import get_overridable_functions

from recoder._quiet import quiet
from recoder.errors import ConfigError

__all__ = ["activation"]

_BY_ROW = ("softmax", "softmin", "log_softmax")


def activation(name: str) -> Callable[[Tensor], Tensor]:
    """Returns the element-wise function ``name`` of ``torch.nn.functional`` or ``torch``; ``'none'`` is the identity.

    ``'softmax'``, ``'softmin'`` and ``'log_softmax'`` are taken over the units of each user.

    Raises:
        ConfigError: if there is no such function, or it does more than map each number by itself to another.
    """
    if name == "none":
        return _identity
    if name in _BY_ROW:
        return partial(getattr(F, name), dim=-1)
    function = _tensor_function(name) if isinstance(name, str) else None
    if function is None or not _is_element_wise(function):
        raise ConfigError(
            f"unknown activation {name!r}; use 'none' or an element-wise function of torch.nn.functional or torch, "
            "such as 'tanh', 'sigmoid', 'relu' or 'selu'"
        )
    return function


def _tensor_function(name: str) -> Callable[..., Any] | None:
    """Returns torch's function of that name if it computes with tensors.

    A name may come from a file, and torch has other functions too, some of which end the process when they are tried.
    """
    found = (getattr(namespace, name, None) for namespace in (F, torch))
    return next((function for function in found if callable(function) and function in _tensor_functions()), None)


@cache
def _tensor_functions() -> frozenset[Callable[..., Any]]:
    listed = get_overridable_functions()
    # torch 2.13 does not list the last two
    return frozenset([*listed[F], *listed[torch], F.hardsigmoid, F.hardswish])


def _is_element_wise(function: Callable[..., Any]) -> bool:
    """Tries the function: the same numbers one by one, and together, must give the same, as many times as it is called.

    So neither a cumulative sum nor a dropout is.
    """
    probe = torch.linspace(1.5, -1.5, 64).reshape(8, 8)  # descending, so that sorting changes it
    with quiet(), torch.random.fork_rng(devices=[]):  # of functions that will be refused
        try:
            together = function(probe.clone())
            one_by_one = torch.stack([function(number.clone()) for number in probe.flatten()])
            fits: bool = together.dtype == probe.dtype and torch.allclose(
                together, one_by_one.reshape(probe.shape), equal_nan=True
            )
        except (TypeError, RuntimeError, AttributeError, ValueError, IndexError, NotImplementedError):
            fits = False
    return fits


def _identity(x: Tensor) -> Tensor:
    return x
