from __future__ import annotations

import pytest
import torch

from configs.schema import Training
from tasks.models.loading import LoadedBase
from tasks.training.adapters import fresh_adapter, trainable_parameters
from tasks.training.dropout import SeededDropout, dropout_active

IDS = torch.tensor([[1, 40, 41, 42, 43]])


@pytest.mark.parametrize("share", [0.05, 0.5, 0.9])
def test_the_share_is_dropped_and_the_mean_stays(share: float) -> None:
    dropout = SeededDropout(share, torch.Generator().manual_seed(1))

    outputs = dropout(torch.ones(1000, 1001))

    assert (outputs == 0).float().mean().item() == pytest.approx(share, abs=0.002)
    assert outputs.mean().item() == pytest.approx(1.0, abs=0.01)


def test_each_input_is_dropped_on_its_own() -> None:
    dropout = SeededDropout(0.5, torch.Generator().manual_seed(1))

    kept = (dropout(torch.ones(4000, 8)) != 0).float()

    correlation = torch.corrcoef(kept.T) - torch.eye(8)
    assert correlation.abs().max().item() < 0.08


def test_gradients_pass_where_inputs_do() -> None:
    inputs = torch.ones(50, 3, requires_grad=True)

    outputs = SeededDropout(0.5, torch.Generator().manual_seed(1))(inputs)
    (gradient,) = torch.autograd.grad(outputs.sum(), inputs)

    assert torch.equal(gradient, outputs.detach())


def test_a_share_next_to_one_keeps_finite_outputs() -> None:
    assert SeededDropout(0.9999999, torch.Generator().manual_seed(1))(torch.ones(10)).isfinite().all()


def test_bf16_inputs_stay_bf16() -> None:
    dropout = SeededDropout(0.5, torch.Generator().manual_seed(1))

    assert dropout(torch.ones(4, dtype=torch.bfloat16)).dtype == torch.bfloat16


def _logits(loaded: LoadedBase, *, seed: int | None, share: float = 0.5) -> list[torch.Tensor]:
    """Of two passes in a row, with a random adapter."""
    with fresh_adapter(loaded, Training(lora_dropout=share), seed=1) as adapted, torch.no_grad():
        generator = torch.Generator().manual_seed(4)
        for parameter in trainable_parameters(adapted):
            parameter.data.normal_(std=0.1, generator=generator)
        if seed is None:
            return [loaded.model(input_ids=IDS).logits for _ in range(2)]
        with dropout_active(adapted, seed=seed):
            return [loaded.model(input_ids=IDS).logits for _ in range(2)]


def test_the_same_seed_drops_the_same_inputs(loaded: LoadedBase) -> None:
    first, second = _logits(loaded, seed=5)

    again = _logits(loaded, seed=5)

    assert torch.equal(first, again[0]) and torch.equal(second, again[1])
    assert not torch.equal(first, second)
    assert not torch.equal(first, _logits(loaded, seed=6)[0])


def test_without_being_asked_nothing_is_dropped(loaded: LoadedBase) -> None:
    first, second = _logits(loaded, seed=None)

    assert torch.equal(first, second)
    assert torch.equal(first, _logits(loaded, seed=5, share=0.0)[0])


def test_dropout_ends_with_its_block(loaded: LoadedBase) -> None:
    with fresh_adapter(loaded, Training(lora_dropout=0.5), seed=1) as adapted:
        with dropout_active(adapted, seed=1):
            pass

        assert not any(module.training for module in adapted.modules())
