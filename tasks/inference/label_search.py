"""The most probable label of a closed set after each prompt, running only the label tokens that can still matter."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from tasks.inference.attention_masks import mask_style
from tasks.inference.batching import plan_batches
from tasks.inference.forward import evaluation_mode, log_probabilities
from tasks.inference.label_scoring import score_labels
from tasks.inference.label_tree import NONE, ROOT, LabelTree, build_label_tree
from tasks.inference.row_context import RowContext, SharedPrefix, own_tokens, run_prompts, share_prefix

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def choose_labels(
    model: torch.nn.Module,
    prompts: Sequence[Sequence[int]],
    *,
    label_ids: Sequence[Sequence[int]],
    pad_id: int,
    token_budget: int,
    shared_prefix: SharedPrefix | None = None,
    on_batch: Callable[[int], None] | None = None,
) -> NDArray[np.int64]:
    """Return the number of the label with the highest summed log-probability after each prompt.

    The same as the largest of `score_labels`, but a best-first search: a label's score only falls with each token, so
    a branch is left alone once a finished label is above it. See `score_labels` for the arguments.

    Raises:
        FloatingPointError: the model's logits are not numbers.
    """
    tree = build_label_tree(label_ids)
    prefix = share_prefix(model, prompts) if shared_prefix is None else shared_prefix
    tails = own_tokens(prompts, prefix)
    chosen = np.empty(len(prompts), dtype=np.int64)
    with evaluation_mode(model) as causal:
        style = mask_style(causal)
        if style is None:
            scores = score_labels(
                causal, prompts, label_ids=label_ids, pad_id=pad_id, token_budget=token_budget, on_batch=on_batch
            )
            return np.asarray(scores.argmax(axis=1), dtype=np.int64)
        lengths = [len(tail) + tree.size for tail in tails]
        for batch in plan_batches(lengths, token_budget=token_budget):
            batch_tails = [tails[row] for row in batch]
            context, hidden, positions = run_prompts(
                causal, style, batch_tails, prefix=prefix, pad_id=pad_id, room=lengths[batch[0]]
            )
            chosen[batch] = _search(causal, context, hidden, positions, tree=tree)
            if on_batch is not None:
                on_batch(len(batch))
    return chosen


def _search(
    causal: PreTrainedModel, context: RowContext, hidden: torch.Tensor, prompt_ends: torch.Tensor, *, tree: LabelTree
) -> NDArray[np.int64]:
    """Return the best label of each row of one batch.

    Args:
        causal: the model.
        context: what the rows have been fed.
        hidden: [rows, width] of each prompt's last token.
        prompt_ends: [rows], its position.
        tree: of the labels.
    """
    search = _Frontier(len(hidden), tree)
    result = np.empty(len(hidden), dtype=np.int64)
    rows = np.arange(len(hidden))
    tokens, which = np.unique(tree.edge_tokens, return_inverse=True)
    wanted = torch.from_numpy(tokens).to(hidden.device)
    while True:
        search.note(log_probabilities(causal, hidden, wanted).cpu().numpy()[:, which])
        going_on = search.going_on()
        result[rows] = search.best_labels
        if not going_on.any():
            break
        if not going_on.all():
            search.keep_rows(going_on)
            rows, places = rows[going_on], torch.from_numpy(np.flatnonzero(going_on)).to(hidden.device)
            context.keep_rows(places)
            prompt_ends = prompt_ends[places]
        nodes = search.advance()
        token_ids = torch.from_numpy(tree.token_ids[nodes]).to(hidden.device)
        depths = torch.from_numpy(tree.depths[nodes]).to(hidden.device)
        branches = torch.from_numpy(search.visible_nodes()).to(hidden.device)
        hidden = context.feed(token_ids[:, None], (prompt_ends + 1 + depths)[:, None], branches=branches[:, None])[:, 0]
    if (result == NONE).any():
        raise FloatingPointError("the model gives no label a probability: its logits are not numbers")
    return result


class _Frontier:
    """How far each row has searched the tree: one node is visited in each round."""

    def __init__(self, rows: int, tree: LabelTree) -> None:
        self._tree = tree
        self._scores = np.full((rows, tree.size), -np.inf)  # of nodes that may be visited next
        self._current = np.full(rows, ROOT)
        self._current_scores = np.zeros(rows)
        self._visited = np.empty((rows, 0), dtype=np.int64)
        self._best_scores = np.full(rows, -np.inf)
        self.best_labels = np.full(rows, NONE)

    def note(self, edge_logs: NDArray[np.float32]) -> None:
        """Take in the [rows, edges] log-probabilities that hold at each row's current node."""
        here = self._tree.edge_nodes[None] == self._current[:, None]
        totals = np.where(here, self._current_scores[:, None] + edge_logs, -np.inf)
        to_nodes, to_labels = self._tree.edge_children != NONE, self._tree.edge_labels != NONE
        children = self._tree.edge_children[to_nodes]
        self._scores[:, children] = np.maximum(self._scores[:, children], totals[:, to_nodes])
        ended = totals[:, to_labels]
        best = ended.argmax(axis=1)
        scores = ended[np.arange(len(ended)), best]
        better = scores > self._best_scores
        self._best_scores[better] = scores[better]
        self.best_labels[better] = self._tree.edge_labels[to_labels][best[better]]

    def going_on(self) -> NDArray[np.bool_]:
        """Return which rows have a node from which a better label could follow."""
        return np.asarray(self._scores.max(axis=1, initial=-np.inf) > self._best_scores)

    def keep_rows(self, kept: NDArray[np.bool_]) -> None:
        """Drop all other rows."""
        self._scores, self._visited = self._scores[kept], self._visited[kept]
        self._current, self._current_scores = self._current[kept], self._current_scores[kept]
        self._best_scores, self.best_labels = self._best_scores[kept], self.best_labels[kept]

    def advance(self) -> NDArray[np.int64]:
        """Move each row to its most probable node and return the nodes."""
        rows = np.arange(len(self._scores))
        self._current = self._scores.argmax(axis=1)
        self._current_scores = self._scores[rows, self._current]
        self._scores[rows, self._current] = -np.inf
        self._visited = np.concatenate([self._visited, self._current[:, None]], axis=1)
        return self._current

    def visible_nodes(self) -> NDArray[np.bool_]:
        """Return [rows, visits]: which of the nodes visited so far lie on the way to the current one, it included."""
        return np.asarray(self._tree.ancestors[self._current[:, None], self._visited])
