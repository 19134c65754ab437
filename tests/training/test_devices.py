from __future__ import annotations

import os

import pytest
import torch

from recoder.errors import ConfigError
from recoder.training.devices import checked_precision, choose_device, has_idle_core, product_dtype


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


def test_of_many_processes_each_has_a_device_of_its_own(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert choose_device(True, None, is_one_of_many=True) == torch.device("cuda:1")
    assert choose_device(False, "cuda", is_one_of_many=True) == torch.device("cuda:1")
    assert choose_device(False, "cuda:0", is_one_of_many=True) == torch.device("cuda:0")
    assert choose_device(False, "cpu", is_one_of_many=True) == torch.device("cpu")
    monkeypatch.setenv("LOCAL_RANK", "2")
    with pytest.raises(ConfigError, match=r"cuda:2 .that of this process.*, but there are 2 CUDA devices"):
        choose_device(True, None, is_one_of_many=True)
    monkeypatch.delenv("LOCAL_RANK")  # somebody else started them
    assert choose_device(True, None, is_one_of_many=True) == torch.device("cuda")
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)  # each was given one to see
    assert choose_device(True, None, is_one_of_many=True) == torch.device("cuda")


def test_two_answers_are_an_error():
    with pytest.raises(ConfigError, match=r"use_cuda=True and device='cpu'"):
        choose_device(True, "cpu")


@pytest.mark.parametrize("device", ["gpu", "", "cuda:x", 1.5])
def test_an_unknown_device_is_an_error(device):
    with pytest.raises(ConfigError, match="device is"):
        choose_device(False, device)


@pytest.mark.parametrize("device", ["mps", "xpu:0", torch.device("meta")])
def test_a_device_that_is_neither_the_cpu_nor_of_cuda_is_an_error(device):
    with pytest.raises(ConfigError, match=f"device is '{device}', .* pass 'cpu' or 'cuda'"):
        choose_device(False, device)


def test_precision_is_one_of_two():
    assert [checked_precision(precision) for precision in ("fp32", "bf16")] == ["fp32", "bf16"]
    with pytest.raises(ConfigError, match="unknown precision 'fp16'; choose one of fp32, bf16"):
        checked_precision("fp16")


def test_products_take_bfloat16_only_where_it_was_asked_for():
    assert product_dtype("bf16") == torch.bfloat16
    assert product_dtype("fp32") is None


CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("num_cores", "num_threads", "idle"), [(4, 2, True), (3, 2, True), (2, 2, False), (1, 2, False)]
)
@pytest.mark.parametrize("knows_affinity", [True, False])
def test_a_core_is_idle_where_torch_has_fewer_threads_than_cores(
    num_cores, num_threads, idle, knows_affinity, monkeypatch
):
    monkeypatch.setattr(torch, "get_num_threads", lambda: num_threads)
    if knows_affinity:
        monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(num_cores)), raising=False)
    else:
        monkeypatch.delattr(os, "sched_getaffinity", raising=False)
        monkeypatch.setattr(os, "cpu_count", lambda: num_cores)
    assert has_idle_core(CPU) is idle


@pytest.mark.parametrize(("num_processes", "idle"), [("1", True), ("3", True), ("4", False)])
def test_processes_on_the_same_machine_take_cores_too(num_processes, idle, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", num_processes)
    assert has_idle_core(CPU) is idle


def test_a_machine_that_does_not_tell_its_cores_has_none_idle(monkeypatch):
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert not has_idle_core(CPU)


def test_cores_are_idle_while_another_device_computes(monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 10_000)
    assert has_idle_core(torch.device("cuda"))
