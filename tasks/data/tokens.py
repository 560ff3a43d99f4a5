"""Rendered records as token ids: the prompt is exactly a prefix, and content never becomes a special token."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from configs.errors import BaseModelError
from tasks.data.rendered import Rendered, Span

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True)
class Encoded:
    """One record as token ids; `prompt_ids + completion_ids` is what the model sees while training."""

    prompt_ids: list[int]
    completion_ids: list[int]
    """The completion's tokens, the end token included; all are trained."""
    truncated: bool
    """Whether something was cut to fit into `max_tokens`."""
    trained: tuple[Span, ...] = ()
    """Start and end of parts of `prompt_ids` that are trained too: earlier assistant turns."""

    @property
    def length(self) -> int:
        """Tokens of prompt and completion."""
        return len(self.prompt_ids) + len(self.completion_ids)


def encode(tokenizer: PreTrainedTokenizerBase, rendered: Rendered, max_tokens: int) -> Encoded:
    """Tokenise prompt and completion separately, so that the prompt's ids are the same with and without completion.

    The prompt is cut from the left (its beginning-of-sequence token stays) until both fit into `max_tokens`; the
    completion is cut from the right only where it doesn't fit alone.
    """
    completion = _text_ids(tokenizer, rendered.completion, rendered.completion_markup)
    completion.append(end_token_id(tokenizer, rendered))
    bos, content, trained = _prompt_ids(tokenizer, rendered)
    kept_completion = completion[: max(max_tokens - len(bos), 1)]
    kept_content = _last(content, max_tokens - len(bos) - len(kept_completion))
    cut = len(content) - len(kept_content)
    truncated = cut > 0 or len(kept_completion) < len(completion)
    moved = [(max(start - cut, 0) + len(bos), end - cut + len(bos)) for start, end in trained if end > cut]
    return Encoded(bos + kept_content, kept_completion, truncated, tuple(moved))


def encode_prompt(tokenizer: PreTrainedTokenizerBase, rendered: Rendered, max_tokens: int) -> list[int]:
    """Tokenise the prompt alone, cut from the left to at most `max_tokens` (its first token stays)."""
    bos, content, _ = _prompt_ids(tokenizer, rendered)
    return bos + _last(content, max_tokens - len(bos))


def encode_completion(tokenizer: PreTrainedTokenizerBase, rendered: Rendered) -> list[int]:
    """Tokenise the completion alone, uncut, with its end token: what label scoring scores."""
    ids = _text_ids(tokenizer, rendered.completion, rendered.completion_markup)
    return [*ids, end_token_id(tokenizer, rendered)]


def end_token_id(tokenizer: PreTrainedTokenizerBase, rendered: Rendered) -> int:
    """Return the id of the token that ends the completion; decoding stops at it.

    Raises:
        BaseModelError: the tokenizer has no end-of-sequence token.
    """
    if rendered.end is not None:
        return special_tokens(tokenizer)[rendered.end]
    if tokenizer.eos_token_id is None:
        raise BaseModelError(
            "the tokenizer of the base model has no end-of-sequence token, so no answer could ever end; "
            "set eos_token in its tokenizer_config.json"
        )
    return int(tokenizer.eos_token_id)


@functools.lru_cache(maxsize=8)
def special_tokens(tokenizer: PreTrainedTokenizerBase) -> dict[str, int]:
    """Return the tokenizer's special tokens, spelling to id."""
    added = {token.content: int(index) for index, token in tokenizer.added_tokens_decoder.items() if token.special}
    named = {token: int(tokenizer.convert_tokens_to_ids(token)) for token in tokenizer.all_special_tokens}
    return {**named, **added}


@functools.lru_cache(maxsize=8)
def special_token_pattern(tokenizer: PreTrainedTokenizerBase) -> re.Pattern[str]:
    """Return a pattern that finds the spelling of any special token, longest first; it never matches without one."""
    spellings = sorted(special_tokens(tokenizer), key=lambda token: (-len(token), token))
    return re.compile("|".join(map(re.escape, spellings)) or r"(?!)")


def _prompt_ids(tokenizer: PreTrainedTokenizerBase, rendered: Rendered) -> tuple[list[int], list[int], list[Span]]:
    """Return the beginning-of-sequence token, the other tokens, and which of those are trained.

    A trained turn is tokenised apart from what stands around it, as a completion is.
    """
    ids: list[int] = []
    trained: list[Span] = []
    position = 0
    for start, end in rendered.trained:
        ids += _text_ids(tokenizer, rendered.prompt, rendered.prompt_markup, within=(position, start))
        turn = _text_ids(tokenizer, rendered.prompt, rendered.prompt_markup, within=(start, end))
        trained.append((len(ids), len(ids) + len(turn)))
        ids += turn
        position = end
    ids += _text_ids(tokenizer, rendered.prompt, rendered.prompt_markup, within=(position, len(rendered.prompt)))
    if tokenizer.bos_token_id is None:
        return [], ids, trained
    bos = [int(tokenizer.bos_token_id)]
    if ids[:1] != bos:
        return bos, ids, trained
    return bos, ids[1:], [(max(start - 1, 0), end - 1) for start, end in trained]


def _text_ids(
    tokenizer: PreTrainedTokenizerBase, text: str, markup: Sequence[Span], *, within: Span | None = None
) -> list[int]:
    known = special_tokens(tokenizer)
    position, end = (0, len(text)) if within is None else within
    ids: list[int] = []
    for match in _specials(special_token_pattern(tokenizer), text, markup, within=(position, end)):
        ids += _plain_ids(tokenizer, text[position : match.start()])
        ids.append(known[match.group()])
        position = match.end()
    return ids + _plain_ids(tokenizer, text[position:end])


def _specials(pattern: re.Pattern[str], text: str, markup: Sequence[Span], *, within: Span) -> Iterator[re.Match[str]]:
    for start, end in markup:
        yield from pattern.finditer(text, max(start, within[0]), min(end, within[1]))


def _plain_ids(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    if not text:
        return []
    return list(tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"])


def _last(ids: list[int], count: int) -> list[int]:
    return ids[max(len(ids) - max(count, 0), 0) :]
