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

_FREE_TOKENS = 16
"""Below so many a pass takes about as long as one of a single token: reading the weights is most of it."""
_WORTH_A_PASS = 256
"""Most tokens of a pass in which rows go on along unbranched ways: each spares them a pass of its own."""
_CLEAR_LEAD = 1.0
"""Nats between a row's best way and every other, from which on it is worth going along unseen."""


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
    a branch is left alone once a finished label is above it. See `score_labels` for the arguments; here the budget
    counts as many label tokens behind each prompt as two labels have at most. Few rows visit more, at a time when most
    of the others are done.

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
            _check_numbers(scores)
            return np.asarray(scores.argmax(axis=1), dtype=np.int64)
        room = min(tree.size, 2 * max(map(len, label_ids)))
        lengths = [len(tail) + room for tail in tails]
        for batch in plan_batches(lengths, token_budget=token_budget):
            batch_tails = [tails[row] for row in batch]
            context, hidden, positions = run_prompts(
                causal, style, batch_tails, prefix=prefix, pad_id=pad_id, room=lengths[batch[0]]
            )
            chosen[batch] = _search(causal, context, hidden[:, -1], positions[:, -1], tree=tree)
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
    hidden = hidden[:, None]
    while True:
        visited = search.visits != NONE
        logs = np.zeros((*visited.shape, len(tokens)), dtype=np.float32)
        logs[visited] = log_probabilities(causal, hidden[torch.from_numpy(visited).to(hidden.device)], wanted).cpu()
        _check_numbers(logs)
        search.note(logs[:, :, which])
        going_on = search.going_on()
        result[rows] = search.best_labels
        if not going_on.any():
            break
        if not going_on.all():
            search.keep_rows(going_on)
            rows, places = rows[going_on], torch.from_numpy(np.flatnonzero(going_on)).to(hidden.device)
            context.keep_rows(places)
            prompt_ends = prompt_ends[places]
        search.advance()
        hidden = _feed_visits(context, search, prompt_ends, tree=tree)
    if (result == NONE).any():
        raise FloatingPointError("the model gives no label a probability")
    return result


def _check_numbers(logs: NDArray[np.floating]) -> None:
    if np.isnan(logs).any():
        raise FloatingPointError("the model gives labels no probability: its logits are not numbers")


def _feed_visits(context: RowContext, search: _Frontier, prompt_ends: torch.Tensor, *, tree: LabelTree) -> torch.Tensor:
    """Run the nodes that each row visits and return their [rows, visits, width] hidden states."""
    visits = search.visits.clip(min=0)
    token_ids, depths, padding, branches = (
        torch.from_numpy(values).to(prompt_ends.device)
        for values in (tree.token_ids[visits], tree.depths[visits], search.visits == NONE, search.visible_nodes())
    )
    positions = torch.where(padding, -1, prompt_ends[:, None] + 1 + depths)
    return context.feed(token_ids, positions, branches=branches)


class _Frontier:
    """How far each row has searched the tree."""

    def __init__(self, rows: int, tree: LabelTree) -> None:
        self._tree = tree
        self._scores = np.full((rows, tree.size), -np.inf)  # of each node reached, up to and with its token
        self._open = np.zeros((rows, tree.size), dtype=np.bool_)  # reached, not visited
        self._columns = np.empty((rows, 0), dtype=np.int64)  # the node behind each column that a row has been fed
        self._best_scores = np.full(rows, -np.inf)
        self.best_labels = np.full(rows, NONE)
        self.visits = np.full((rows, 1), ROOT)
        """[rows, visits]: the nodes visited in this round, each the child of the one before; `NONE` fills up."""

    def note(self, edge_logs: NDArray[np.float32]) -> None:
        """Take in the [rows, visits, edges] log-probabilities that hold at the visited nodes; anything at `NONE`."""
        for visit in range(self.visits.shape[1]):
            self._note_visit(self.visits[:, visit], edge_logs[:, visit])

    def _note_visit(self, nodes: NDArray[np.int64], edge_logs: NDArray[np.float32]) -> None:
        rows = np.arange(len(nodes))
        reached = np.where(nodes == ROOT, 0.0, self._scores[rows, nodes]) if self._tree.size else np.zeros(len(nodes))
        here = self._tree.edge_nodes[None] == nodes[:, None]
        totals = np.where(here, reached[:, None] + edge_logs, -np.inf)
        self._open_children(here, totals)
        self._open[rows[nodes >= 0], nodes[nodes >= 0]] = False
        ends = self._tree.edge_labels != NONE
        best = totals[:, ends].argmax(axis=1)
        scores = totals[:, ends][rows, best]
        better = scores > self._best_scores
        self._best_scores[better] = scores[better]
        self.best_labels[better] = self._tree.edge_labels[ends][best[better]]

    def _open_children(self, here: NDArray[np.bool_], totals: NDArray[np.float64]) -> None:
        inward = self._tree.edge_children != NONE
        children = self._tree.edge_children[inward]
        self._scores[:, children] = np.where(here[:, inward], totals[:, inward], self._scores[:, children])
        self._open[:, children] |= here[:, inward]

    def going_on(self) -> NDArray[np.bool_]:
        """Return which rows have a node from which a better label could follow."""
        return np.asarray(self._open_scores().max(axis=1, initial=-np.inf) > self._best_scores)

    def keep_rows(self, kept: NDArray[np.bool_]) -> None:
        """Drop all other rows."""
        self._scores, self._open, self._columns = self._scores[kept], self._open[kept], self._columns[kept]
        self._best_scores, self.best_labels = self._best_scores[kept], self.best_labels[kept]

    def advance(self) -> None:
        """Move each row to its most probable open node, and on along a way that is the only one.

        It goes on as far as tokens are free, and further where no other label comes near: else that is run in vain.
        All rows get as many places as the one that goes furthest, so most must have somewhere to go.
        """
        scores = self._open_scores()
        visits = [scores.argmax(axis=1)]
        ahead_of_all = self._lead(scores, visits[0]) >= _CLEAR_LEAD
        while True:
            following = np.where(visits[-1] == NONE, NONE, self._tree.only_children[visits[-1]])
            tokens = (len(visits) + 1) * len(following)
            if tokens > _FREE_TOKENS:
                following = np.where(ahead_of_all, following, NONE)
            going_on = np.count_nonzero(following != NONE)
            if going_on == 0 or (tokens > _FREE_TOKENS and (2 * going_on < len(following) or tokens > _WORTH_A_PASS)):
                break
            visits.append(following)
        self.visits = np.stack(visits, axis=1)
        self._columns = np.concatenate([self._columns, self.visits.clip(min=0)], axis=1)

    def _lead(self, open_scores: NDArray[np.float64], nodes: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return by how much each row's node is above every other open node and the best finished label."""
        rows = np.arange(len(nodes))
        others = open_scores.copy()
        others[rows, nodes] = -np.inf
        return np.asarray(open_scores[rows, nodes] - np.maximum(others.max(axis=1), self._best_scores))

    def visible_nodes(self) -> NDArray[np.bool_]:
        """Return [rows, visits, columns]: which columns hold a node on the way to the visited one, it included."""
        return np.asarray(self._tree.ancestors[self.visits.clip(min=0)[:, :, None], self._columns[:, None, :]])

    def _open_scores(self) -> NDArray[np.float64]:
        return np.where(self._open, self._scores, -np.inf)
