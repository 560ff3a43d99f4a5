"""Tiny random models of the families that inference treats differently."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    Gemma2Config,
    Gemma3TextConfig,
    Lfm2Config,
    LlamaConfig,
    MistralConfig,
    PreTrainedModel,
)

from tests.trained_home import TrainedHome

_SMALL: dict[str, Any] = {
    "vocab_size": 97,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "max_position_embeddings": 512,
}
_MIXED = ["sliding_attention", "full_attention", "sliding_attention"]

_CONFIGS: dict[str, Callable[[], Any]] = {
    "llama": lambda: LlamaConfig(**_SMALL, num_hidden_layers=2),
    "gemma3": lambda: Gemma3TextConfig(**_SMALL, num_hidden_layers=3, layer_types=_MIXED, sliding_window=6),
    # one kind of layer, with a window
    "mistral": lambda: MistralConfig(**_SMALL, num_hidden_layers=2, sliding_window=6),
    # eager attention, whose masks are added; and logits with a cap
    "gemma2": lambda: Gemma2Config(
        **_SMALL, num_hidden_layers=3, layer_types=_MIXED, sliding_window=6, final_logit_softcapping=2.0
    ),
    # a convolution layer, which takes no masks of ours
    "lfm2": lambda: Lfm2Config(
        **_SMALL, num_hidden_layers=2, layer_types=["conv", "full_attention"], block_auto_adjust_ff_dim=False
    ),
}


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session", params=_CONFIGS)
def model(request: pytest.FixtureRequest) -> PreTrainedModel:
    """A model of each family."""
    return _random_model(request.param)


@pytest.fixture(scope="session")
def gemma3() -> PreTrainedModel:
    return _random_model("gemma3")


@pytest.fixture
def home(trained_home: TrainedHome) -> Path:
    return trained_home.home


def _random_model(family: str) -> PreTrainedModel:
    """A model whose weights are so large that its answers vary."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        made: PreTrainedModel = AutoModelForCausalLM.from_config(_CONFIGS[family]())
        for parameter in made.parameters():
            parameter.data.add_(torch.randn_like(parameter) * 0.25)
    return made.eval().requires_grad_(False)
