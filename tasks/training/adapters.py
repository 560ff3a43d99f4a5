"""An adapter on the loaded base: put on, taken off cleanly, written in peft's layout."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from peft import LoraConfig, PeftModel, get_peft_model, get_peft_model_state_dict, set_peft_model_state_dict
from peft.utils.constants import DUMMY_TARGET_MODULES
from torch import nn

from configs.errors import BaseModelError
from configs.schema import Training
from tasks.models.loading import LoadedBase, take_off
from tasks.storage.durable import digest_of, file_digest, new_directory
from tasks.training.dropout import SeededDropout
from tasks.training.transformer_layers import last_layers, transformer_layers

if TYPE_CHECKING:
    from transformers import PreTrainedModel

WEIGHTS = "adapter_model.safetensors"
CONFIG = "adapter_config.json"


def target_modules(model: PreTrainedModel, choice: str, *, layers: int | Literal["all"]) -> list[str]:
    """Name the linear layers that get an adapter: `all-linear`, `attention` or `mlp`; never the output layer.

    A layer belongs to the attention when a part of its dotted name says so (`self_attn`, `attention`); what is
    linear and stands elsewhere in a block is counted as mlp, whatever an architecture calls it.

    Args:
        model: the base.
        choice: `training.target_modules`.
        layers: only those in so many of the transformer layers, the last ones.

    Raises:
        BaseModelError: the model has no such layer, or fewer layers.
    """
    from transformers.pytorch_utils import Conv1D

    output_layer = model.get_output_embeddings()
    linear = [
        name
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear | Conv1D) and module is not output_layer
    ]
    adapted = linear if layers == "all" else _within(linear, last_layers(model, layers))
    wanted = [name for name in adapted if choice in ("all-linear", "attention" if _is_attention(name) else "mlp")]
    if not wanted:
        raise BaseModelError(
            f"training.target_modules is {choice!r}, but the base model of type {model.config.model_type!r} has no "
            f"such linear layer; it has {', '.join(sorted({name.rpartition('.')[2] for name in linear})) or 'none'}"
        )
    return wanted


@contextmanager
def fresh_adapter(loaded: LoadedBase, training: Training, *, seed: int) -> Iterator[PeftModel]:
    """Put a new adapter on the base for the block; afterwards, errors included, it is the plain base again.

    Everything is in evaluation mode: `dropout.dropout_active` lets the adapter, and it alone, drop inputs.
    """
    config = _whole_modules(loaded, training) if training.method == "full" else _low_rank(loaded, training)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        adapted = get_peft_model(loaded.model, config)
    try:
        _seed_dropout(adapted, training.lora_dropout, device=loaded.device)
        for parameter in trainable_parameters(adapted):
            parameter.data = parameter.data.float()  # what is trained whole is a copy in the base's precision
        adapted.eval()
        yield adapted
    finally:
        take_off(adapted)


def _low_rank(loaded: LoadedBase, training: Training) -> LoraConfig:
    return LoraConfig(
        r=training.lora_rank,
        lora_alpha=training.lora_alpha,
        lora_dropout=training.lora_dropout,
        target_modules=target_modules(loaded.model, training.target_modules, layers=training.layers),
        use_rslora=training.rank_scaling == "rslora",
        use_dora=training.method == "dora",
        bias="none",
        task_type="CAUSAL_LM",
    )


def _whole_modules(loaded: LoadedBase, training: Training) -> LoraConfig:
    """A full fine-tune in the form of an adapter: peft trains copies of modules, which are stored and put on like one.

    The embedding and the output layer stay as they are: `label_loss` relies on it.
    """
    if training.target_modules == "all-linear":
        every = transformer_layers(loaded.model)
        modules = list(every) if training.layers == "all" else last_layers(loaded.model, training.layers)
    else:
        modules = target_modules(loaded.model, training.target_modules, layers=training.layers)
    return LoraConfig(target_modules=DUMMY_TARGET_MODULES, modules_to_save=modules, task_type="CAUSAL_LM")


def trainable_parameters(adapted: PeftModel) -> list[nn.Parameter]:
    """The adapter's weights, in a fixed order."""
    return [parameter for parameter in adapted.parameters() if parameter.requires_grad]


def adapter_weights(adapted: PeftModel) -> dict[str, torch.Tensor]:
    """Copy the adapter's weights to main memory under peft's names."""
    # "auto" would ask the model hub whether the embedding was resized.
    weights = get_peft_model_state_dict(adapted, save_embedding_layers=False)
    return {name: weights[name].detach().to("cpu", copy=True).contiguous() for name in sorted(weights)}


def restore_adapter_weights(adapted: PeftModel, weights: dict[str, torch.Tensor]) -> None:
    """Set the adapter's weights; `weights` must be complete."""
    result = set_peft_model_state_dict(adapted, weights)
    if result.unexpected_keys or adapter_weights(adapted).keys() != weights.keys():
        raise ValueError(f"the stored adapter doesn't fit the model: unexpected {result.unexpected_keys[:3]}")


def write_adapter(
    adapters: Path, adapted: PeftModel, *, weights_file: Path, base_digest: str, about: dict[str, Any]
) -> str:
    """Write `adapters/<digest>/` in peft's layout and return the digest of weights, configuration and base.

    Args:
        adapters: directory of all adapters.
        adapted: where the configuration comes from.
        weights_file: safetensors under peft's names: those of the best checkpoint.
        base_digest: the base that the adapter fits; stands in the configuration instead of a local path.
        about: kept in the manifest, without effect on the digest.
    """
    config = {**adapted.peft_config["default"].to_dict(), "base_model_name_or_path": base_digest}
    config["inference_mode"] = True
    if not isinstance(config["target_modules"], str):
        config["target_modules"] = sorted(config["target_modules"])
    config_text = json.dumps(config, indent=1, sort_keys=True, default=_as_list)
    digest = digest_of({"weights": file_digest(weights_file), "config": config_text, "base": base_digest})
    parameters = sum(parameter.numel() for parameter in trainable_parameters(adapted))
    with new_directory(adapters / digest, base_digest=base_digest, parameters=parameters, **about) as directory:
        shutil.copyfile(weights_file, directory / WEIGHTS)
        (directory / CONFIG).write_text(config_text, encoding="utf-8")
    return digest


def _seed_dropout(adapted: PeftModel, share: float, *, device: str) -> None:
    if share == 0:
        return
    generator = torch.Generator(device)
    for module in [module for name, module in adapted.named_modules() if name.endswith(".lora_dropout")]:
        module["default"] = SeededDropout(share, generator)


def _within(names: Sequence[str], folders: Sequence[str]) -> list[str]:
    """Those dotted names that stand below one of the folders."""
    return [name for name in names if any(name.startswith(f"{folder}.") for folder in folders)]


def _is_attention(name: str) -> bool:
    return any("attn" in part or "attention" in part for part in name.lower().split("."))


def _as_list(value: Any) -> list[Any]:
    if isinstance(value, set):
        return sorted(value)
    raise TypeError(f"the adapter's configuration holds a {type(value).__name__}, which JSON can't")
