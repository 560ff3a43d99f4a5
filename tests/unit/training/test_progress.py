from __future__ import annotations

import json

import pytest

from tasks.training.divergence import RECENT_STEPS
from tasks.training.progress import Progress


def _after_looks(*values: float) -> Progress:
    progress = Progress()
    for value in values:
        progress.note_loss(1.0, records=4)
        progress.note_look(value, steps=10, records=8)
    return progress


def test_the_highest_look_is_the_best() -> None:
    progress = _after_looks(0.2, 0.6, 0.5)

    assert (progress.best_step, progress.best_value, progress.looks_without_better) == (2, 0.6, 1)


def test_an_equal_look_is_not_better() -> None:
    assert _after_looks(0.6, 0.6, 0.6).looks_without_better == 2


def test_a_metric_still_at_zero_uses_up_no_patience() -> None:
    progress = _after_looks(0.0, 0.0, 0.0)

    assert (progress.best_step, progress.looks_without_better) == (3, 0)


def test_a_curve_point_averages_the_losses_since_the_last_one() -> None:
    progress = Progress()
    for loss in (4.0, 2.0):
        progress.note_loss(loss, records=4)
    progress.add_curve_point(learning_rate=0.1)
    progress.note_loss(1.0, records=4)

    point = progress.add_curve_point(learning_rate=0.2)

    assert progress.curve == [{"step": 2, "loss": 3.0, "learning_rate": 0.1}, point]
    assert point == {"step": 3, "loss": 1.0, "learning_rate": 0.2}


def test_only_recent_losses_are_kept() -> None:
    progress = Progress()
    for loss in range(RECENT_STEPS + 3):
        progress.note_loss(float(loss), records=1)

    assert progress.recent_losses == [3.0, 4.0, 5.0, 6.0, 7.0]
    assert progress.first_loss == 0.0
    assert progress.trained_records == RECENT_STEPS + 3


def test_a_look_says_how_far_the_training_is() -> None:
    assert _after_looks(0.5).looks == [{"step": 1, "fraction": 0.1, "value": 0.5, "records": 8}]


@pytest.mark.parametrize("loss", [0.1 + 0.2, 1e-300, 2 / 3])
def test_json_keeps_every_bit(loss: float) -> None:
    progress = _after_looks(loss)
    progress.note_loss(loss, records=3)

    assert Progress(**json.loads(json.dumps(progress.as_json()))) == progress
