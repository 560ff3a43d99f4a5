"""Rows and Markdown tables of `benchmarks.statistics`."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

from benchmarks.simulation import Floats
from tasks.metrics.proportions import Bounds

CONFIDENCE = 0.95


class Coverage(NamedTuple):
    """How often an interval held the truth."""

    method: str
    design: str
    simulations: int
    share: float
    too_low: float
    too_high: float
    width: float

    @property
    def deviation(self) -> float:
        """From nominal, in standard errors."""
        return (self.share - CONFIDENCE) / math.sqrt(CONFIDENCE * (1 - CONFIDENCE) / self.simulations)


def measure(method: str, design: str, bounds: Bounds, truth: Floats | float) -> Coverage:
    """Count hits and misses; `too_low` intervals end below the truth."""
    below, above = (bounds.high < truth).mean(), (bounds.low > truth).mean()
    width = float((bounds.high - bounds.low).mean())
    return Coverage(method, design, len(bounds.low), float(1 - below - above), float(below), float(above), width)


class Rate(NamedTuple):
    """How often something happened."""

    what: str
    design: str
    simulations: int
    nominal: float | None
    share: float


def coverage_table(rows: Iterator[Coverage]) -> Iterator[str]:
    """Markdown."""
    yield "| interval | test set | simulations | coverage | from nominal | ends too low | too high | width | |"
    yield "|---|---|---|---|---|---|---|---|---|"
    for row in rows:
        mark = "" if abs(row.deviation) <= 3 else "conservative" if row.deviation > 0 else "**covers too little**"
        yield (
            f"| {row.method} | {row.design} | {row.simulations:,} | {row.share:.4f} | {row.deviation:+.1f} SE "
            f"| {row.too_low:.4f} | {row.too_high:.4f} | {row.width:.3f} | {mark} |"
        )


def rate_table(title: str, rows: Iterator[Rate]) -> Iterator[str]:
    """Markdown."""
    yield f"| {title} | test set | simulations | nominal | happened | |"
    yield "|---|---|---|---|---|---|"
    for row in rows:
        nominal = "" if row.nominal is None else f"≤ {row.nominal:.3f}"
        mark = "" if row.nominal is None or row.share <= row.nominal else "**more than nominal**"
        yield f"| {row.what} | {row.design} | {row.simulations:,} | {nominal} | {row.share:.4f} | {mark} |"
