"""Answers drawn by chance: with the model's own probabilities, and the same ones whatever the batch."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import PreTrainedModel

from tasks.inference.decoding import generate
from tasks.inference.sampling import Sampler

PROMPTS = [[5, 9, 12], [5, 9, 30, 41, 7], [5, 9, 12]]
SETTINGS: dict[str, Any] = {"max_new_tokens": 6, "stop_ids": {1}, "pad_id": 0}


def draw(model: PreTrainedModel, *, token_budget: int = 1000, **sampler: Any) -> list[list[int]]:
    chosen = Sampler(**{"temperature": 1.0, "seed": 3, **sampler})
    return generate(model, PROMPTS, **SETTINGS, token_budget=token_budget, choose=chosen)


def test_draws_follow_the_probabilities_of_the_logits_at_the_temperature() -> None:
    logits = torch.tensor([[1.0, 0.0, -1.0, 2.0]])
    draws, temperature = 20_000, 1.7
    sampler = Sampler(temperature=temperature, seed=1)

    tokens = [sampler([number], [0], logits)[0] for number in range(draws)]

    expected = (logits[0] / temperature).softmax(dim=0)
    found = torch.bincount(torch.tensor(tokens), minlength=4) / draws
    standard_errors = (expected * (1 - expected) / draws).sqrt()
    assert ((found - expected).abs() < 4 * standard_errors).all()


def test_neither_the_batch_nor_the_run_changes_a_draw(gemma3: PreTrainedModel) -> None:
    assert draw(gemma3) == draw(gemma3) == draw(gemma3, token_budget=12)


def test_the_seed_the_prompt_and_the_place_change_it(gemma3: PreTrainedModel) -> None:
    answers = draw(gemma3)

    assert answers != draw(gemma3, seed=4)
    assert answers[0] != answers[2]  # the same prompt, asked twice
    assert len(set(answers[0])) > 1


def test_a_temperature_near_zero_says_what_is_most_probable(gemma3: PreTrainedModel) -> None:
    assert draw(gemma3, temperature=1e-6) == generate(gemma3, PROMPTS, **SETTINGS, token_budget=1000)


def test_guesses_at_greedy_answers_are_refused(gemma3: PreTrainedModel) -> None:
    with pytest.raises(ValueError, match="guesses at greedy answers"):
        generate(
            gemma3, PROMPTS, **SETTINGS, token_budget=1000, drafts=[[]] * 3, choose=Sampler(temperature=1.0, seed=1)
        )
