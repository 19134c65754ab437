"""How the learning rate moves over the steps of a run."""

from __future__ import annotations

import math

__all__ = ["LR_SCHEDULES", "lr_factor"]

LR_SCHEDULES = ("constant", "cosine")


def lr_factor(schedule: str, step: int, num_steps: int) -> float:
    """Returns what to multiply the learning rate of step ``step``, counted from 0, by: above 0, at most 1.

    Args:
        schedule: ``'constant'``, or ``'cosine'``: half a period of a cosine, from 1 in the first step to nearly 0 in
            the last (Loshchilov & Hutter 2017, arXiv:1608.03983, without restarts).
        step: of the whole run.
        num_steps: of the whole run.
    """
    return 1.0 if schedule == "constant" else 0.5 * (1 + math.cos(math.pi * step / num_steps))
