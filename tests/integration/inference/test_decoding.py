from __future__ import annotations

import random
from typing import Any

import pytest
import torch
from transformers import PreTrainedModel

from tasks.inference import row_context
from tasks.inference.decoding import generate
from tasks.inference.row_context import NO_PREFIX, share_prefix

_DRAW = random.Random(1)
SHARED = [_DRAW.randrange(3, 97) for _ in range(11)]
PROMPTS = [SHARED + [_DRAW.randrange(3, 97) for _ in range(length)] for length in (1, 19, 4, 9, 9, 2, 14, 6)]
STOP_IDS = set(range(2, 97, 6))
SETTINGS: dict[str, Any] = {"max_new_tokens": 12, "stop_ids": STOP_IDS, "pad_id": 0, "token_budget": 1000}


def transformers_answer(model: PreTrainedModel, prompt: list[int]) -> list[int]:
    tokens = torch.tensor([prompt])
    output = model.generate(
        tokens,
        attention_mask=torch.ones_like(tokens),
        max_new_tokens=SETTINGS["max_new_tokens"],
        do_sample=False,
        eos_token_id=sorted(STOP_IDS),
        pad_token_id=0,
    )
    answer: list[int] = output[0, len(prompt) :].tolist()
    return answer[:-1] if answer[-1] in STOP_IDS else answer


def test_generate_equals_transformers_own_greedy_decoding(model: PreTrainedModel) -> None:
    answers = generate(model, PROMPTS, **SETTINGS)

    assert answers == [transformers_answer(model, prompt) for prompt in PROMPTS]
    assert len(set(map(len, answers))) > 1, "the answers should end at different steps"


def answered(model: PreTrainedModel, **more: Any) -> tuple[list[list[int]], list[torch.Tensor]]:
    """The answers to all prompts, and the [steps, vocabulary] logits behind each."""
    seen: dict[int, list[torch.Tensor]] = {row: [] for row in range(len(PROMPTS))}

    def note(rows: Any, values: torch.Tensor) -> None:
        for row, value in zip(rows, values, strict=True):
            seen[row].append(value)

    answers = generate(model, PROMPTS, **{**SETTINGS, **more}, on_logits=note)
    return answers, [torch.stack(steps) for steps in seen.values()]


def assert_close(ours: list[torch.Tensor], theirs: list[torch.Tensor]) -> None:
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


def test_sharing_the_prefix_does_not_change_logits(gemma3: PreTrainedModel) -> None:
    _, shared = answered(gemma3, shared_prefix=share_prefix(gemma3, PROMPTS))
    _, alone = answered(gemma3, shared_prefix=NO_PREFIX)

    assert_close(shared, alone)


def test_the_shared_prefix_is_what_all_prompts_begin_with(gemma3: PreTrainedModel) -> None:
    prefix = share_prefix(gemma3, PROMPTS)

    assert list(prefix.token_ids) == SHARED
    assert prefix.keys_values is not None
    assert [tuple(keys.shape) for keys, _ in prefix.keys_values] == [(1, 2, len(SHARED), 8)] * 3


def test_a_prefix_of_other_prompts_is_refused(gemma3: PreTrainedModel) -> None:
    prefix = share_prefix(gemma3, PROMPTS)

    with pytest.raises(ValueError, match="prompt 1 has 12 tokens and does not continue"):
        generate(gemma3, [PROMPTS[0], [96] * 12], **SETTINGS, shared_prefix=prefix)


@pytest.mark.parametrize("token_budget", [1, 60, 100_000])
def test_batches_and_their_padding_do_not_change_answers(model: PreTrainedModel, token_budget: int) -> None:
    answers = generate(model, PROMPTS, **{**SETTINGS, "token_budget": token_budget})

    assert answers == [generate(model, [prompt], **SETTINGS)[0] for prompt in PROMPTS]


@pytest.mark.parametrize("shared", [True, False], ids=["shared prefix", "whole prompts"])
@pytest.mark.parametrize("limits", [{"_PART_PADDING": 0}, {"_PART_TOKENS": 1}], ids=["no padding", "rows alone"])
def test_prompts_that_run_in_parts_leave_what_they_leave_together(
    model: PreTrainedModel, monkeypatch: pytest.MonkeyPatch, limits: dict[str, int], shared: bool
) -> None:
    prefix = None if shared else NO_PREFIX
    monkeypatch.setattr(row_context, "_PART_PADDING", 1000)
    answers_together, together = answered(model, shared_prefix=prefix)
    for name, value in limits.items():
        monkeypatch.setattr(row_context, name, value)

    answers, logits = answered(model, shared_prefix=prefix)

    assert answers == answers_together
    assert_close(logits, together)


def test_rows_of_other_lengths_run_without_padding_where_that_costs_more_than_a_pass(
    gemma3: PreTrainedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    widths: list[int] = []
    hook = gemma3.base_model.register_forward_pre_hook(
        lambda *arguments: widths.append(arguments[2]["input_ids"].shape[1]), with_kwargs=True
    )
    monkeypatch.setattr(row_context, "_PART_PADDING", 3)

    generate(gemma3, PROMPTS, **{**SETTINGS, "max_new_tokens": 1}, shared_prefix=NO_PREFIX)
    hook.remove()

    assert widths == [30, 25, 20, 15, 12]


@pytest.mark.parametrize(("lengths", "expected"), [([40, 30], 70), ([500] * 9, 2048), ([3000, 9, 9], 3000)])
def test_a_pass_holds_what_is_said_of_it(
    gemma3: PreTrainedModel, monkeypatch: pytest.MonkeyPatch, lengths: list[int], expected: int
) -> None:
    assert row_context.most_tokens_of_a_pass(gemma3, lengths) == expected
    monkeypatch.setattr(row_context, "mask_style", lambda _: None)
    assert row_context.most_tokens_of_a_pass(gemma3, lengths) == sum(lengths)


def test_the_padding_token_does_not_matter(gemma3: PreTrainedModel) -> None:
    assert generate(gemma3, PROMPTS, **{**SETTINGS, "pad_id": 77}) == generate(gemma3, PROMPTS, **SETTINGS)


def _drafts(answers: list[list[int]], kind: str) -> list[list[int]]:
    """Guesses that are right, right to begin with, too long, or anything."""
    match kind:
        case "right":
            return answers
        case "wrong from the middle on":
            return [[*answer[: len(answer) // 2], 96, *answer[len(answer) // 2 + 1 :]] for answer in answers]
        case "too long":
            return [[*answer, *([7] * 9)] for answer in answers]
        case _:
            return [answer[: row % 3] if row % 2 else [5, 4, 3] for row, answer in enumerate(answers)]


@pytest.mark.parametrize("token_budget", [1, 60, 100_000])
@pytest.mark.parametrize("kind", ["right", "wrong from the middle on", "too long", "anything"])
def test_a_draft_changes_no_answer_and_no_logits(model: PreTrainedModel, kind: str, token_budget: int) -> None:
    answers, logits = answered(model, token_budget=token_budget)

    guessed, guessed_logits = answered(model, token_budget=token_budget, drafts=_drafts(answers, kind))

    assert guessed == answers
    assert_close(guessed_logits, logits)


def test_a_right_draft_takes_one_pass(gemma3: PreTrainedModel) -> None:
    prompts = PROMPTS[3:5]
    answers = generate(gemma3, prompts, **SETTINGS)
    passes: list[object] = []
    handle = gemma3.base_model.register_forward_pre_hook(lambda *_: passes.append(None))

    generate(gemma3, prompts, **SETTINGS, drafts=answers, shared_prefix=NO_PREFIX)
    handle.remove()

    assert len(passes) == 1


def test_an_answer_ends_where_it_is_complete(gemma3: PreTrainedModel) -> None:
    whole = generate(gemma3, PROMPTS, **SETTINGS)

    cut = generate(gemma3, PROMPTS, **SETTINGS, is_complete=lambda tokens: len(tokens) == 3)

    assert cut == [answer[:3] for answer in whole]


def test_no_answer_is_longer_than_allowed(gemma3: PreTrainedModel) -> None:
    answers = generate(gemma3, PROMPTS, **{**SETTINGS, "max_new_tokens": 1, "stop_ids": set()})

    assert [len(answer) for answer in answers] == [1] * len(PROMPTS)


def test_every_prompt_is_reported_once(gemma3: PreTrainedModel) -> None:
    done: list[int] = []

    generate(gemma3, PROMPTS, **{**SETTINGS, "token_budget": 60}, on_batch=done.append)

    assert len(done) > 1
    assert sum(done) == len(PROMPTS)


def test_no_prompts_have_no_answers(gemma3: PreTrainedModel) -> None:
    assert generate(gemma3, [], **SETTINGS) == []


def test_the_output_layer_never_sees_more_than_the_last_tokens(
    gemma3: PreTrainedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[torch.Tensor] = []
    handle = gemma3.get_output_embeddings().register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    monkeypatch.setattr("tasks.inference.forward._LOGITS_AT_ONCE", 3 * 97)

    chunked = generate(gemma3, PROMPTS, **SETTINGS)
    handle.remove()

    assert all(hidden.ndim == 2 and hidden.is_contiguous() and len(hidden) <= 3 for hidden in seen)
    monkeypatch.undo()
    assert chunked == generate(gemma3, PROMPTS, **SETTINGS)


def test_training_mode_is_left_as_it_was_and_does_not_act(gemma3: PreTrainedModel) -> None:
    gemma3.train()

    generate(gemma3, PROMPTS[:2], **SETTINGS)

    assert gemma3.training
    gemma3.eval()
