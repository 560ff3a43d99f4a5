"""A base held in four bits (QLoRA): what is quantised, and that training sees the weights that it stands for."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from bitsandbytes.functional import dequantize_4bit
from bitsandbytes.nn import Linear4bit
from peft import PeftModel
from safetensors.torch import save_file
from torch import nn

from configs.schema import Training
from tasks.models.loading import LoadedBase, load_base
from tasks.training.adapters import adapter_weights, fresh_adapter, trainable_parameters, write_adapter
from tasks.training.batches import Example
from tasks.training.engine import FineTune, Plan
from tasks.training.optimizer import accumulate_gradients
from tasks.training.packing import row_tokens

IDS = torch.tensor([[1, 40, 41, 42, 43]])
WAYS: list[dict[str, Any]] = [{}, {"method": "dora"}, {"rank_scaling": "rslora", "layers": 1}]


def _logits(model: nn.Module) -> torch.Tensor:
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        return model(input_ids=IDS).logits


def _randomise(adapted: PeftModel) -> None:
    generator = torch.Generator().manual_seed(4)
    for parameter in trainable_parameters(adapted):
        parameter.data += torch.randn(parameter.shape, generator=generator) * 0.1


def _written_out(loaded: LoadedBase) -> LoadedBase:
    """The same base with each quantised layer as a plain one that holds the weights it stands for."""
    model = deepcopy(loaded.model)
    for name, module in list(model.named_modules()):
        if isinstance(module, Linear4bit):
            weight = dequantize_4bit(module.weight.data, module.weight.quant_state)
            plain = nn.Linear(module.in_features, module.out_features, bias=False, dtype=weight.dtype)
            plain.weight = nn.Parameter(weight, requires_grad=False)
            model.set_submodule(name, plain)
    return replace(loaded, model=model, precision="bf16")


def test_the_linear_layers_are_held_in_four_bits_and_nothing_else(loaded: LoadedBase, loaded_nf4: LoadedBase) -> None:
    kinds = {name: type(module) for name, module in loaded_nf4.model.named_modules()}
    output_layer = loaded_nf4.model.get_output_embeddings()

    for name, module in loaded.model.named_modules():
        if isinstance(module, nn.Linear) and loaded_nf4.model.get_submodule(name) is not output_layer:
            assert kinds[name] is Linear4bit
            assert loaded_nf4.model.get_submodule(name).weight.nbytes == module.weight.numel() / 2
        else:
            assert kinds[name] is type(module)
    assert Linear4bit in kinds.values()


def test_gradients_are_those_of_the_weights_that_it_stands_for(
    loaded_nf4: LoadedBase, examples: tuple[Example, ...]
) -> None:
    found = []
    for base in (loaded_nf4, _written_out(loaded_nf4)):
        with fresh_adapter(base, Training(lora_rank=4), seed=1) as adapted:
            _randomise(adapted)
            loss = accumulate_gradients(base, examples[:8], micro_batch_size=None, pad_id=0, row_tokens=128)
            found.append((loss, [parameter.grad for parameter in trainable_parameters(adapted)]))

    (loss, ours), (expected_loss, expected) = found
    assert loss == pytest.approx(expected_loss, rel=1e-3)
    for gradient, wanted in zip(ours, expected, strict=True):
        torch.testing.assert_close(gradient, wanted, rtol=0.05, atol=0.02 * wanted.abs().max().item())


@pytest.mark.parametrize("change", WAYS, ids=lambda change: "+".join(change) or "lora")
def test_an_adapter_reloaded_by_peft_gives_equal_logits_and_leaves_the_base_as_it_was(
    loaded_nf4: LoadedBase, tmp_path: Path, change: dict[str, Any]
) -> None:
    plain = _logits(loaded_nf4.model)
    with fresh_adapter(loaded_nf4, Training(lora_rank=4, **change), seed=1) as adapted:
        _randomise(adapted)
        assert {weight.dtype for weight in adapter_weights(adapted).values()} == {torch.float32}
        save_file(adapter_weights(adapted), tmp_path / "weights", metadata={"format": "pt"})
        digest = write_adapter(
            tmp_path, adapted, weights_file=tmp_path / "weights", base_digest=loaded_nf4.digest, about={}
        )
        expected = _logits(loaded_nf4.model)

    assert not torch.allclose(expected, plain, rtol=1e-2)
    assert torch.equal(_logits(loaded_nf4.model), plain)
    assert torch.equal(_logits(PeftModel.from_pretrained(loaded_nf4.model, tmp_path / digest).eval()), expected)


def test_short_records_share_rows(loaded_nf4: LoadedBase, examples: tuple[Example, ...]) -> None:
    assert row_tokens(loaded_nf4, Training(), examples, pad_id=0) == 128


def test_a_fine_tune_on_it_learns(loaded_nf4: LoadedBase, make_plan: Callable[..., Plan]) -> None:
    training = Training(lora_rank=4, learning_rate=1e-2, batch_size=8, epochs=6)
    with fresh_adapter(loaded_nf4, training, seed=1) as adapted:
        outcome = FineTune(loaded_nf4, adapted, plan=make_plan(training), report=lambda values: True).run()

    losses = outcome.progress.curve
    assert losses[-1]["loss"] < 0.5 * losses[0]["loss"]


def test_no_layer_is_repacked_by_a_look_between_two_steps(
    base_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a CPU with AVX512-BF16 bitsandbytes would, and packed weights have no gradient."""
    monkeypatch.setattr("bitsandbytes.nn.modules.has_avx512bf16", lambda: True)
    model = load_base(base_directory, precision="nf4", device="cpu").model
    layers = [module for module in model.modules() if isinstance(module, Linear4bit)]

    assert layers
    assert not any(layer.support_avx512bf16_for_cpu for layer in layers)
