from __future__ import annotations

from pathlib import Path

import pytest
import torch
from peft import PeftModel
from safetensors.torch import save_file
from transformers import AutoConfig, AutoModelForCausalLM

from configs.errors import BaseModelError
from configs.schema import Training
from tasks.models.loading import LoadedBase
from tasks.storage.durable import read_manifest
from tasks.training.adapters import (
    adapter_weights,
    fresh_adapter,
    restore_adapter_weights,
    target_modules,
    trainable_parameters,
    write_adapter,
)

IDS = torch.tensor([[1, 40, 41, 42, 43]])


def _logits(model: torch.nn.Module) -> torch.Tensor:
    with torch.no_grad():
        return model(input_ids=IDS).logits


def _modules(model: torch.nn.Module, choice: str) -> list[str]:
    return target_modules(model, choice, layers="all")


def _randomise(adapted: PeftModel) -> None:
    generator = torch.Generator().manual_seed(4)
    for parameter in trainable_parameters(adapted):
        parameter.data.normal_(std=0.1, generator=generator)


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ("attention", {"q_proj", "k_proj", "v_proj", "o_proj"}),
        ("mlp", {"gate_proj", "up_proj", "down_proj"}),
        ("all-linear", {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}),
    ],
)
def test_target_modules_choose_the_layers(loaded: LoadedBase, choice: str, expected: set[str]) -> None:
    with fresh_adapter(loaded, Training(target_modules=choice), seed=1) as adapted:
        names = [name.split(".lora_")[0] for name in adapter_weights(adapted)]

    assert {name.rpartition(".")[2] for name in names} == expected
    assert len(set(names)) == 2 * len(expected)


@pytest.mark.parametrize("family", ["gpt2", "gpt_neox", "opt"])
def test_layers_are_found_whatever_an_architecture_calls_them(family: str) -> None:
    config = AutoConfig.for_model(
        family, hidden_size=16, num_attention_heads=2, num_hidden_layers=1, vocab_size=64, word_embed_proj_dim=16,
        ffn_dim=32, intermediate_size=32, pad_token_id=0, bos_token_id=1, eos_token_id=2,
    )  # fmt: skip
    model = AutoModelForCausalLM.from_config(config)

    attention, mlp = _modules(model, "attention"), _modules(model, "mlp")

    assert attention and mlp
    assert sorted(attention + mlp) == sorted(_modules(model, "all-linear"))
    assert not any("head" in name or "embed" in name for name in attention + mlp)


def test_a_model_without_such_layers_is_refused() -> None:
    config = AutoConfig.for_model("mamba", hidden_size=16, num_hidden_layers=1, vocab_size=64, state_size=4)

    with pytest.raises(BaseModelError, match=r"training.target_modules is 'attention'.*in_proj"):
        _modules(AutoModelForCausalLM.from_config(config), "attention")


def test_a_fresh_adapter_changes_no_answer(loaded: LoadedBase) -> None:
    plain = _logits(loaded.model)

    with fresh_adapter(loaded, Training(), seed=1):
        torch.testing.assert_close(_logits(loaded.model), plain, rtol=0, atol=0)


def test_adapter_weights_are_fp32_on_a_bf16_base(loaded_bf16: LoadedBase) -> None:
    with fresh_adapter(loaded_bf16, Training(), seed=1) as adapted:
        dtypes = {parameter.dtype for parameter in trainable_parameters(adapted)}

    assert dtypes == {torch.float32}


def test_rank_sets_the_size_of_the_adapter(loaded: LoadedBase) -> None:
    def parameters(rank: int) -> int:
        with fresh_adapter(loaded, Training(lora_rank=rank), seed=1) as adapted:
            return sum(parameter.numel() for parameter in trainable_parameters(adapted))

    assert parameters(8) == 4 * parameters(2)


def test_the_seed_sets_the_first_weights(loaded: LoadedBase) -> None:
    def first(seed: int) -> torch.Tensor:
        with fresh_adapter(loaded, Training(), seed=seed) as adapted:
            return next(weights for name, weights in adapter_weights(adapted).items() if "lora_A" in name)

    assert torch.equal(first(1), first(1))
    assert not torch.equal(first(1), first(2))


def test_making_an_adapter_leaves_the_random_state_alone(loaded: LoadedBase) -> None:
    before = torch.get_rng_state()

    with fresh_adapter(loaded, Training(), seed=1):
        pass

    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("fails", [False, True])
def test_afterwards_the_base_is_plain_again(loaded: LoadedBase, fails: bool) -> None:
    plain, modules = _logits(loaded.model), [name for name, _ in loaded.model.named_modules()]

    with (
        pytest.raises(RuntimeError) if fails else torch.no_grad(),
        fresh_adapter(loaded, Training(), seed=1) as adapted,
    ):
        _randomise(adapted)
        assert not torch.equal(_logits(loaded.model), plain)
        if fails:
            raise RuntimeError("a job that fails")

    assert torch.equal(_logits(loaded.model), plain)
    assert [name for name, _ in loaded.model.named_modules()] == modules
    assert not hasattr(loaded.model, "peft_config")
    assert not any(parameter.requires_grad for parameter in loaded.model.parameters())
    assert not loaded.model.training


def test_merged_equals_base_plus_scaled_product(loaded: LoadedBase) -> None:
    training = Training(lora_rank=4, lora_alpha=12.0)
    name = "model.layers.0.self_attn.q_proj"
    base = loaded.model.get_submodule(name).weight.clone()

    with fresh_adapter(loaded, training, seed=1) as adapted:
        _randomise(adapted)
        weights = adapter_weights(adapted)
        with_adapter = _logits(loaded.model)
        adapted.merge_adapter()
        merged, merged_logits = loaded.model.get_submodule(name).base_layer.weight.clone(), _logits(loaded.model)
        adapted.unmerge_adapter()

    a, b = (weights[f"base_model.model.{name}.lora_{part}.weight"] for part in "AB")
    torch.testing.assert_close(merged, base + (12.0 / 4) * b @ a)
    torch.testing.assert_close(merged_logits, with_adapter, rtol=1e-4, atol=1e-5)


def test_restored_weights_are_the_stored_ones_bit_by_bit(loaded: LoadedBase) -> None:
    with fresh_adapter(loaded, Training(), seed=1) as adapted:
        _randomise(adapted)
        stored = adapter_weights(adapted)
    with fresh_adapter(loaded, Training(), seed=2) as adapted:
        restore_adapter_weights(adapted, stored)
        restored = adapter_weights(adapted)

    assert stored.keys() == restored.keys()
    assert all(torch.equal(stored[name], restored[name]) for name in stored)


def test_an_incomplete_adapter_is_not_restored(loaded: LoadedBase) -> None:
    with fresh_adapter(loaded, Training(), seed=1) as adapted:
        stored = adapter_weights(adapted)
        stored.popitem()

        with pytest.raises(ValueError, match="doesn't fit"):
            restore_adapter_weights(adapted, stored)


def _written(loaded: LoadedBase, directory: Path) -> tuple[str, torch.Tensor]:
    with fresh_adapter(loaded, Training(lora_rank=4), seed=1) as adapted:
        _randomise(adapted)
        save_file(adapter_weights(adapted), directory / "weights.safetensors", metadata={"format": "pt"})
        digest = write_adapter(
            directory / "adapters",
            adapted,
            weights_file=directory / "weights.safetensors",
            base_digest=loaded.digest,
            about={"metrics": {"exact_match": 0.5}},
        )
        return digest, _logits(loaded.model)


def test_a_written_adapter_reloaded_by_peft_gives_equal_logits(loaded: LoadedBase, tmp_path: Path) -> None:
    digest, expected = _written(loaded, tmp_path)

    adapted = PeftModel.from_pretrained(loaded.model, tmp_path / "adapters" / digest).eval()

    assert torch.equal(_logits(adapted), expected)


def test_a_written_adapter_names_its_base_by_digest_and_no_local_path(loaded: LoadedBase, tmp_path: Path) -> None:
    digest, _ = _written(loaded, tmp_path)

    directory = tmp_path / "adapters" / digest
    manifest = read_manifest(directory)
    assert (manifest["base_digest"], manifest["metrics"]) == (loaded.digest, {"exact_match": 0.5})
    assert manifest["parameters"] > 0
    config = (directory / "adapter_config.json").read_text()
    assert loaded.digest in config and str(tmp_path.parent) not in config


def test_equal_adapters_have_the_equal_digest(loaded: LoadedBase, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()

    assert _written(loaded, tmp_path)[0] == _written(loaded, tmp_path / "other")[0]
