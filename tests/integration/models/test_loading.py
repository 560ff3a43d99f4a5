from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file

from configs.errors import BaseModelError
from configs.schema import FolderBase
from tasks.models.base_models import base_directory, import_base
from tasks.models.loading import LoadedBase, Precision, adapter_active, carries_adapter, load_base
from tasks.storage.durable import new_directory


@pytest.fixture
def loaded(tiny_base: Path) -> LoadedBase:
    return load_base(tiny_base, precision="fp32", device="cpu")


def write_adapter(tiny_base: Path, target: Path, *, base_digest: str | None = None) -> Path:
    """An adapter whose output is not zero, as it would be after training."""
    loaded = load_base(tiny_base, precision="fp32", device="cpu")
    torch.manual_seed(5)
    adapted = get_peft_model(loaded.model, LoraConfig(r=4, target_modules="all-linear", init_lora_weights=False))
    with new_directory(target, base_digest=base_digest or loaded.digest) as directory:
        adapted.save_pretrained(directory)
    return target


@pytest.fixture
def adapter(tiny_base: Path, tmp_path: Path) -> Path:
    return write_adapter(tiny_base, tmp_path / "adapter")


def logits(loaded: LoadedBase) -> torch.Tensor:
    with torch.inference_mode():
        return loaded.model(torch.arange(3, 30)[None]).logits.float()


def test_the_norms_of_a_base_on_a_cpu_are_quick(loaded: LoadedBase) -> None:
    norms = [module for module in loaded.model.modules() if type(module).__name__.endswith("RMSNorm")]

    assert norms
    assert all("forward" in vars(norm) for norm in norms)


def test_an_adapter_changes_the_answers_only_inside_its_block(loaded: LoadedBase, adapter: Path) -> None:
    plain = logits(loaded)

    with adapter_active(loaded, adapter) as model:
        assert model is loaded.model
        assert carries_adapter(loaded)
        assert not torch.allclose(logits(loaded), plain)

    assert torch.equal(logits(loaded), plain)
    assert not carries_adapter(loaded)


def test_a_failing_block_leaves_the_plain_base(loaded: LoadedBase, adapter: Path) -> None:
    plain = logits(loaded)

    with pytest.raises(KeyError), adapter_active(loaded, adapter):
        raise KeyError

    assert torch.equal(logits(loaded), plain)
    assert not any("lora" in name for name, _ in loaded.model.named_parameters())


def test_adapters_follow_one_another_without_a_trace(loaded: LoadedBase, adapter: Path) -> None:
    with adapter_active(loaded, adapter):
        first = logits(loaded)

    with adapter_active(loaded, adapter):
        second = logits(loaded)

    assert torch.equal(first, second)


def test_an_active_adapter_equals_the_weights_it_describes(loaded: LoadedBase, adapter: Path) -> None:
    weights = load_file(adapter / "adapter_model.safetensors")
    settings = json.loads((adapter / "adapter_config.json").read_text())
    with adapter_active(loaded, adapter):
        adapted = logits(loaded)

    for name, parameter in loaded.model.named_parameters():
        prefix = f"base_model.model.{name.removesuffix('.weight')}"
        if f"{prefix}.lora_A.weight" in weights:
            update = weights[f"{prefix}.lora_B.weight"] @ weights[f"{prefix}.lora_A.weight"]
            parameter.data += settings["lora_alpha"] / settings["r"] * update

    torch.testing.assert_close(logits(loaded), adapted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_adapter_weights_are_fp32_on_any_base(tiny_base: Path, adapter: Path, precision: Precision) -> None:
    loaded = load_base(tiny_base, precision=precision, device="cpu")

    with adapter_active(loaded, adapter):
        kinds = {parameter.dtype for name, parameter in loaded.model.named_parameters() if "lora_" in name}

    assert kinds == {torch.float32}


def test_a_damaged_adapter_is_refused(loaded: LoadedBase, adapter: Path) -> None:
    weights = adapter / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x01")

    with pytest.raises(BaseModelError, match="missing or damaged"), adapter_active(loaded, adapter):
        pass

    assert not carries_adapter(loaded)


def test_an_adapter_of_another_base_is_refused(loaded: LoadedBase, tiny_base: Path, tmp_path: Path) -> None:
    adapter = write_adapter(tiny_base, tmp_path / "adapter", base_digest="0" * 64)

    with pytest.raises(BaseModelError, match=f"trained on base {'0' * 64}"), adapter_active(loaded, adapter):
        pass


def copy_base(tiny_base: Path, folder: Path) -> Path:
    shutil.copytree(tiny_base, folder, ignore=shutil.ignore_patterns("manifest.json"))
    return folder


def test_a_folder_of_a_tiny_base_is_the_same_base(tiny_base: Path, tmp_path: Path) -> None:
    copy_base(tiny_base, tmp_path / "model")

    digest = import_base(FolderBase(path="model"), bases=tmp_path / "bases", project_root=tmp_path)

    assert digest == tiny_base.name


@pytest.mark.parametrize("fault", ["missing", "shape"])
def test_weights_that_do_not_fit_the_config_are_refused(tiny_base: Path, tmp_path: Path, fault: str) -> None:
    folder = copy_base(tiny_base, tmp_path / "model")
    weights = load_file(folder / "model.safetensors")
    name = "model.layers.1.mlp.up_proj.weight"
    changed = {name: weights[name][:-8].clone()} if fault == "shape" else {}
    weights.pop(name)
    save_file({**weights, **changed}, folder / "model.safetensors", metadata={"format": "pt"})
    digest = import_base(FolderBase(path="model"), bases=tmp_path / "bases", project_root=tmp_path)

    with pytest.raises(BaseModelError, match=r"model\.layers\.1\.mlp\.up_proj"):
        load_base(base_directory(tmp_path / "bases", digest), precision="fp32", device="cpu")
