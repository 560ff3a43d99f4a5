"""The learning rate and the validation looks as functions of the step: nothing to store, nothing to lose."""

from __future__ import annotations

import math
from typing import Literal


def learning_rate_factor(
    step: int, *, steps: int, schedule: Literal["constant", "linear", "cosine"], warmup_fraction: float
) -> float:
    """Return the share of the peak learning rate used by a step, above 0 and at most 1.

    Args:
        step: number of the optimizer step, from 0.
        steps: number of all steps.
        schedule: how the rate falls after the warm-up; linear and cosine would reach 0 one step after the last.
        warmup_fraction: share of steps during which the rate rises linearly to its peak.
    """
    warmup_steps = round(warmup_fraction * steps)
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    if schedule == "constant":
        return 1.0
    progress = (step - warmup_steps) / (steps - warmup_steps)
    return 1.0 - progress if schedule == "linear" else 0.5 * (1.0 + math.cos(math.pi * progress))


def look_steps(steps: int, *, evaluations: int) -> tuple[int, ...]:
    """Return after which steps (counted from 1) validation is looked at: spread evenly, the last step included."""
    return tuple(sorted({math.ceil(steps * look / evaluations) for look in range(1, evaluations + 1)}))
