"""What the model would see of a record, and which tokens it would be trained on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from configs.errors import DataError
from configs.schema import Template
from tasks.data.records import Record, SplitName
from tasks.data.templates import render
from tasks.data.tokens import Encoded, encode

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True)
class PreviewSpan:
    """A part of a record's tokens, decoded."""

    text: str
    trained: bool


@dataclass(frozen=True)
class Preview:
    """One record as the model sees it, decoded from the very tokens that training uses."""

    record_id: str
    split: SplitName
    spans: tuple[PreviewSpan, ...]
    prompt_tokens: int
    """Only read."""
    trained_tokens: int
    truncated: bool


def varied(records: Sequence[Record], count: int) -> list[Record]:
    """The first `count` records if each other completion comes before one that was shown; in source order."""
    seen: Counter[str] = Counter()
    rounds = []
    for position, record in enumerate(records):
        rounds.append((seen[record.completion], position))
        seen[record.completion] += 1
    return [records[position] for position in sorted(position for _, position in sorted(rounds)[:count])]


def records_named(record_ids: Sequence[str], records: Sequence[Record]) -> list[Record]:
    """Return the records of these ids, in the order of the ids.

    Raises:
        DataError: names the ids that there are none of.
    """
    by_id = {record.record_id: record for record in records}
    if missing := [record_id for record_id in record_ids if record_id not in by_id]:
        raise DataError(
            f"the data has no record {', '.join(missing)}; a record's id is that of its content, so it changes with it"
        )
    return [by_id[record_id] for record_id in record_ids]


def preview(
    records: Sequence[Record], template: Template, tokenizer: PreTrainedTokenizerBase, max_tokens: int
) -> list[Preview]:
    """Render and tokenise records, and decode what came of it with the trained tokens marked."""
    previews = []
    for record in records:
        encoded = encode(tokenizer, render(template, record, tokenizer=tokenizer), max_tokens)
        parts = _parts(encoded)
        trained_tokens = sum(len(ids) for ids, trained in parts if trained)
        previews.append(
            Preview(
                record_id=record.record_id,
                split=record.split,
                spans=tuple(PreviewSpan(tokenizer.decode(ids), trained=trained) for ids, trained in parts),
                prompt_tokens=encoded.length - trained_tokens,
                trained_tokens=trained_tokens,
                truncated=encoded.truncated,
            )
        )
    return previews


def _parts(encoded: Encoded) -> list[tuple[list[int], bool]]:
    """Cut a record's tokens where training begins and ends; a turn that was cut in its middle may come first."""
    parts, position = [], 0
    for start, end in encoded.trained:
        parts += [(encoded.prompt_ids[position:start], False), (encoded.prompt_ids[start:end], True)]
        position = end
    return [*parts, (encoded.prompt_ids[position:], False), (encoded.completion_ids, True)]
