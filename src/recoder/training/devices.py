"""Where to compute."""

from __future__ import annotations

import torch

from recoder.errors import ConfigError

__all__ = ["choose_device"]


def choose_device(use_cuda: bool, device: str | torch.device | None) -> torch.device:
    """Returns the device that was asked for by ``use_cuda`` or ``device``; the CPU by default.

    Raises:
        ConfigError: if both are given, the device is unknown, or there is no CUDA device.
    """
    if use_cuda and device is not None:
        raise ConfigError(f"both use_cuda=True and device={device!r} are given; pass one of them")
    try:
        chosen = torch.device("cuda" if use_cuda else "cpu" if device is None else device)
    except (RuntimeError, TypeError) as error:
        raise ConfigError(f"device is {device!r}; pass for example 'cpu' or 'cuda:0'") from error
    if chosen.type == "cuda" and not torch.cuda.is_available():
        raise ConfigError("there is no CUDA device for torch here; leave use_cuda=False, or install torch for CUDA")
    if chosen.type == "cuda" and (chosen.index or 0) >= torch.cuda.device_count():
        raise ConfigError(
            f"device is {device!r}, but there are {torch.cuda.device_count()} CUDA devices, from 'cuda:0' on"
        )
    return chosen
