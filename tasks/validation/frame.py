"""The table that a suite judges: one row for each record, with what the model will be shown of it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from configs.errors import DataError
from configs.schema import Template
from tasks.data.records import Record
from tasks.data.rendered import Span
from tasks.data.splitting import normalised
from tasks.data.templates import render
from tasks.data.tokens import encode

if TYPE_CHECKING:
    import pandas as pd
    from transformers import PreTrainedTokenizerBase


def snapshot_frame(
    records: Sequence[Record], template: Template, tokenizer: PreTrainedTokenizerBase | None
) -> pd.DataFrame:
    """Return the table of the records, indexed by record id; columns as `expectations/standard.yaml` explains them.

    `tokens` is 0 everywhere without a tokenizer.

    Raises:
        RecipeError: the template can't be rendered.
    """
    import pandas as pd

    table = {
        "id": [record.record_id for record in records],
        "split": [record.split for record in records],
        "group": [record.group for record in records],
        "prompt": [record.prompt for record in records],
        "last_turn": [record.turns[-1].text if record.turns else "" for record in records],
        "completion": [record.completion for record in records],
        "metadata": ["\n".join(record.metadata.values()) for record in records],
        "input": [normalised(_shown_content(record, template)) for record in records],
        "tokens": [0 if tokenizer is None else _token_count(record, template, tokenizer) for record in records],
    }
    frame = pd.DataFrame(table)
    return frame.set_index(frame["id"].rename("record_id"))


def _shown_content(record: Record, template: Template) -> str:
    """Return what the template shows of a record, without the template's own words: they are the same in all."""
    if template.kind == "chat":
        return "\n".join(f"{turn.role}: {turn.text}" for turn in record.turns)
    rendered = render(template, record)
    return "\n".join(_outside(rendered.prompt, rendered.prompt_markup))


def _outside(text: str, spans: Sequence[Span]) -> list[str]:
    """Return the parts of a text between the spans."""
    ends = [0, *(end for _, end in spans)]
    starts = [*(start for start, _ in spans), len(text)]
    return [text[end:start] for end, start in zip(ends, starts, strict=True) if end < start]


def _token_count(record: Record, template: Template, tokenizer: PreTrainedTokenizerBase) -> int:
    """Count the tokens of the whole rendered record, before anything is cut."""
    try:
        encoded = encode(tokenizer, render(template, record, tokenizer=tokenizer), sys.maxsize)
    except DataError:
        # A chat template can't be applied to content that spells its special tokens: the rule about those judges it.
        plain = tokenizer(f"{record.prompt}{record.completion}", add_special_tokens=False, split_special_tokens=True)
        return len(plain["input_ids"])
    return encoded.length
