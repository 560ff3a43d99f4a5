"""Greedy decoding with a key/value cache: batches by length, the prompts' shared prefix run once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from tasks.inference.attention_masks import mask_style
from tasks.inference.batching import plan_batches
from tasks.inference.forward import evaluation_mode, in_chunks
from tasks.inference.row_context import RowContext, SharedPrefix, own_tokens, run_prompts, share_prefix

if TYPE_CHECKING:
    from transformers import PreTrainedModel

IsComplete = Callable[[Sequence[int]], bool]
"""Tells from a row's new tokens whether its answer ends here."""

OnLogits = Callable[[Sequence[int], torch.Tensor], None]
"""Sees the numbers of prompts and their [prompts, vocabulary] logits, in fp32, at one step."""


@dataclass(frozen=True)
class _Rules:
    max_new_tokens: int
    stop_ids: frozenset[int]
    is_complete: IsComplete | None
    on_logits: OnLogits | None


def generate(
    model: torch.nn.Module,
    prompts: Sequence[Sequence[int]],
    *,
    max_new_tokens: int,
    stop_ids: set[int],
    pad_id: int,
    token_budget: int,
    shared_prefix: SharedPrefix | None = None,
    is_complete: IsComplete | None = None,
    on_logits: OnLogits | None = None,
    on_batch: Callable[[int], None] | None = None,
) -> list[list[int]]:
    """Answer each prompt with the most probable token at each step.

    Args:
        model: a causal language model, or a peft wrapper around one.
        prompts: token ids; each has at least one.
        max_new_tokens: longest answer.
        stop_ids: tokens that end an answer.
        pad_id: token that stands for padding; it is never looked at.
        token_budget: most tokens of a batch, answers and padding included, the shared prefix not.
        shared_prefix: from `share_prefix`, of prompts that these belong to; None: what these prompts share.
        is_complete: ends an answer besides the stop tokens; None: nothing else does.
        on_logits: sees each step's logits.
        on_batch: is told how many prompts each finished batch held.

    Returns:
        The new tokens of each prompt, in the order of the prompts, without the stop token.
    """
    prefix = share_prefix(model, prompts) if shared_prefix is None else shared_prefix
    tails = own_tokens(prompts, prefix)
    rules = _Rules(max_new_tokens, frozenset(stop_ids), is_complete, on_logits)
    answers: list[list[int]] = [[] for _ in prompts]
    with evaluation_mode(model) as causal:
        style = mask_style(causal)
        lengths = [len(tail) + max_new_tokens for tail in tails]
        for batch in plan_batches(lengths, token_budget=token_budget, equal_lengths=style is None):
            batch_tails = [tails[row] for row in batch]
            context, hidden, positions = run_prompts(
                causal, style, batch_tails, prefix=prefix, pad_id=pad_id, room=lengths[batch[0]]
            )
            _decode(causal, context, hidden, positions, batch=batch, answers=answers, rules=rules)
            if on_batch is not None:
                on_batch(len(batch))
    return answers


def _decode(
    causal: PreTrainedModel,
    context: RowContext,
    hidden: torch.Tensor,
    positions: torch.Tensor,
    *,
    batch: Sequence[int],
    answers: list[list[int]],
    rules: _Rules,
) -> None:
    """Append to the answers of one batch until each has ended; rows that have are dropped.

    Args:
        causal: the model.
        context: what the rows have been fed.
        hidden: [rows, width] of each row's last token.
        positions: [rows] of each row's last token.
        batch: the prompt number of each row.
        answers: of all prompts.
        rules: when an answer ends.
    """
    for step in range(rules.max_new_tokens):
        chosen = _most_probable(causal, hidden, batch=batch, on_logits=rules.on_logits)
        going_on = [
            place for place, token in enumerate(chosen.tolist()) if _goes_on(answers[batch[place]], token, rules)
        ]
        if not going_on or step == rules.max_new_tokens - 1:
            return
        if len(going_on) < len(batch):
            places = torch.tensor(going_on, device=chosen.device)
            context.keep_rows(places)
            chosen, positions, batch = chosen[places], positions[places], [batch[place] for place in going_on]
        positions = positions + 1
        hidden = context.feed(chosen[:, None], positions[:, None])[:, 0]


def _goes_on(answer: list[int], token: int, rules: _Rules) -> bool:
    if token in rules.stop_ids:
        return False
    answer.append(token)
    return rules.is_complete is None or not rules.is_complete(answer)


def _most_probable(
    causal: PreTrainedModel, hidden: torch.Tensor, *, batch: Sequence[int], on_logits: OnLogits | None
) -> torch.Tensor:
    chosen = []
    for part, logits in in_chunks(causal, hidden):
        if on_logits is not None:
            on_logits(batch[part], logits)
        chosen.append(logits.argmax(dim=-1))
    return torch.cat(chosen)
