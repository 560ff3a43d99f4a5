"""Log-probabilities of each label of a closed set after each prompt: prompt and labels in one pass."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from tasks.inference.attention_masks import MaskStyle, mask_style
from tasks.inference.batching import plan_batches
from tasks.inference.forward import evaluation_mode, log_probabilities
from tasks.inference.label_tree import ROOT, LabelTree, build_label_tree
from tasks.inference.row_context import RowContext, SharedPrefix, left_padded, own_tokens, share_prefix

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def score_labels(
    model: torch.nn.Module,
    prompts: Sequence[Sequence[int]],
    *,
    label_ids: Sequence[Sequence[int]],
    pad_id: int,
    token_budget: int,
    shared_prefix: SharedPrefix | None = None,
    on_batch: Callable[[int], None] | None = None,
) -> NDArray[np.float64]:
    """Return the summed log-probabilities of each label's tokens after each prompt.

    Each row of a batch is a prompt followed by the tree of all labels, whose branches don't see each other.

    Args:
        model: a causal language model, or a peft wrapper around one.
        prompts: token ids; each has at least one.
        label_ids: token ids of each label, its end token included.
        pad_id: token that stands for padding; it is never looked at.
        token_budget: most tokens of a batch, labels and padding included, the shared prefix not.
        shared_prefix: from `share_prefix`, of prompts that these belong to; None: what these prompts share.
        on_batch: is told how many prompts each finished batch held.

    Returns:
        [prompts, labels] natural logarithms.
    """
    tree = build_label_tree(label_ids)
    prefix = share_prefix(model, prompts) if shared_prefix is None else shared_prefix
    tails = own_tokens(prompts, prefix)
    scores = np.empty((len(prompts), len(label_ids)))
    with evaluation_mode(model) as causal:
        style = mask_style(causal)
        if style is None:
            scores = _score_in_full(causal, prompts, label_ids, pad_id=pad_id, token_budget=token_budget)
            if on_batch is not None:
                on_batch(len(prompts))
            return scores
        for batch in plan_batches([len(tail) + tree.size for tail in tails], token_budget=token_budget):
            hidden = _run_batch(causal, style, prefix, [tails[row] for row in batch], tree=tree, pad_id=pad_id)
            scores[batch] = _edge_scores(causal, hidden, tree) @ tree.paths.T
            if on_batch is not None:
                on_batch(len(batch))
    return scores


def _run_batch(
    causal: PreTrainedModel,
    style: MaskStyle,
    prefix: SharedPrefix,
    tails: Sequence[Sequence[int]],
    *,
    tree: LabelTree,
    pad_id: int,
) -> torch.Tensor:
    """Return the [rows, 1 + nodes, width] hidden states of each prompt's last token and of the tree's nodes."""
    tokens, positions = left_padded(
        tails, pad_id=pad_id, first_position=len(prefix.token_ids), device=causal.device
    )  # fmt: skip
    rows, longest = tokens.shape
    nodes = torch.from_numpy(tree.token_ids).to(tokens.device).expand(rows, -1)
    node_positions = positions[:, -1:] + 1 + torch.from_numpy(tree.depths).to(tokens.device)
    branches = torch.ones((1, longest + tree.size, longest + tree.size), dtype=torch.bool, device=tokens.device)
    branches[:, longest:, longest:] = torch.from_numpy(tree.ancestors).to(tokens.device)
    hidden = RowContext.single_pass(causal, style, prefix=prefix).feed(
        torch.cat([tokens, nodes], dim=1), torch.cat([positions, node_positions], dim=1), branches=branches
    )
    return hidden[:, longest - 1 :]


def _edge_scores(causal: PreTrainedModel, hidden: torch.Tensor, tree: LabelTree) -> NDArray[np.float64]:
    """Return the [rows, edges] log-probability of each edge's token at its node."""
    wanted, which = np.unique(tree.edge_tokens, return_inverse=True)
    logs = log_probabilities(causal, hidden.flatten(0, 1), torch.from_numpy(wanted).to(hidden.device))
    by_node = logs.view(*hidden.shape[:2], -1).cpu().numpy()
    return np.asarray(by_node[:, tree.edge_nodes - ROOT, which], dtype=np.float64)


def _score_in_full(
    causal: PreTrainedModel,
    prompts: Sequence[Sequence[int]],
    label_ids: Sequence[Sequence[int]],
    *,
    pad_id: int,
    token_budget: int,
) -> NDArray[np.float64]:
    """Score each label in a pass of its own, for models that take no masks of ours.

    Padding stands on the right, where a causal model never looks from a real token.
    """
    pairs = [(row, column) for row in range(len(prompts)) for column in range(len(label_ids))]
    sequences = [[*prompts[row], *label_ids[column]] for row, column in pairs]
    scores = np.empty((len(prompts), len(label_ids)))
    for batch in plan_batches([len(sequence) for sequence in sequences], token_budget=token_budget):
        longest = len(sequences[batch[0]])
        rows = [sequences[number] + [pad_id] * (longest - len(sequences[number])) for number in batch]
        tokens = torch.tensor(rows, device=causal.device)
        hidden = causal.base_model(input_ids=tokens, use_cache=False).last_hidden_state
        for place, number in enumerate(batch):
            row, column = pairs[number]
            start, end = len(prompts[row]), len(sequences[number])
            wanted = tokens[place, start:end]
            logs = log_probabilities(causal, hidden[place, start - 1 : end - 1], wanted)
            scores[row, column] = logs.diagonal().sum().item()
    return scores
