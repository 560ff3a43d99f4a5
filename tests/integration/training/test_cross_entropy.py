from __future__ import annotations

import pytest
import torch
from torch.nn.functional import cross_entropy

from tasks.training.cross_entropy import loss_and_gradient

TARGETS = torch.tensor([0, 8, 8, 4999, 17])


def _logits(scale: float) -> torch.Tensor:
    return torch.randn((5, 5000), generator=torch.Generator().manual_seed(3)) * scale


@pytest.mark.parametrize("label_smoothing", [0.0, 0.1])
@pytest.mark.parametrize("scale", [0.01, 4.0, 100.0])
def test_the_gradient_is_that_of_torch(scale: float, label_smoothing: float) -> None:
    logits = _logits(scale).double().requires_grad_()
    plain = cross_entropy(logits, TARGETS, reduction="sum", label_smoothing=label_smoothing)
    (expected,) = torch.autograd.grad(plain, logits)

    _, gradient = loss_and_gradient(_logits(scale), TARGETS, label_smoothing=label_smoothing)

    torch.testing.assert_close(gradient.double(), expected, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("label_smoothing", [0.0, 0.1])
@pytest.mark.parametrize("scale", [0.01, 4.0, 100.0])
def test_the_loss_is_the_plain_one_of_torch(scale: float, label_smoothing: float) -> None:
    expected = cross_entropy(_logits(scale), TARGETS, reduction="sum")

    loss, _ = loss_and_gradient(_logits(scale), TARGETS, label_smoothing=label_smoothing)

    torch.testing.assert_close(loss, expected, rtol=1e-6, atol=1e-4)


def test_logits_that_are_not_finite_give_a_loss_that_is_not() -> None:
    logits = _logits(1.0)
    logits[2, 3] = float("nan")

    loss, _ = loss_and_gradient(logits, TARGETS)

    assert not loss.isfinite()
