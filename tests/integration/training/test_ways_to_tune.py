"""DoRA, full fine-tunes, rsLoRA, layers, noise, activation checkpointing: what each does to the model, and what not."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from peft import PeftModel
from safetensors.torch import save_file
from transformers import AutoConfig, AutoModelForCausalLM

from configs.errors import BaseModelError
from configs.schema import Training
from tasks.models.loading import LoadedBase
from tasks.training.activation_checkpointing import activations_recomputed
from tasks.training.adapters import adapter_weights, fresh_adapter, trainable_parameters, write_adapter
from tasks.training.batches import Example
from tasks.training.dropout import dropout_active
from tasks.training.embedding_noise import embedding_noise
from tasks.training.engine import FineTune, Plan
from tasks.training.optimizer import accumulate_gradients
from tasks.training.transformer_layers import last_layers, transformer_layers

IDS = torch.tensor([[1, 40, 41, 42, 43]])
WAYS: list[dict[str, Any]] = [
    {"method": "dora"},
    {"rank_scaling": "rslora"},
    {"layers": 1},
    {"method": "dora", "rank_scaling": "rslora", "layers": 1},
    {"method": "full"},
    {"method": "full", "layers": 1},
    {"method": "full", "target_modules": "attention"},
]


def _logits(model: torch.nn.Module) -> torch.Tensor:
    with torch.no_grad():
        return model(input_ids=IDS).logits


def _randomise(adapted: PeftModel) -> None:
    generator = torch.Generator().manual_seed(4)
    for parameter in trainable_parameters(adapted):
        parameter.data += torch.randn(parameter.shape, generator=generator) * 0.1


@pytest.mark.parametrize("change", WAYS, ids=lambda change: "+".join(change))
def test_an_adapter_of_any_kind_reloaded_by_peft_gives_equal_logits(
    loaded: LoadedBase, tmp_path: Any, change: dict[str, Any]
) -> None:
    with fresh_adapter(loaded, Training(lora_rank=4, **change), seed=1) as adapted:
        _randomise(adapted)
        save_file(adapter_weights(adapted), tmp_path / "weights", metadata={"format": "pt"})
        digest = write_adapter(
            tmp_path, adapted, weights_file=tmp_path / "weights", base_digest=loaded.digest, about={}
        )
        expected = _logits(loaded.model)

    assert torch.equal(_logits(PeftModel.from_pretrained(loaded.model, tmp_path / digest).eval()), expected)


@pytest.mark.parametrize("change", WAYS, ids=lambda change: "+".join(change))
def test_an_adapter_of_any_kind_leaves_the_base_as_it_was(loaded: LoadedBase, change: dict[str, Any]) -> None:
    plain = _logits(loaded.model)

    with fresh_adapter(loaded, Training(lora_rank=4, **change), seed=1) as adapted:
        torch.testing.assert_close(_logits(loaded.model), plain, rtol=1e-4, atol=1e-5)
        _randomise(adapted)
        assert not torch.allclose(_logits(loaded.model), plain, rtol=1e-2)

    assert torch.equal(_logits(loaded.model), plain)
    assert not any(parameter.requires_grad for parameter in loaded.model.parameters())


@pytest.mark.parametrize(("scaling", "divisor"), [("standard", 16.0), ("rslora", 4.0)])
def test_rank_scaling_divides_alpha(loaded: LoadedBase, scaling: str, divisor: float) -> None:
    training = Training(lora_rank=16, lora_alpha=8.0, rank_scaling=scaling)
    name = "model.layers.0.self_attn.q_proj"
    base = loaded.model.get_submodule(name).weight.clone()

    with fresh_adapter(loaded, training, seed=1) as adapted:
        _randomise(adapted)
        weights = adapter_weights(adapted)
        adapted.merge_adapter()
        merged = loaded.model.get_submodule(name).base_layer.weight.clone()
        adapted.unmerge_adapter()

    a, b = (weights[f"base_model.model.{name}.lora_{part}.weight"] for part in "AB")
    torch.testing.assert_close(merged, base + (8.0 / divisor) * b @ a)


def test_dora_learns_magnitudes_in_fp32_also_on_a_bf16_base(loaded_bf16: LoadedBase) -> None:
    with fresh_adapter(loaded_bf16, Training(method="dora"), seed=1) as adapted:
        weights = adapter_weights(adapted)

    magnitudes = [weight for name, weight in weights.items() if "magnitude" in name]
    assert len(magnitudes) == len(weights) / 3 > 0
    assert {weight.dtype for weight in weights.values()} == {torch.float32}


def test_a_full_fine_tune_trains_all_of_the_layers_and_nothing_else(loaded: LoadedBase) -> None:
    layers = {name for name in loaded.model.state_dict() if ".layers." in name}

    with fresh_adapter(loaded, Training(method="full"), seed=1) as adapted:
        weights = adapter_weights(adapted)

    assert {name.removeprefix("base_model.model.") for name in weights} == layers
    assert any("norm" in name for name in layers)


def test_its_weights_are_trained_in_fp32_also_on_a_bf16_base(loaded_bf16: LoadedBase) -> None:
    with fresh_adapter(loaded_bf16, Training(method="full"), seed=1) as adapted:
        weights = adapter_weights(adapted)

    assert {weight.dtype for weight in weights.values()} == {torch.float32}
    assert {parameter.dtype for parameter in loaded_bf16.model.parameters()} == {torch.bfloat16}


def test_its_gradients_are_those_of_the_model_itself(loaded: LoadedBase, examples: tuple[Example, ...]) -> None:
    with fresh_adapter(loaded, Training(method="full"), seed=1) as adapted:
        loss = accumulate_gradients(loaded, examples[:8], micro_batch_size=None, pad_id=0, row_tokens=128)
        ours = [parameter.grad for parameter in trainable_parameters(adapted)]

    layers = [parameter for layer in transformer_layers(loaded.model).values() for parameter in layer.parameters()]
    for parameter in layers:
        parameter.requires_grad_()
    losses = []
    for example in examples[:8]:
        ids = torch.tensor([[*example.prompt_ids, *example.completion_ids]])
        labels = torch.where(torch.arange(ids.shape[1]) < len(example.prompt_ids), -100, ids)
        losses.append(loaded.model(input_ids=ids, labels=labels).loss * len(example.completion_ids))
    plain = sum(losses) / sum(len(example.completion_ids) for example in examples[:8])
    own = torch.autograd.grad(plain, layers)
    torch.testing.assert_close(loss, plain.item(), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(ours, list(own), rtol=1e-4, atol=1e-5)


def test_dora_drops_inputs_too(loaded: LoadedBase) -> None:
    with fresh_adapter(loaded, Training(method="dora", lora_dropout=0.5), seed=1) as adapted:
        _randomise(adapted)
        kept = _logits(loaded.model)
        with dropout_active(adapted, seed=1):
            dropped = _logits(loaded.model)

        assert not torch.equal(dropped, kept)
        assert torch.equal(_logits(loaded.model), kept)


def test_layers_are_those_nearest_the_output(loaded: LoadedBase) -> None:
    with fresh_adapter(loaded, Training(layers=1), seed=1) as adapted:
        names = list(adapter_weights(adapted))

    assert names and all(".layers.1." in name for name in names)


def test_more_layers_than_the_base_has_are_refused(loaded: LoadedBase) -> None:
    with pytest.raises(BaseModelError, match=r"training\.layers is 3, but the base model has 2 .* from 1 to 2"):
        last_layers(loaded.model, 3)


@pytest.mark.parametrize("family", ["gpt2", "gpt_neox", "opt", "llama", "mixtral"])
def test_transformer_layers_are_found_whatever_an_architecture_calls_them(family: str) -> None:
    config = AutoConfig.for_model(
        family, hidden_size=16, num_attention_heads=2, num_key_value_heads=2, num_hidden_layers=3, vocab_size=64,
        word_embed_proj_dim=16, ffn_dim=32, intermediate_size=32, pad_token_id=0, bos_token_id=1, eos_token_id=2,
        num_local_experts=3,
    )  # fmt: skip

    layers = transformer_layers(AutoModelForCausalLM.from_config(config))

    assert len(layers) == 3
    assert len({type(layer) for layer in layers.values()}) == 1
    assert all("Layer" in type(layer).__name__ or "Block" in type(layer).__name__ for layer in layers.values())


def _embedded(loaded: LoadedBase, ids: torch.Tensor) -> torch.Tensor:
    return loaded.model.get_input_embeddings()(ids)


def test_noise_is_uniform_and_scaled_by_length_and_width(loaded: LoadedBase) -> None:
    width = loaded.model.config.hidden_size
    ids = torch.zeros(64, 25, dtype=torch.long)
    plain = _embedded(loaded, ids)

    with embedding_noise(loaded.model, alpha=5.0, lengths=[25] * 64, seed=1):
        noise = _embedded(loaded, ids) - plain

    bound = 5.0 / math.sqrt(25 * width)
    assert noise.abs().max().item() == pytest.approx(bound, rel=0.01)
    assert noise.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.02)
    assert noise.mean().item() == pytest.approx(0.0, abs=0.01 * bound)


def test_padding_gets_no_noise_and_each_record_its_own(loaded: LoadedBase) -> None:
    ids = torch.zeros(2, 6, dtype=torch.long)
    plain = _embedded(loaded, ids)

    with embedding_noise(loaded.model, alpha=5.0, lengths=[6, 3], seed=1):
        noise = _embedded(loaded, ids) - plain

    assert (noise[0] != 0).all()
    assert (noise[1, :3] != 0).all()
    assert (noise[1, 3:] == 0).all()
    assert not torch.equal(noise[0, :3], noise[1, :3])


@pytest.mark.parametrize("micro_batch_size", [1, 3])
def test_micro_batches_change_no_noise(loaded: LoadedBase, micro_batch_size: int) -> None:
    ids = torch.zeros(6, 5, dtype=torch.long)

    with embedding_noise(loaded.model, alpha=5.0, lengths=[5] * 6, seed=1):
        whole = _embedded(loaded, ids)
    with embedding_noise(loaded.model, alpha=5.0, lengths=[5] * 6, seed=1):
        parts = [_embedded(loaded, part) for part in ids.split(micro_batch_size)]

    assert torch.equal(torch.cat(parts), whole)


def test_a_look_sees_neither_noise_nor_dropout(
    loaded: LoadedBase, make_plan: Callable[..., Plan], examples: tuple[Example, ...]
) -> None:
    training = Training(lora_rank=4, batch_size=8, neftune_alpha=15.0, lora_dropout=0.5, method="dora", evaluations=2)
    looks: list[tuple[torch.Tensor, torch.Tensor]] = []

    def look() -> float:
        looks.append((_logits(loaded.model), _logits(loaded.model)))
        return 0.5

    with fresh_adapter(loaded, training, seed=1) as adapted:
        FineTune(loaded, adapted, plan=make_plan(training, validate=look), report=lambda values: True).run()
        at_the_end = _logits(loaded.model)

    assert len(looks) == 2
    assert all(torch.equal(first, second) for first, second in looks)
    assert torch.equal(looks[-1][0], at_the_end)


def _gradients(
    loaded: LoadedBase, examples: tuple[Example, ...], *, recomputed: bool, **change: Any
) -> tuple[float, list[torch.Tensor]]:
    with fresh_adapter(loaded, Training(lora_rank=4, lora_dropout=0.3, **change), seed=1) as adapted:
        _randomise(adapted)
        with dropout_active(adapted, seed=9), activations_recomputed(loaded.model, enabled=recomputed):
            loss = accumulate_gradients(loaded, examples[:8], micro_batch_size=4, pad_id=0)
        return loss, [parameter.grad for parameter in trainable_parameters(adapted) if parameter.grad is not None]


@pytest.mark.parametrize("change", [{}, *WAYS], ids=lambda change: "+".join(change) or "lora")
def test_activation_checkpointing_gives_equal_gradients(
    loaded: LoadedBase, examples: tuple[Example, ...], change: dict[str, Any]
) -> None:
    loss, gradients = _gradients(loaded, examples, recomputed=False, **change)

    again_loss, again = _gradients(loaded, examples, recomputed=True, **change)

    assert again_loss == loss
    assert len(again) == len(gradients) > 0
    assert all(torch.equal(first, second) for first, second in zip(gradients, again, strict=True))


def test_activation_checkpointing_keeps_less_and_ends_with_its_block(
    loaded: LoadedBase, examples: tuple[Example, ...]
) -> None:
    def kept_bytes(*, recomputed: bool) -> int:
        kept: list[int] = []

        def note(tensor: torch.Tensor) -> torch.Tensor:
            kept.append(tensor.nbytes)
            return tensor

        with (
            torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor),
            activations_recomputed(loaded.model, enabled=recomputed),
        ):
            loaded.model.get_decoder()(input_ids=torch.zeros(4, 64, dtype=torch.long), use_cache=False)
        return int(np.sum(kept))

    with fresh_adapter(loaded, Training(lora_rank=4), seed=1):
        whole, recomputed = kept_bytes(recomputed=False), kept_bytes(recomputed=True)

    assert recomputed < 0.3 * whole
    assert not any("forward" in layer.__dict__ for layer in transformer_layers(loaded.model).values())
