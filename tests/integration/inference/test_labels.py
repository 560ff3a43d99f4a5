from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
import torch
from transformers import PreTrainedModel

from tasks.inference.decoding import generate
from tasks.inference.key_values import RoomyLayer
from tasks.inference.label_scoring import score_labels
from tasks.inference.label_search import _Frontier, choose_labels
from tasks.inference.label_tree import NONE, ROOT, LabelTree, build_label_tree
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


def test_the_search_finds_the_best_label_whatever_the_tokens_probabilities_are() -> None:
    draw, wide = random.Random(7), 0
    for seed in range(150):
        labels = [
            [draw.randrange(3, draw.choice([5, 9, 60])) for _ in range(draw.randrange(10))] + [2]
            for _ in range(draw.choice([1, 3, 20]))
        ]
        tree, rows = build_label_tree(labels), draw.choice([1, 5, 40, 150])
        numbers = np.random.default_rng(seed)
        logs = -numbers.exponential(draw.choice([0.2, 1, 3]), (rows, tree.size + 1, len(tree.edge_tokens)))
        if seed % 5 == 0:
            logs[numbers.random(logs.shape) < 0.1] = -np.inf

        chosen, passes = search_in_table(logs.astype(np.float32), tree)

        wide += sum(width > 1 and count * width > 16 for count, width in passes)
        by_edge = logs.astype(np.float32)[:, tree.edge_nodes - ROOT, np.arange(len(tree.edge_tokens))].astype(float)
        scores = np.stack([by_edge[:, way > 0].sum(axis=1) for way in tree.paths], axis=1)
        possible = scores.max(axis=1) > -np.inf
        assert (chosen[~possible] == NONE).all()
        np.testing.assert_allclose(
            scores[np.arange(rows), chosen.clip(min=0)][possible], scores.max(axis=1)[possible], atol=1e-9
        )
    assert wide > 20


def search_in_table(logs: np.ndarray, tree: LabelTree) -> tuple[np.ndarray, list[tuple[int, int]]]:
    """Search with [rows, nodes, edges] log-probabilities in place of a model; the labels, and each pass's shape."""
    search, rows = _Frontier(len(logs), tree), np.arange(len(logs))
    chosen, passes = np.full(len(logs), NONE), []
    while True:
        passes.append(search.visits.shape)
        said = logs[rows[:, None], np.where(search.visits == NONE, 0, search.visits - ROOT)]
        said[search.visits == NONE] = 9e9  # whatever stands there
        search.note(said)
        going_on = search.going_on()
        chosen[rows] = search.best_labels
        if not going_on.any():
            return chosen, passes
        search.keep_rows(going_on)
        rows = rows[going_on]
        search.advance()


LONG_WAY, OTHER_WAY = [5, 6, 7, 8, 9, 2], [11, 12, 13, 14, 15, 2]


@pytest.mark.parametrize(
    ("rows", "lead", "places"),
    [(20, 1.5, 5), (20, 0.5, 1), (3, 0.5, 5), (4, 0.5, 4), (80, 1.5, 3), (300, 1.5, 1)],
    ids=["clear lead", "another is near", "tokens are free", "as far as they are free", "256 tokens", "too many rows"],
)
def test_rows_go_along_an_unbranched_way_as_far_as_it_is_worth_it(rows: int, lead: float, places: int) -> None:
    tree = build_label_tree([LONG_WAY, OTHER_WAY])
    search = _Frontier(rows, tree)
    search.note(np.where(tree.edge_tokens == 5, -1.0, -1.0 - lead)[None, None].repeat(rows, axis=0))

    search.advance()

    assert search.visits.shape == (rows, places)
    assert (tree.token_ids[search.visits[:, 0]] == 5).all()


def test_rows_do_not_go_along_where_a_finished_label_is_near() -> None:
    tree = build_label_tree([LONG_WAY, [11]])
    search = _Frontier(20, tree)
    search.note(np.where(tree.edge_tokens == 5, -1.0, -1.5)[None, None].repeat(20, axis=0))

    search.advance()

    assert search.visits.shape == (20, 1)


@pytest.mark.parametrize(("on_their_way", "places"), [(9, 1), (13, 5)])
def test_rows_stay_together_where_few_have_an_unbranched_way(on_their_way: int, places: int) -> None:
    tree = build_label_tree([LONG_WAY, [11, 12, 2], [11, 13, 2]])
    search = _Frontier(20, tree)
    logs = np.full((20, 1, len(tree.edge_tokens)), -9.0)
    logs[:on_their_way, 0, tree.edge_tokens == 5] = logs[on_their_way:, 0, tree.edge_tokens == 11] = -1.0

    search.note(logs)
    search.advance()

    assert search.visits.shape == (20, places)


def test_many_rows_with_a_clear_lead_share_wide_passes(gemma3: PreTrainedModel) -> None:
    prompts = [[*PROMPTS[row % len(PROMPTS)], 3 + row] for row in range(24)]
    draw = random.Random(3)
    labels = [[first, *(draw.randrange(3, 97) for _ in range(5)), 2] for first in range(3, 40)]
    passes: list[tuple[int, ...]] = []
    layer = gemma3.get_output_embeddings()
    original = layer.weight.data
    layer.weight.data = 40 * original  # a random model's tokens are all about as probable
    handle = gemma3.base_model.register_forward_pre_hook(
        lambda _, __, named: passes.append(tuple(named["input_ids"].shape)), with_kwargs=True
    )
    try:
        settings: dict[str, Any] = {"label_ids": labels, "pad_id": 0, "token_budget": 10_000}
        chosen = choose_labels(gemma3, prompts, **settings, shared_prefix=NO_PREFIX)
        handle.remove()
        scores = score_labels(gemma3, prompts, **settings, shared_prefix=NO_PREFIX)
    finally:
        layer.weight.data = original

    assert any(rows * width > 16 and width > 1 for rows, width in passes[1:])
    np.testing.assert_allclose(scores[np.arange(24), chosen], scores.max(axis=1), rtol=1e-4)


def test_a_batch_has_room_for_two_labels_a_row_and_grows_by_little(gemma3: PreTrainedModel) -> None:
    draw = random.Random(5)
    labels = [[draw.randrange(3, 97) for _ in range(6)] + [2] for _ in range(60)]
    counts: list[int] = []
    rooms: list[tuple[int, int]] = []
    handle = gemma3.get_output_embeddings().register_forward_pre_hook(
        lambda _, __: rooms.extend((layer._capacity, layer.get_seq_length()) for layer in caches)
    )
    caches: list[RoomyLayer] = []
    made = RoomyLayer.__init__

    def remember(self: RoomyLayer, *arguments: Any, **named: Any) -> None:
        made(self, *arguments, **named)
        caches.append(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RoomyLayer, "__init__", remember)
        choose_labels(
            gemma3, [[5, 6, 7, number] for number in range(3, 43)],
            label_ids=labels, pad_id=0, token_budget=20 * (4 + 14), shared_prefix=NO_PREFIX, on_batch=counts.append,
        )  # fmt: skip
    handle.remove()

    assert counts == [20, 20]
    assert max(length for _, length in rooms) > 4 + 14  # more than was planned
    assert all(capacity <= max(4 + 14, length + 32) for capacity, length in rooms)


def test_output_layer_chunks_do_not_change_scores(gemma3: PreTrainedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = score_labels(gemma3, PROMPTS, **SETTINGS)
    monkeypatch.setattr("tasks.inference.forward._LOGITS_AT_ONCE", 7 * 97)
    monkeypatch.setattr("tasks.inference.forward._VOCABULARY_BLOCK", 10)

    chunked = score_labels(gemma3, PROMPTS, **SETTINGS)

    np.testing.assert_allclose(chunked, whole, rtol=1e-5, atol=1e-5)


def test_a_model_without_numbers_chooses_no_label(gemma3: PreTrainedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken(torch.nn.Module):
        weight = gemma3.get_output_embeddings().weight

        def forward(self, hidden: torch.Tensor) -> torch.Tensor:
            return torch.full((len(hidden), 97), torch.nan)

    original = gemma3.get_output_embeddings()
    gemma3.set_output_embeddings(Broken())
    try:
        with pytest.raises(FloatingPointError, match="not numbers"):
            choose_labels(gemma3, PROMPTS, **SETTINGS)
        monkeypatch.setattr("tasks.inference.label_search.mask_style", lambda _: None)
        monkeypatch.setattr("tasks.inference.label_scoring.mask_style", lambda _: None)
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
