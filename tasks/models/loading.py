"""A base model in memory: loaded once per process, frozen, with adapters put on and taken off again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from transformers import AutoModelForCausalLM

from configs.errors import BaseModelError
from configs.schema import Precision
from tasks.models.rms_norm import quicken_norms
from tasks.models.tokenizer import load_tokenizer
from tasks.storage.durable import digest_of, is_valid_directory, read_manifest

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "nf4": torch.bfloat16}
"""Of what isn't held in four bits."""


@dataclass(frozen=True)
class LoadedBase:
    """A frozen base model on its device, in evaluation mode, and its tokenizer."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    device: str
    precision: Precision
    digest: str


def load_base(directory: Path, *, precision: Precision, device: str) -> LoadedBase:
    """Load an imported base model (`home/bases/<digest>`).

    Raises:
        BaseModelError: the weights don't fit the config (a missing or mis-shaped tensor would be random).
    """
    digest = digest_of(read_manifest(directory)["files"])
    try:
        model, found = AutoModelForCausalLM.from_pretrained(
            directory,
            dtype=_DTYPES[precision],
            attn_implementation="sdpa",
            use_safetensors=True,
            local_files_only=True,
            trust_remote_code=False,
            ignore_mismatched_sizes=True,  # told below, by name
            output_loading_info=True,
            **(four_bits(device) if precision == "nf4" else {}),
        )
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        raise BaseModelError(f"the base model in {directory} can't be loaded: {error}") from error
    wrong = sorted({*found["missing_keys"], *(str(entry[0]) for entry in found["mismatched_keys"])})
    if wrong:
        raise BaseModelError(
            f"the weights in {directory} don't fit its config.json: {len(wrong)} tensors are missing or of another "
            f"shape, the first is {wrong[0]}; import a complete model"
        )
    if precision == "nf4":
        keep_weights_as_they_are(model)
    else:
        model = model.to(device)
    model = model.eval().requires_grad_(False)
    if device == "cpu":
        quicken_norms(model)
    return LoadedBase(model, load_tokenizer(directory), device, precision, digest)


def four_bits(device: str) -> dict[str, Any]:
    """What `from_pretrained` needs besides, to load the linear layers as QLoRA does (Dettmers et al. 2023).

    NormalFloat in blocks of 64 whose scales are quantised too, products in bf16; the output layer stays as it is. The
    registered model says the same in its own words.
    """
    from transformers import BitsAndBytesConfig

    quantisation = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16,
    )
    return {"quantization_config": quantisation, "device_map": {"": device}}


def keep_weights_as_they_are(model: torch.nn.Module) -> None:
    """Keep bitsandbytes from repacking the weights of a model in evaluation mode, on a CPU with AVX512-BF16.

    Packed weights have no gradients, and our bases are in evaluation mode while an adapter on them is trained.
    """
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False  # type: ignore[assignment]


@contextmanager
def adapter_active(loaded: LoadedBase, adapter_directory: Path) -> Iterator[PreTrainedModel]:
    """Run the block with an adapter's layers inside `loaded.model`; the plain base is back afterwards.

    Yields `loaded.model` itself, so that code which reaches into the model works the same with and without.
    """
    adapted = load_adapter(loaded, adapter_directory)
    try:
        yield loaded.model
    finally:
        take_off(adapted)


def load_adapter(loaded: LoadedBase, adapter_directory: Path) -> PeftModel:
    """Put an adapter (`home/adapters/<digest>`) on the base; `take_off` gives the plain base back.

    Raises:
        BaseModelError: the adapter is damaged, or was trained on another base.
    """
    from peft import PeftModel

    _check_adapter(loaded, adapter_directory)
    adapted = PeftModel.from_pretrained(loaded.model, str(adapter_directory))
    return adapted.eval()


def take_off(adapted: PeftModel) -> None:
    """Give the plain base back; peft's `unload` alone would leave modules that were trained whole in their places."""
    from peft.utils.other import ModulesToSaveWrapper

    for parent in list(adapted.modules()):
        for name, child in parent.named_children():
            if isinstance(child, ModulesToSaveWrapper):
                setattr(parent, name, child.original_module)
    adapted.unload()


def carries_adapter(loaded: LoadedBase) -> bool:
    """Whether an adapter is on the base, or was left on it by a job that failed."""
    return any("lora_" in name or "modules_to_save" in name for name, _ in loaded.model.named_modules())


def _check_adapter(loaded: LoadedBase, directory: Path) -> None:
    if not is_valid_directory(directory) or not (directory / "adapter_model.safetensors").is_file():
        raise BaseModelError(f"the adapter {directory} is missing or damaged; delete it and run again")
    trained_on = read_manifest(directory).get("base_digest", loaded.digest)
    if trained_on != loaded.digest:
        raise BaseModelError(
            f"the adapter {directory} was trained on base {trained_on}, the loaded base is {loaded.digest}; "
            "load the base that it was trained on"
        )
