from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.nn.functional import cross_entropy
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

from configs.errors import BaseModelError
from tasks.training import label_loss as module
from tasks.training.batches import Example, pack_batch
from tasks.training.cross_entropy import loss_and_gradient
from tasks.training.label_loss import check_label_logits, label_loss

EXAMPLES = [Example((1, 9, 8, 7), (5, 6, 2)), Example((1, 4), (3, 2)), Example((1, 4, 4, 4, 4, 4), (9, 2))]

SMALL = {
    "vocab_size": 64, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2,
    "num_key_value_heads": 1, "head_dim": 8, "sliding_window": 4, "tie_word_embeddings": True,
    "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
}  # fmt: skip
FAMILIES = {
    "llama": {},
    "gemma3_text": {"layer_types": ["sliding_attention", "full_attention"], "query_pre_attn_scalar": 8},
    "gemma2": {"final_logit_softcapping": 0.5, "query_pre_attn_scalar": 8},
    "cohere": {"logit_scale": 0.0625},
    "granite": {"logits_scaling": 8.0},
    "gpt_neox": {},
}


@pytest.fixture(params=sorted(FAMILIES))
def model(request: pytest.FixtureRequest) -> PreTrainedModel:
    torch.manual_seed(0)
    config = AutoConfig.for_model(request.param, **{**SMALL, **FAMILIES[request.param]})
    model = AutoModelForCausalLM.from_config(config).eval()
    # Wide enough for logits at which scaling and capping show.
    model.get_output_embeddings().weight.data.normal_(std=2.0)
    return model.requires_grad_(False)


def _plain_loss(model: PreTrainedModel, example: Example, *, label_smoothing: float = 0.0) -> torch.Tensor:
    """One example alone, no padding, logits at every position."""
    tokens = torch.tensor([*example.prompt_ids, *example.completion_ids])
    logits = model(input_ids=tokens[None]).logits[0]
    start = len(example.prompt_ids)
    return cross_entropy(logits[start - 1 : -1], tokens[start:], reduction="sum", label_smoothing=label_smoothing)


@pytest.mark.parametrize("row_tokens", [0, 9, 64])
def test_loss_at_the_labels_equals_the_plain_full_loss(model: PreTrainedModel, row_tokens: int) -> None:
    loss = label_loss(model, pack_batch(EXAMPLES, pad_id=0, row_tokens=row_tokens), device="cpu")

    plain = sum(_plain_loss(model, example) for example in EXAMPLES)
    torch.testing.assert_close(loss, plain, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("row_tokens", [0, 9, 64])
def test_its_gradient_equals_that_of_the_plain_full_loss(model: PreTrainedModel, row_tokens: int) -> None:
    weight = next(parameter for name, parameter in model.named_parameters() if "mlp" in name and parameter.ndim == 2)
    weight.requires_grad_()

    (ours,) = torch.autograd.grad(
        label_loss(model, pack_batch(EXAMPLES, pad_id=0, row_tokens=row_tokens), device="cpu"), weight
    )

    (plain,) = torch.autograd.grad(sum(_plain_loss(model, example) for example in EXAMPLES), weight)
    torch.testing.assert_close(ours, plain, rtol=1e-4, atol=1e-6)


def test_chunks_change_neither_loss_nor_gradient(model: PreTrainedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    weight = next(parameter for name, parameter in model.named_parameters() if "mlp" in name and parameter.ndim == 2)
    weight.requires_grad_()
    batch = pack_batch(EXAMPLES, pad_id=0)
    whole = label_loss(model, batch, device="cpu")
    (whole_gradient,) = torch.autograd.grad(whole, weight)

    monkeypatch.setattr(module, "_LABELS_AT_ONCE", 2)
    monkeypatch.setattr(module, "logits_held", lambda _: 2 * 24)
    monkeypatch.setattr("tasks.training.cross_entropy._LEAST_BLOCK", 8)
    chunked = label_loss(model, batch, device="cpu")
    (chunked_gradient,) = torch.autograd.grad(chunked, weight)

    torch.testing.assert_close(chunked, whole)
    torch.testing.assert_close(chunked_gradient, whole_gradient)


def test_smoothed_labels_give_the_gradient_of_the_smoothed_loss_and_the_plain_value(model: PreTrainedModel) -> None:
    weight = next(parameter for name, parameter in model.named_parameters() if "mlp" in name and parameter.ndim == 2)
    weight.requires_grad_()
    smoothed = label_loss(model, pack_batch(EXAMPLES, pad_id=0), device="cpu", label_smoothing=0.3)
    (gradient,) = torch.autograd.grad(smoothed, weight)

    plain = sum(_plain_loss(model, example) for example in EXAMPLES)
    wanted = sum(_plain_loss(model, example, label_smoothing=0.3) for example in EXAMPLES)
    torch.testing.assert_close(smoothed, plain, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(gradient, *torch.autograd.grad(wanted, weight), rtol=1e-4, atol=1e-6)


def test_the_output_layer_sees_label_positions_only(model: PreTrainedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    shapes: list[tuple[torch.Size, bool]] = []

    def note(hidden: torch.Tensor, *arguments: Any, **more: Any) -> Any:
        shapes.append((hidden.shape, hidden.is_contiguous()))
        return loss_and_gradient(hidden, *arguments, **more)

    monkeypatch.setattr(module, "loss_and_gradient", note)
    model.get_output_embeddings().register_forward_pre_hook(lambda *_: pytest.fail("the layer itself is asked too"))

    label_loss(model, pack_batch(EXAMPLES, pad_id=0), device="cpu")

    assert shapes == [((7, model.config.hidden_size), True)]


def test_an_output_layer_that_is_no_plain_matrix_is_refused() -> None:
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model("llama", **SMALL)).eval()
    model.lm_head = torch.nn.Sequential(model.lm_head)

    with pytest.raises(BaseModelError, match="output layer of the base model of type 'llama' is a Sequential"):
        check_label_logits(model, EXAMPLES[0], pad_id=0, device="cpu")


def test_known_architectures_pass_the_check(model: PreTrainedModel) -> None:
    check_label_logits(model, EXAMPLES[0], pad_id=0, device="cpu")


def test_an_architecture_that_does_something_else_to_its_logits_is_refused() -> None:
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model("llama", **SMALL)).eval()
    forward = model.forward

    def scaled(*args: object, **kwargs: object) -> object:
        output = forward(*args, **kwargs)
        output.logits = output.logits * 30
        return output

    model.forward = scaled
    with pytest.raises(BaseModelError, match="'llama' transforms its logits"):
        check_label_logits(model, EXAMPLES[0], pad_id=0, device="cpu")


def test_an_output_layer_that_does_more_than_its_matrix_is_refused() -> None:
    class Louder(torch.nn.Linear):
        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            return super().forward(inputs) * 30

    model = AutoModelForCausalLM.from_config(AutoConfig.for_model("llama", **SMALL)).eval()
    model.lm_head.__class__ = Louder

    with pytest.raises(BaseModelError, match="'llama' transforms its logits"):
        check_label_logits(model, EXAMPLES[0], pad_id=0, device="cpu")


def test_a_base_whose_logits_are_not_finite_is_refused() -> None:
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model("llama", **SMALL)).eval()
    model.model.norm.weight.data.fill_(float("inf"))

    with pytest.raises(BaseModelError, match="logits that are not finite"):
        check_label_logits(model, EXAMPLES[0], pad_id=0, device="cpu")
