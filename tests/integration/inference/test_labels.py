from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
import torch
from transformers import PreTrainedModel

from tasks.inference.decoding import generate
from tasks.inference.label_scoring import score_labels
from tasks.inference.label_search import _Frontier, choose_labels
from tasks.inference.label_tree import build_label_tree
from tasks.inference.row_context import NO_PREFIX

_DRAW = random.Random(1)
SHARED = [_DRAW.randrange(3, 97) for _ in range(11)]
PROMPTS = [SHARED + [_DRAW.randrange(3, 97) for _ in range(length)] for length in (1, 19, 4, 9, 9, 2, 14, 6)]
LABELS = [[5, 6, 7, 2], [5, 6, 2], [5, 8, 9, 10, 11, 12, 13, 14, 2], [11, 2], [11, 30, 2], [50], [51, 2], [50]]
SETTINGS: dict[str, Any] = {"label_ids": LABELS, "pad_id": 0, "token_budget": 2000}


def naive_scores(model: PreTrainedModel) -> np.ndarray:
    """A full forward pass for each prompt and label."""
    scores = np.empty((len(PROMPTS), len(LABELS)))
    for row, prompt in enumerate(PROMPTS):
        for column, label in enumerate(LABELS):
            logs = model(torch.tensor([prompt + label])).logits[0].log_softmax(dim=-1)
            places = range(len(prompt) - 1, len(prompt) + len(label) - 1)
            scores[row, column] = sum(logs[place, token].item() for place, token in zip(places, label, strict=True))
    return scores


@pytest.mark.parametrize("settings", [{}, {"shared_prefix": NO_PREFIX}, {"token_budget": 1}, {"pad_id": 77}])
def test_label_scores_equal_those_of_full_forward_passes(model: PreTrainedModel, settings: dict[str, Any]) -> None:
    scores = score_labels(model, PROMPTS, **{**SETTINGS, **settings})

    np.testing.assert_allclose(scores, naive_scores(model), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("settings", [{}, {"shared_prefix": NO_PREFIX}, {"token_budget": 1}, {"pad_id": 77}])
def test_the_chosen_label_is_the_one_with_the_highest_score(model: PreTrainedModel, settings: dict[str, Any]) -> None:
    chosen = choose_labels(model, PROMPTS, **{**SETTINGS, **settings})

    assert chosen.tolist() == naive_scores(model).argmax(axis=1).tolist()


def test_the_search_finds_the_highest_score_of_random_label_sets(gemma3: PreTrainedModel) -> None:
    draw = random.Random(5)
    for _ in range(20):
        labels = [[draw.randrange(3, 9) for _ in range(draw.randrange(1, 6))] + [2] for _ in range(25)]
        settings = {**SETTINGS, "label_ids": labels}

        scores = score_labels(gemma3, PROMPTS, **settings)
        chosen = choose_labels(gemma3, PROMPTS, **settings)

        np.testing.assert_allclose(scores[np.arange(len(PROMPTS)), chosen], scores.max(axis=1), atol=1e-4)


def test_the_search_runs_fewer_tokens_than_all_labels_have(gemma3: PreTrainedModel) -> None:
    prompts = [PROMPTS[0]] * 16
    (likely,) = generate(gemma3, prompts[:1], max_new_tokens=12, stop_ids=set(), pad_id=0, token_budget=100)
    draw = random.Random(5)
    labels = [likely, *([draw.randrange(3, 97) for _ in range(12)] for _ in range(30))]
    passes: list[int] = []
    handle = gemma3.get_output_embeddings().register_forward_pre_hook(lambda _, inputs: passes.append(len(inputs[0])))

    chosen = choose_labels(gemma3, prompts, label_ids=labels, pad_id=0, token_budget=100_000)
    handle.remove()

    assert chosen.tolist() == [0] * 16
    assert sum(passes) < len(prompts) * 31 * 12 / 3


def test_a_lone_row_goes_along_an_unbranched_way_in_one_pass(gemma3: PreTrainedModel) -> None:
    passes: list[int] = []
    handle = gemma3.get_output_embeddings().register_forward_pre_hook(lambda _, inputs: passes.append(len(inputs[0])))

    choose_labels(gemma3, PROMPTS[:1], label_ids=[[5, 6, 7, 8, 9, 2]], pad_id=0, token_budget=1000)
    handle.remove()

    assert passes == [1, 5]


@pytest.mark.parametrize(("lead", "places"), [(1.5, 5), (0.5, 1)])
def test_many_rows_go_along_an_unbranched_way_where_it_leads_clearly(lead: float, places: int) -> None:
    tree = build_label_tree([[5, 6, 7, 8, 9, 2], [11, 12, 13, 14, 15, 2]])
    search = _Frontier(20, tree)
    search.note(np.where(tree.edge_tokens == 5, -1.0, -1.0 - lead).astype(np.float32)[None, None].repeat(20, axis=0))

    search.advance()

    assert search.visits.shape == (20, places)
    assert (tree.token_ids[search.visits[:, 0]] == 5).all()


def test_rows_stay_together_where_few_have_an_unbranched_way() -> None:
    tree = build_label_tree([[5, 6, 7, 8, 9, 2], [11, 12, 2], [11, 13, 2]])
    search = _Frontier(20, tree)
    logs = np.full((20, 1, len(tree.edge_tokens)), -9.0, dtype=np.float32)
    logs[:9, 0, tree.edge_tokens == 5] = logs[9:, 0, tree.edge_tokens == 11] = -1.0

    search.note(logs)
    search.advance()

    assert search.visits.shape == (20, 1)


def test_output_layer_chunks_do_not_change_scores(gemma3: PreTrainedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = score_labels(gemma3, PROMPTS, **SETTINGS)
    monkeypatch.setattr("tasks.inference.forward._LOGITS_AT_ONCE", 7 * 97)
    monkeypatch.setattr("tasks.inference.forward._VOCABULARY_BLOCK", 10)

    chunked = score_labels(gemma3, PROMPTS, **SETTINGS)

    np.testing.assert_allclose(chunked, whole, rtol=1e-5, atol=1e-5)


def test_a_model_without_numbers_chooses_no_label(gemma3: PreTrainedModel) -> None:
    class Broken(torch.nn.Module):
        weight = gemma3.get_output_embeddings().weight

        def forward(self, hidden: torch.Tensor) -> torch.Tensor:
            return torch.full((len(hidden), 97), torch.nan)

    original = gemma3.get_output_embeddings()
    gemma3.set_output_embeddings(Broken())
    try:
        with pytest.raises(FloatingPointError, match="not numbers"):
            choose_labels(gemma3, PROMPTS, **SETTINGS)
    finally:
        gemma3.set_output_embeddings(original)


def test_every_prompt_is_reported_once(model: PreTrainedModel) -> None:
    scored: list[int] = []
    chosen: list[int] = []

    score_labels(model, PROMPTS, **{**SETTINGS, "token_budget": 60}, on_batch=scored.append)
    choose_labels(model, PROMPTS, **{**SETTINGS, "token_budget": 60}, on_batch=chosen.append)

    assert sum(scored) == sum(chosen) == len(PROMPTS)


def test_labels_of_one_token_need_no_second_pass(gemma3: PreTrainedModel) -> None:
    settings = {**SETTINGS, "label_ids": [[token] for token in range(20, 40)]}

    scores = score_labels(gemma3, PROMPTS, **settings)
    chosen = choose_labels(gemma3, PROMPTS, **settings)

    assert chosen.tolist() == scores.argmax(axis=1).tolist()
    assert len(set(chosen.tolist())) > 1
