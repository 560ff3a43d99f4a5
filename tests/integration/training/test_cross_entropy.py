from __future__ import annotations

import pytest
import torch
from torch.nn.functional import cross_entropy

from tasks.inference.forward import LogitScaling
from tasks.training.cross_entropy import OutputLayer, loss_and_gradient

VOCABULARY, WIDTH = 5000, 24
TARGETS = torch.tensor([0, 8, 8, 4999, 1024, 17])
PLAIN = LogitScaling(1.0, None)
SCALINGS = [PLAIN, LogitScaling(0.25, None), LogitScaling(2.0, 5.0)]


def _drawn(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def _layer(scaling: LogitScaling, *, size: float = 1.0, bias: bool = False) -> OutputLayer:
    weight = _drawn(VOCABULARY, WIDTH, seed=3) * size
    return OutputLayer(weight, _drawn(VOCABULARY, seed=5) if bias else None, scaling)


def _plain(hidden: torch.Tensor, layer: OutputLayer, label_smoothing: float) -> torch.Tensor:
    logits = hidden @ layer.weight.to(hidden.dtype).T + (0.0 if layer.bias is None else layer.bias)
    logits = logits * layer.scaling.factor
    if layer.scaling.cap is not None:
        logits = layer.scaling.cap * torch.tanh(logits / layer.scaling.cap)
    return cross_entropy(logits, TARGETS, reduction="sum", label_smoothing=label_smoothing)


@pytest.mark.parametrize("entries", [1, 6 * 2000, 6 * VOCABULARY])
@pytest.mark.parametrize("label_smoothing", [0.0, 0.1])
@pytest.mark.parametrize("scaling", SCALINGS, ids=["plain", "scaled", "capped"])
@pytest.mark.parametrize("size", [0.01, 1.0, 20.0])
def test_loss_and_gradient_are_those_of_torch(
    size: float, scaling: LogitScaling, label_smoothing: float, entries: int
) -> None:
    layer = _layer(scaling, size=size, bias=size == 1.0)
    hidden = _drawn(len(TARGETS), WIDTH, seed=4)
    exact = hidden.double().requires_grad_()
    (expected,) = torch.autograd.grad(_plain(exact, layer, label_smoothing), exact)

    loss, gradient = loss_and_gradient(hidden, TARGETS, layer=layer, entries=entries, label_smoothing=label_smoothing)

    torch.testing.assert_close(loss.double(), _plain(exact.detach(), layer, 0.0), rtol=1e-5, atol=1e-4)
    torch.testing.assert_close(gradient.double(), expected, rtol=1e-4, atol=1e-5 * max(1.0, size))


@pytest.mark.parametrize("certainty", [0.0, 3.0, 6.0, 9.0, 12.0])
def test_in_bf16_each_row_is_as_close_to_the_exact_gradient_as_torch(certainty: float) -> None:
    """A certain label beside one rival: rounding must not lose the rival, nor the others."""
    weight = _drawn(VOCABULARY, WIDTH, seed=3).bfloat16()
    layer = OutputLayer(weight, None, PLAIN)
    rivals = (TARGETS + 1) % VOCABULARY
    hidden = _drawn(len(TARGETS), WIDTH, seed=4)
    if certainty:
        # the states whose logits are so much higher for the target than for its rival, and for it than for the rest
        pair = torch.stack([weight[TARGETS].float(), weight[rivals].float()], dim=1)
        heights = torch.tensor([30.0 + certainty, 30.0]).expand(len(TARGETS), 2)
        hidden = torch.linalg.lstsq(pair, heights[..., None]).solution[..., 0]
    hidden = hidden.bfloat16()
    exact, theirs = hidden.double().requires_grad_(), hidden.clone().requires_grad_()
    rounded = (theirs @ weight.T).float()
    (expected,) = torch.autograd.grad(_plain(exact, layer, 0.0), exact)
    (torchs,) = torch.autograd.grad(cross_entropy(rounded, TARGETS, reduction="sum"), theirs)

    _, gradient = loss_and_gradient(hidden, TARGETS, layer=layer, entries=1)

    assert gradient.dtype == torch.bfloat16
    ours, others = ((each - expected).norm(dim=-1) / expected.norm(dim=-1) for each in (gradient, torchs))
    assert (ours <= 1.5 * others + 0.01).all(), (ours, others)


def test_the_hidden_states_are_left_as_they_are() -> None:
    hidden = _drawn(len(TARGETS), WIDTH, seed=4)
    before = hidden.clone()

    loss_and_gradient(hidden, TARGETS, layer=_layer(PLAIN), entries=1)

    assert hidden.equal(before)


@pytest.mark.parametrize("value", ["nan", "inf"])
def test_states_that_are_not_finite_give_a_loss_that_is_not(value: str) -> None:
    hidden = _drawn(len(TARGETS), WIDTH, seed=4)
    hidden[2, 3] = float(value)

    loss, _ = loss_and_gradient(hidden, TARGETS, layer=_layer(PLAIN), entries=1)

    assert not loss.isfinite()
