"""Where to compute."""

from __future__ import annotations

import os
from typing import cast, get_args

import torch

from recoder.errors import ConfigError
from recoder.ops.search import Precision

__all__ = ["checked_precision", "choose_device", "has_idle_core", "product_dtype"]


def choose_device(use_cuda: bool, device: str | torch.device | None, *, is_one_of_many: bool = False) -> torch.device:
    """Returns the device that was asked for by ``use_cuda`` or ``device``; the CPU by default.

    Args:
        use_cuda: the current CUDA device.
        device: or a device, or its name.
        is_one_of_many: for one of the processes that ``torchrun`` started: of several CUDA devices each has its own,
            where none is named.

    Raises:
        ConfigError: if both are given, the device is neither the CPU nor one of CUDA, or there is no such CUDA device.
    """
    if use_cuda and device is not None:
        raise ConfigError(f"both use_cuda=True and device={device!r} are given; pass one of them")
    try:
        chosen = torch.device("cuda" if use_cuda else "cpu" if device is None else device)
    except (RuntimeError, TypeError) as error:
        raise ConfigError(f"device is {device!r}; pass for example 'cpu' or 'cuda:0'") from error
    if chosen.type not in ("cpu", "cuda"):
        raise ConfigError(f"device is '{chosen}', on which Recoder cannot compute; pass 'cpu' or 'cuda'")
    if chosen.type == "cuda" and not torch.cuda.is_available():
        asked = "use_cuda is True" if use_cuda else f"device is {device!r}"
        raise ConfigError(
            f"{asked}, but there is no CUDA device for torch here; leave it out, or install torch for CUDA"
        )
    is_to_be_chosen = is_one_of_many and chosen == torch.device("cuda") and torch.cuda.device_count() > 1
    if is_to_be_chosen and "LOCAL_RANK" in os.environ:
        chosen = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        device = f"{chosen} (that of this process, as torchrun counts those of a machine)"
    if chosen.type == "cuda" and (chosen.index or 0) >= torch.cuda.device_count():
        raise ConfigError(
            f"device is {device!r}, but there are {torch.cuda.device_count()} CUDA devices, from 'cuda:0' on"
        )
    return chosen


def checked_precision(precision: str) -> Precision:
    """Returns the precision.

    Raises:
        ConfigError: if it is unknown.
    """
    for known in get_args(Precision):
        if precision == known:
            return cast("Precision", known)
    raise ConfigError(f"unknown precision {precision!r}; choose one of {', '.join(get_args(Precision))}")


def product_dtype(precision: Precision) -> torch.dtype | None:
    """Returns the dtype that matrix products take their inputs in; None: as they come."""
    return torch.bfloat16 if precision == "bf16" else None


def has_idle_core(device: torch.device) -> bool:
    """Returns True if a thread can work while ``device`` computes; one that has to share a core holds up all others."""
    if device.type != "cpu":
        return True
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    num_processes = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))  # as torchrun says
    return cores > num_processes * torch.get_num_threads()
