from __future__ import annotations

import copy

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

from tasks.models.rms_norm import quicken_norms

SMALL = {
    "vocab_size": 64, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2,
    "num_key_value_heads": 1, "head_dim": 8, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
}  # fmt: skip
TOKENS = torch.tensor([[1, 9, 8, 7, 5, 6, 2]])
NORMS = {"llama": 5, "gemma3_text": 13, "qwen3": 9, "gemma2": 9}


def _model(family: str, dtype: torch.dtype = torch.float32) -> PreTrainedModel:
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(family, **SMALL)).eval()
    for name, parameter in model.named_parameters():
        if "norm" in name:
            parameter.data.normal_(mean=0.5, std=0.3)
    return model.to(dtype)


def _loss(model: PreTrainedModel) -> torch.Tensor:
    return model(input_ids=TOKENS, labels=TOKENS).loss.float()


@pytest.mark.parametrize("family", NORMS)
def test_every_norm_is_quickened_and_logits_and_gradients_stay(family: str) -> None:
    model = _model(family)
    quick = copy.deepcopy(model)

    assert quicken_norms(quick) == NORMS[family]

    ours, theirs = _loss(quick), _loss(model)
    ours.backward()
    theirs.backward()
    torch.testing.assert_close(ours, theirs)
    for (name, mine), other in zip(quick.named_parameters(), model.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, other.grad, rtol=1e-4, atol=1e-6, msg=name)


@pytest.mark.parametrize("family", NORMS)
def test_in_bf16_a_norm_answers_what_it_did_but_for_rounding(family: str) -> None:
    norm = _model(family, torch.bfloat16).model.norm
    inputs = torch.randn((3, 5, 16), generator=torch.Generator().manual_seed(1)).bfloat16()
    before = norm(inputs)

    assert quicken_norms(norm) == 1

    assert norm(inputs).dtype == torch.bfloat16
    torch.testing.assert_close(norm(inputs), before, rtol=2**-7, atol=0)


@pytest.mark.parametrize("family", NORMS)
def test_a_weight_that_is_trained_in_fp32_gives_what_it_gave(family: str) -> None:
    norm = _model(family, torch.bfloat16).model.norm
    quick = copy.deepcopy(norm)
    quicken_norms(quick)
    inputs = torch.ones((1, 16), dtype=torch.bfloat16)

    assert quick.float()(inputs).dtype == norm.float()(inputs).dtype


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_norm_that_does_something_else_is_left_as_it_is(dtype: torch.dtype) -> None:
    class ShyRMSNorm(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight, self.eps = torch.nn.Parameter(torch.full((16,), 0.05, dtype=dtype)), 1e-6

        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            scale = torch.rsqrt(inputs.float().pow(2).mean(-1, keepdim=True) + self.eps)
            return (inputs.float() * scale * self.weight.float() * 0.9).to(inputs.dtype)

    norm = ShyRMSNorm()

    assert quicken_norms(norm) == 0
    assert "forward" not in vars(norm)


def test_a_copy_of_a_quick_norm_has_weights_of_its_own() -> None:
    norm = _model("llama").model.norm
    quicken_norms(norm)
    other = copy.deepcopy(norm)
    other.weight.data.zero_()

    inputs = torch.ones((1, 16))
    assert other(inputs).abs().max() == 0
    assert norm(inputs).abs().max() > 0


def test_the_inputs_are_left_as_they_are() -> None:
    norm = _model("llama").model.norm
    quicken_norms(norm)
    inputs = torch.full((2, 16), 3.0)

    norm(inputs)

    assert inputs.eq(3.0).all()
