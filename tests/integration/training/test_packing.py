from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

from configs.schema import Training
from tasks.models.loading import LoadedBase
from tasks.training.batches import Example
from tasks.training.packing import keeps_records_apart, row_tokens

EXAMPLES = (Example((1, 9, 8, 7), (5, 6, 2)), Example((1, 4), (3, 2)))
_SIZES = {
    "vocab_size": 64, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2,
    "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
}  # fmt: skip
APART: dict[str, dict[str, Any]] = {
    "llama": {},
    "gemma3_text": {"head_dim": 8, "num_key_value_heads": 1, "sliding_window": 4, "query_pre_attn_scalar": 8},
    "qwen3": {"head_dim": 8, "num_key_value_heads": 2},
    "gpt2": {"n_embd": 16, "n_head": 2, "n_layer": 2},
    "bloom": {"n_head": 2, "n_layer": 2},
}
TOGETHER: dict[str, dict[str, Any]] = {  # they keep a state
    "mamba": {"state_size": 4},
    "rwkv": {"attention_hidden_size": 16},
}


def _model(family: str, options: dict[str, Any]) -> PreTrainedModel:
    torch.manual_seed(0)
    config = AutoConfig.for_model(family, **{**_SIZES, **options})
    return AutoModelForCausalLM.from_config(config).eval().requires_grad_(False)


@pytest.mark.parametrize("family", sorted(APART))
def test_a_model_that_begins_anew_with_the_positions_keeps_records_apart(family: str) -> None:
    assert keeps_records_apart(_model(family, APART[family]), EXAMPLES, pad_id=0, device="cpu")


@pytest.mark.parametrize(
    "examples", [EXAMPLES, (EXAMPLES[0], Example((1, 4, 4), (3, 4, 3, 2)))], ids=["", "equal lengths"]
)
@pytest.mark.parametrize("family", sorted(TOGETHER))
def test_a_model_that_mixes_records_of_a_row_is_found_out(family: str, examples: tuple[Example, ...]) -> None:
    assert not keeps_records_apart(_model(family, TOGETHER[family]), examples, pad_id=0, device="cpu")


def test_short_records_share_rows(loaded: LoadedBase, examples: tuple[Example, ...]) -> None:
    assert row_tokens(loaded, Training(), examples, pad_id=0) == 128


def test_in_bf16_too(loaded_bf16: LoadedBase, examples: tuple[Example, ...]) -> None:
    assert row_tokens(loaded_bf16, Training(), examples, pad_id=0) == 128


@pytest.mark.parametrize(
    ("training", "examples"),
    [
        (Training(neftune_alpha=5.0), EXAMPLES),
        (Training(), [Example((1,) * 100, (2,)), Example((1,) * 100, (2,))]),
    ],
)
def test_each_record_has_a_row_where_sharing_is_impossible_or_of_no_use(
    loaded: LoadedBase, training: Training, examples: list[Example]
) -> None:
    assert row_tokens(loaded, training, examples, pad_id=0) == 0


def test_each_record_has_a_row_where_the_model_mixes_them(loaded: LoadedBase, monkeypatch: pytest.MonkeyPatch) -> None:
    decoder = loaded.model.get_decoder()
    plain = type(decoder).forward
    monkeypatch.setattr(
        type(decoder), "forward", lambda self, position_ids=None, **inputs: plain(self, **inputs)
    )  # the positions are lost, so attention crosses from record to record

    assert row_tokens(loaded, Training(), EXAMPLES, pad_id=0) == 0
