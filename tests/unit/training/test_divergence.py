from __future__ import annotations

import math

import pytest

from tasks.training.divergence import RECENT_STEPS, TrainingDiverged, diverged, divergence_reason

GUESSING = math.log(512)


def _reason(recent_losses: list[float], *, first_loss: float = 3.0, gradient_norm: float = 1.0) -> str | None:
    return divergence_reason(
        first_loss=first_loss,
        recent_losses=recent_losses,
        gradient_norm=gradient_norm,
        guessing_loss=GUESSING,
    )


@pytest.mark.parametrize("loss", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_is_a_divergence(loss: float) -> None:
    assert "loss is not finite" in str(_reason([3.0, loss]))


@pytest.mark.parametrize("norm", [math.nan, math.inf])
def test_a_gradient_that_is_not_finite_is_a_divergence(norm: float) -> None:
    assert "gradient norm is not finite" in str(_reason([3.0], gradient_norm=norm))


def test_a_loss_far_above_guessing_for_several_steps_is_a_divergence() -> None:
    assert "mean loss of the last 5 steps is 20.00" in str(_reason([20.0] * RECENT_STEPS))


def test_one_hard_batch_is_no_divergence() -> None:
    assert _reason([3.0, 3.0, 3.0, 3.0, 30.0]) is None


def test_a_bad_start_is_no_divergence() -> None:
    assert _reason([20.0] * (RECENT_STEPS - 1)) is None


def test_a_high_first_loss_raises_the_limit() -> None:
    assert _reason([20.0] * RECENT_STEPS, first_loss=15.0) is None


def test_the_error_names_step_reason_rate_and_cure() -> None:
    error = diverged("the loss is not finite (nan)", step=7, learning_rate=0.5)

    assert isinstance(error, TrainingDiverged)
    for part in ("step 7", "not finite", "0.5", "lower training.learning_rate"):
        assert part in str(error)
