"""Tiny random models of the families that inference treats differently."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from transformers import (
    Gemma2Config,
    Gemma3TextConfig,
    Lfm2Config,
    LlamaConfig,
    MistralConfig,
    PreTrainedModel,
)
from transformers.models.auto.modeling_auto import AutoModelForCausalLM

PAD = 0
VOCABULARY = 97
_SMALL = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "pad_token_id": PAD,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "max_position_embeddings": 512,
}


def _gemma3() -> Any:
    kinds = ["sliding_attention", "full_attention", "sliding_attention"]
    return Gemma3TextConfig(**_SMALL, num_hidden_layers=3, layer_types=kinds, sliding_window=6)


def _gemma2() -> Any:
    # soft caps, eager attention: masks to be added, logits to be capped
    kinds = ["sliding_attention", "full_attention"]
    return Gemma2Config(**_SMALL, num_hidden_layers=2, layer_types=kinds, sliding_window=6, final_logit_softcapping=2.0)


def _lfm2() -> Any:
    # a convolution layer takes no masks of ours
    return Lfm2Config(**_SMALL, num_hidden_layers=2, layer_types=["conv", "full_attention"], block_auto_adjust_ff_dim=False)


CONFIGS: dict[str, Callable[[], Any]] = {
    "llama": lambda: LlamaConfig(**_SMALL, num_hidden_layers=2),
    "gemma3": _gemma3,
    "mistral": lambda: MistralConfig(**_SMALL, num_hidden_layers=2, sliding_window=6),
    "gemma2": _gemma2,
    "lfm2": _lfm2,
}


@pytest.fixture(scope="session", params=CONFIGS)
def any_model(request: pytest.FixtureRequest) -> PreTrainedModel:
    return tiny_model(request.param)


@pytest.fixture(scope="session")
def gemma3() -> PreTrainedModel:
    return tiny_model("gemma3")


def tiny_model(family: str) -> PreTrainedModel:
    """A random model whose weights are large enough that its answers vary."""
    torch.manual_seed(3)
    model = AutoModelForCausalLM.from_config(CONFIGS[family]())
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.25)
    return model.eval().requires_grad_(False)
