"""Decoding with a key/value cache: batches by length, the prompts' shared prefix run once. Greedy unless told else."""

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

Choose = Callable[[Sequence[int], Sequence[int], torch.Tensor], list[int]]
"""Chooses the next token of prompts: sees their numbers, how many tokens each has been answered with and the
[prompts, vocabulary] logits, in fp32."""

OnLogits = Callable[[Sequence[int], torch.Tensor], None]
"""Sees the numbers of prompts and the [prompts, vocabulary] logits, in fp32, of the next step of each, one by one."""


@dataclass(frozen=True)
class _Rules:
    max_new_tokens: int
    stop_ids: frozenset[int]
    is_complete: IsComplete | None
    choose: Choose
    on_logits: OnLogits | None

    def goes_on(self, answer: list[int], token: int) -> bool:
        """Append the token to its answer unless it stops it; say whether there is more to come."""
        if token in self.stop_ids:
            return False
        answer.append(token)
        return len(answer) < self.max_new_tokens and not (self.is_complete is not None and self.is_complete(answer))


def generate(
    model: torch.nn.Module,
    prompts: Sequence[Sequence[int]],
    *,
    max_new_tokens: int,
    stop_ids: set[int],
    pad_id: int,
    token_budget: int,
    shared_prefix: SharedPrefix | None = None,
    drafts: Sequence[Sequence[int]] | None = None,
    is_complete: IsComplete | None = None,
    choose: Choose | None = None,
    on_logits: OnLogits | None = None,
    on_batch: Callable[[int], None] | None = None,
) -> list[list[int]]:
    """Answer each prompt with the most probable token at each step, or with the one that `choose` names.

    Args:
        model: a causal language model, or a peft wrapper around one.
        prompts: token ids; each has at least one.
        max_new_tokens: longest answer.
        stop_ids: tokens that end an answer.
        pad_id: token that stands for padding; it is never looked at.
        token_budget: most tokens of a batch, answers and padding included, the shared prefix not.
        shared_prefix: from `share_prefix`, of prompts that these belong to; None: what these prompts share.
        drafts: a guess at each greedy answer. One pass tells what the model says at each of its tokens; a row goes on
            token by token from where that is something else, so guesses change no answer. None: no guesses. A model
            that takes no masks of ours makes no use of them.
        is_complete: ends an answer besides the stop tokens; None: nothing else does.
        choose: names the next tokens; None: the most probable ones.
        on_logits: sees each step's logits.
        on_batch: is told how many prompts each finished batch held.

    Returns:
        The new tokens of each prompt, in the order of the prompts, without the stop token.

    Raises:
        ValueError: guesses at greedy answers are given where others are wanted.
    """
    if choose is not None and drafts is not None:
        raise ValueError("drafts are guesses at greedy answers, so `choose` can't be given beside them")
    prefix = share_prefix(model, prompts) if shared_prefix is None else shared_prefix
    tails = own_tokens(prompts, prefix)
    rules = _Rules(max_new_tokens, frozenset(stop_ids), is_complete, choose or _most_probable, on_logits)
    answers: list[list[int]] = [[] for _ in prompts]
    with evaluation_mode(model) as causal:
        style = mask_style(causal)
        guesses = [draft[: max_new_tokens - 1] for draft in drafts] if drafts and style else [()] * len(prompts)
        lengths = [len(tail) + max_new_tokens for tail in tails]
        for batch in plan_batches(lengths, token_budget=token_budget, equal_lengths=style is None):
            context, hidden, positions = run_prompts(
                causal, style, [[*tails[row], *guesses[row]] for row in batch],
                prefix=prefix, pad_id=pad_id, room=lengths[batch[0]],
            )  # fmt: skip
            rows = _Rows(causal, context, rules=rules, numbers=batch, answers=[answers[row] for row in batch])
            rows.decode(hidden, positions, guesses=[guesses[row] for row in batch])
            if on_batch is not None:
                on_batch(len(batch))
    return answers


def _most_probable(_: Sequence[int], __: Sequence[int], logits: torch.Tensor) -> list[int]:
    tokens: list[int] = logits.argmax(dim=-1).tolist()
    return tokens


class _Rows:
    """One batch, whose answers grow until each has ended; rows that have are dropped."""

    def __init__(
        self,
        causal: PreTrainedModel,
        context: RowContext,
        *,
        rules: _Rules,
        numbers: Sequence[int],
        answers: Sequence[list[int]],
    ) -> None:
        """Take up rows that have been fed their prompts, as `context` knows, and perhaps a guess at their answers.

        Args:
            causal: the model.
            context: what the rows have been fed.
            rules: when an answer ends.
            numbers: the prompt number of each row.
            answers: of each row; is appended to.
        """
        self._causal, self._context, self._rules = causal, context, rules
        self._numbers, self._answers = list(numbers), list(answers)

    def decode(self, hidden: torch.Tensor, positions: torch.Tensor, *, guesses: Sequence[Sequence[int]]) -> None:
        """Decode until no row is left.

        Args:
            hidden: [rows, tokens, width] of the tokens fed last.
            positions: [rows, tokens] of the tokens fed last.
            guesses: of each row, already fed: the end of the tokens fed last.
        """
        while said := self._hear(hidden, guesses):
            places = torch.tensor(list(said), device=positions.device)
            unused = torch.tensor([len(guess) for guess in guesses], device=positions.device)
            unused[places] -= torch.tensor([used for _, used in said.values()], device=positions.device)
            if unused[places].any():
                self._context.hide_newest(unused)
            ends = positions[:, -1] - unused
            if len(said) < len(self._numbers):
                self._context.keep_rows(places)
                self._numbers = [self._numbers[row] for row in said]
                self._answers = [self._answers[row] for row in said]
            tokens = torch.tensor([[token] for token, _ in said.values()], device=positions.device)
            positions = ends[places, None] + 1
            hidden = self._context.feed(tokens, positions)
            guesses = [()] * len(said)

    def _hear(self, hidden: torch.Tensor, guesses: Sequence[Sequence[int]]) -> dict[int, tuple[int, int]]:
        """Append what the model says to the answers, as far as the guesses agree and one token on.

        Returns:
            For each row that goes on its newest token and how much of its guess was right.
        """
        asked = [(row, place) for row, guess in enumerate(guesses) for place in range(len(guess) + 1)]
        states = torch.cat([hidden[row, -len(guess) - 1 :] for row, guess in enumerate(guesses)])
        going_on: dict[int, tuple[int, int]] = {}
        settled: set[int] = set()
        for part, logits in in_chunks(self._causal, states):
            heard = []
            rows = [row for row, _ in asked[part]]
            said = self._rules.choose(
                [self._numbers[row] for row in rows], [len(self._answers[row]) for row in rows], logits
            )
            for index, token in enumerate(said):
                row, place = asked[part.start + index]
                if row in settled:
                    continue
                heard.append(index)
                goes_on = self._rules.goes_on(self._answers[row], token)
                if goes_on and place < len(guesses[row]) and token == guesses[row][place]:
                    continue
                settled.add(row)
                if goes_on:
                    going_on[row] = (token, place)
            if self._rules.on_logits is not None and heard:
                numbers = [self._numbers[asked[part.start + index][0]] for index in heard]
                self._rules.on_logits(numbers, logits if len(heard) == len(logits) else logits[heard])
        return going_on
