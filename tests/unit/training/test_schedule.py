from __future__ import annotations

from itertools import pairwise
from typing import Literal

import pytest

from tasks.training.schedule import learning_rate_factor, look_steps

Schedule = Literal["constant", "linear", "cosine"]


def _factors(schedule: Schedule, *, steps: int = 100, warmup_fraction: float = 0.1) -> list[float]:
    return [
        learning_rate_factor(step, steps=steps, schedule=schedule, warmup_fraction=warmup_fraction)
        for step in range(steps)
    ]


@pytest.mark.parametrize("schedule", ["constant", "linear", "cosine"])
def test_warm_up_rises_in_equal_parts_to_the_peak(schedule: Schedule) -> None:
    assert _factors(schedule)[:11] == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.0])


def test_constant_stays_at_the_peak() -> None:
    assert set(_factors("constant")[10:]) == {1.0}


@pytest.mark.parametrize("schedule", ["linear", "cosine"])
def test_a_falling_schedule_falls_at_each_step_and_never_reaches_zero(schedule: Schedule) -> None:
    falling = _factors(schedule)[10:]

    assert all(later < earlier for earlier, later in pairwise(falling))
    assert 0 < falling[-1] < 0.02


@pytest.mark.parametrize(("schedule", "halfway"), [("linear", 0.5), ("cosine", 0.5)])
def test_halfway_a_falling_schedule_is_at_half_its_peak(schedule: Schedule, halfway: float) -> None:
    assert _factors(schedule, warmup_fraction=0.0)[50] == pytest.approx(halfway)


def test_cosine_falls_slower_than_linear_at_first() -> None:
    assert _factors("cosine")[25] > _factors("linear")[25]


@pytest.mark.parametrize("schedule", ["constant", "linear", "cosine"])
@pytest.mark.parametrize("warmup_fraction", [0.0, 0.5, 0.99])
def test_every_step_of_a_short_run_has_a_rate(schedule: Schedule, warmup_fraction: float) -> None:
    for steps in (1, 2, 3):
        assert all(0 < factor <= 1 for factor in _factors(schedule, steps=steps, warmup_fraction=warmup_fraction))


@pytest.mark.parametrize(
    ("steps", "evaluations", "expected"),
    [(100, 4, (25, 50, 75, 100)), (10, 3, (4, 7, 10)), (2, 5, (1, 2)), (1, 1, (1,))],
)
def test_looks_are_spread_evenly_and_end_with_the_last_step(
    steps: int, evaluations: int, expected: tuple[int, ...]
) -> None:
    assert look_steps(steps, evaluations=evaluations) == expected
