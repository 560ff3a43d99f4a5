"""How many test records would tell."""

from __future__ import annotations

import math

from scipy import special

from tasks.metrics.proportions import normal_quantile


def records_needed(effect: float, *, deviation: float, confidence: float, power: float) -> int | None:
    """Records after which the interval's near end is on the right side of the threshold with probability `power`.

    n = ((z_confidence + z_power) · deviation / effect)², the normal approximation of the paired design.

    Args:
        effect: True difference less the threshold; its sign does not matter.
        deviation: Standard deviation of one record's paired difference, grouping included (standard error · √n).
        confidence: Two-sided level of the interval.
        power: Wanted probability, in (0, 1).

    Returns:
        The number, at least 1; None when the effect is 0 or so small that no number would do.
    """
    if effect == 0:
        return None
    root = (normal_quantile(confidence) + float(special.ndtri(power))) * deviation / effect
    needed = root * root  # unlike ** 2, infinite rather than an error when it is too large
    return max(1, math.ceil(needed)) if math.isfinite(needed) else None
