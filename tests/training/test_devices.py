from __future__ import annotations

import pytest
import torch

from recoder.errors import ConfigError
from recoder.training.devices import choose_device


@pytest.fixture
def no_cuda(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


def test_the_cpu_is_the_default():
    assert choose_device(False, None) == torch.device("cpu")
    assert choose_device(False, "cpu") == torch.device("cpu")
    assert choose_device(False, torch.device("cpu")) == torch.device("cpu")


@pytest.mark.usefixtures("no_cuda")
@pytest.mark.parametrize(("use_cuda", "device"), [(True, None), (False, "cuda"), (False, "cuda:1")])
def test_cuda_where_there_is_none_is_an_error(use_cuda, device):
    with pytest.raises(ConfigError, match="no CUDA device"):
        choose_device(use_cuda, device)


def test_cuda_is_chosen_where_there_is_one(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert choose_device(True, None) == torch.device("cuda")
    assert choose_device(False, "cuda:1") == torch.device("cuda:1")
    with pytest.raises(ConfigError, match="'cuda:2', but there are 2 CUDA devices"):
        choose_device(False, "cuda:2")


def test_two_answers_are_an_error():
    with pytest.raises(ConfigError, match=r"use_cuda=True and device='cpu'"):
        choose_device(True, "cpu")


@pytest.mark.parametrize("device", ["gpu", "", "cuda:x", 1.5])
def test_an_unknown_device_is_an_error(device):
    with pytest.raises(ConfigError, match="device is"):
        choose_device(False, device)
