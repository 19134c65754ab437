"""How the learning rate moves over the steps of a run."""

from __future__ import annotations

import math

__all__ = ["LR_SCHEDULES", "lr_factor"]

LR_SCHEDULES = ("constant", "cosine")


def lr_factor(schedule: str, step: int, *, warmup_steps: float, num_steps: int) -> float:
    """Returns what to multiply the learning rate of step ``step``, counted from 0, by: above 0, at most 1.

    Args:
        schedule: ``'constant'``, or ``'cosine'``: half a period of a cosine, from 1 after the warm-up to nearly 0 in
            the last step (Loshchilov & Hutter 2017, arXiv:1608.03983, without restarts).
        step: of the whole run.
        warmup_steps: over so many it rises in a straight line from 0, which no step has.
        num_steps: of the whole run, more than ``warmup_steps``.
    """
    if step + 1 < warmup_steps:
        return (step + 1) / warmup_steps
    if schedule == "constant":
        return 1.0
    done = (step - warmup_steps) / (num_steps - warmup_steps)
    return 0.5 * (1 + math.cos(math.pi * min(max(done, 0.0), 1.0)))
