"""When a fine-tune has gone wrong for good, and how that is said."""

from __future__ import annotations

import math
from collections.abc import Sequence

from configs.errors import BurnishError

RECENT_STEPS = 5
"""Losses of this many steps are averaged, so that one hard batch is no divergence."""
_FACTOR = 2.0


class TrainingDiverged(BurnishError):
    """The loss or the gradient is not finite any more, or the loss has grown out of bounds."""


def divergence_reason(
    *, first_loss: float, recent_losses: Sequence[float], gradient_norm: float, guessing_loss: float
) -> str | None:
    """Say why training can't go on, or None.

    Args:
        first_loss: of the first step.
        recent_losses: of the last steps, newest last; only `RECENT_STEPS` of them tell a trend.
        gradient_norm: of the newest step, before clipping.
        guessing_loss: logarithm of the vocabulary's size, the loss of a model that knows nothing.
    """
    if not math.isfinite(recent_losses[-1]):
        return f"the loss is not finite ({recent_losses[-1]})"
    if not math.isfinite(gradient_norm):
        return f"the gradient norm is not finite ({gradient_norm})"
    mean, limit = sum(recent_losses) / len(recent_losses), _FACTOR * max(first_loss, guessing_loss)
    if len(recent_losses) >= RECENT_STEPS and mean > limit:
        return (
            f"the mean loss of the last {len(recent_losses)} steps is {mean:.2f}, above {limit:.2f} "
            f"({_FACTOR:g} times the larger of the first loss and that of guessing)"
        )
    return None


def diverged(reason: str, *, step: int, learning_rate: float) -> TrainingDiverged:
    """Make the error for a person out of the reason."""
    return TrainingDiverged(
        f"training diverged at step {step}: {reason}; the learning rate was {learning_rate:.3g}: "
        "lower training.learning_rate, or raise training.warmup_fraction"
    )
