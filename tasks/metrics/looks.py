"""Many looks and many questions: how much alpha a single one may spend."""

from __future__ import annotations

from collections.abc import Sequence
from math import floor, log10

_MOST_DECIMALS = 6
"""Of a level in percent: no look at a test set comes closer to 100%."""


def alpha_at_look(alpha: float, look: int) -> float:
    """The one-sided level of the `look`-th decision on one test set: alpha / (look · (look + 1)).

    A spending of alpha (the idea of Lan and DeMets 1983) by Bonferroni's inequality: the levels of all looks, for
    ever, add up to exactly `alpha`, however the looks depend on each other. At `alpha` 0.05 the first look spends
    0.025, so its lower bound is that of the ordinary two-sided 95% interval.

    Raises:
        ValueError: `look` is below 1.
    """
    if look < 1:
        raise ValueError(f"looks are counted from 1, got {look}")
    return alpha / (look * (look + 1))


def confidence_at_look(alpha: float, look: int) -> float:
    """Two-sided confidence whose lower bound alone errs with probability `alpha_at_look`."""
    return 1 - 2 * alpha_at_look(alpha, look)


def holm(p_values: Sequence[float], alpha: float) -> tuple[bool, ...]:
    """Which hypotheses are rejected when any false rejection among all may happen with probability `alpha`.

    Holm's step-down method (1979); valid however the tests depend on each other.
    """
    order = sorted(range(len(p_values)), key=lambda index: p_values[index])
    rejected = [False] * len(p_values)
    for rank, index in enumerate(order):
        if p_values[index] > alpha / (len(p_values) - rank):
            break
        rejected[index] = True
    return tuple(rejected)


def level_in_words(confidence: float) -> str:
    """A level below 1 in percent, to three digits of what is missing from 100%, rounded down: 95%, 98.33%, 99.166%."""
    missing = 100 * (1 - confidence)
    unit = 10 ** min(2 - floor(log10(missing)), _MOST_DECIMALS)
    return f"{floor(100 * confidence * unit + 1e-6) / unit:.10g}%"  # 1e-6: a product just below the whole number
