"""What a template makes of a record: text, and which of it is the template's own."""

from __future__ import annotations

from dataclasses import dataclass

Span = tuple[int, int]
"""Start and end of a part of a text, in characters."""


@dataclass(frozen=True)
class Rendered:
    """One record as text, before tokenisation.

    Special tokens count as such only inside markup, the template's own text; in content their spelling is plain text.
    """

    prompt: str
    completion: str
    """Without its end token, which `tokens.encode` adds."""
    prompt_markup: tuple[Span, ...] = ()
    completion_markup: tuple[Span, ...] = ()
    trained: tuple[Span, ...] = ()
    """Parts of the prompt that are trained too: earlier assistant turns, each with what ends it."""
    end: str | None = None
    """The special token that ends the completion; None: the tokenizer's end-of-sequence token."""


def joined(pieces: list[tuple[str, bool]]) -> tuple[str, tuple[Span, ...]]:
    """Join pieces of (text, is markup) into one text and the spans of its markup."""
    spans: list[Span] = []
    position = 0
    for text, is_markup in pieces:
        if is_markup and text:
            if spans and spans[-1][1] == position:
                spans[-1] = (spans[-1][0], position + len(text))
            else:
                spans.append((position, position + len(text)))
        position += len(text)
    return "".join(text for text, _ in pieces), tuple(spans)
