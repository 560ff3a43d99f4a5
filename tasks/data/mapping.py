"""Rows of a source as records; content is kept letter by letter."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from typing import Any, Literal

from configs.errors import DataError, RecipeError
from configs.hints import closest
from configs.schema import Columns, Data
from tasks.data.records import SPLITS, Record, SplitName, Turn
from tasks.data.snapshots import turn_values
from tasks.data.sources import LoadedRows
from tasks.data.splitting import has_own_split, prompt_group
from tasks.data.turns import conversation_turns, tools_text
from tasks.data.values import bad_row, kind_of, text_of
from tasks.storage.durable import digest_of

Row = Mapping[str, Any]


def to_records(loaded: LoadedRows, data: Data) -> list[Record]:
    """Map each row to a record, in order; `splitting.assign_splits` then decides the split where the user does not.

    A missing or null text becomes an empty one, for the suite's rules to judge.

    Raises:
        DataError: a column isn't there, a value isn't text, a conversation has no answer at its end, or a group or
            split is missing; names the column and the row, never the value.
    """
    if not loaded.rows:
        raise DataError("data.source has no records; give a file or an entry point with at least one for each split")
    _check_columns(loaded.columns, data)
    own_split = has_own_split(data)
    seen: Counter[str] = Counter()
    records = []
    for number, row in enumerate(loaded.rows, start=1):
        turns, answer = _turns(row, data.columns, number)
        record = Record(
            record_id="",
            split=_own_split(loaded, data, number) if own_split else "train",
            group=prompt_group(turns) if data.group_by is None else _group(row, data.group_by, number),
            turns=turns,
            completion=answer.text,
            metadata={name: _as_text(row.get(name), name, number) for name in data.columns.metadata},
            answer=answer if answer.tool_calls else None,
            tools=tools_text(row.get(data.columns.tools or ""), data.columns.tools or "", number),
        )
        identity = _identity(record)
        seen[identity] += 1
        name = identity if seen[identity] == 1 else f"{identity}-{seen[identity]}"
        records.append(dataclasses.replace(record, record_id=name))
    return records


def check_calls_can_be_compared(
    *, calls_tools: bool, metric: str, labels: tuple[str, ...] | Literal["infer"] | None
) -> None:
    """Refuse to compare calls of tools as if they were texts or labels.

    Raises:
        RecipeError: names the metric or the labels, and what to use.
    """
    if not calls_tools:
        return
    if metric != "tool_call_match" and not metric.startswith("entry_point:"):
        raise RecipeError(
            f"evaluation.metric is {metric}, but completions of the data call tools, and the same call can be written "
            "in many ways; set evaluation.metric: tool_call_match"
        )
    if labels is not None:
        raise RecipeError(
            "data.labels is set, but completions of the data call tools, which are no closed set; leave it out"
        )


def _identity(record: Record) -> str:
    content = [[turn_values(turn) for turn in record.turns], record.completion, record.metadata]
    beside = [value for value in (record.answer and turn_values(record.answer), record.tools) if value is not None]
    return digest_of([*content, *beside])[:16]


def _check_columns(found: tuple[str, ...], data: Data) -> None:
    columns = data.columns
    wanted = {f"data.columns.metadata[{index}]": name for index, name in enumerate(columns.metadata)}
    if columns.messages is not None:
        wanted["data.columns.messages"] = columns.messages
        wanted |= {} if columns.tools is None else {"data.columns.tools": columns.tools}
    else:
        wanted |= {"data.columns.prompt": columns.prompt, "data.columns.completion": columns.completion}
    wanted |= {} if data.group_by is None else {"data.group_by": data.group_by}
    wanted |= {} if data.split.column is None else {"data.split.column": data.split.column}
    missing = {key: name for key, name in wanted.items() if name not in found}
    if missing:
        named = "; ".join(f"{key} names {name!r}{_close_column(name, found)}" for key, name in missing.items())
        shown = ", ".join(map(repr, found[:50])) + (", …" if len(found) > 50 else "")
        raise DataError(f"{named}, which the data doesn't have; columns found: {shown}; name one of them in the recipe")


def _close_column(name: str, found: tuple[str, ...]) -> str:
    close = closest(name, found)
    return f" (did you mean {close!r}?)" if close else ""


def _turns(row: Row, columns: Columns, number: int) -> tuple[tuple[Turn, ...], Turn]:
    """Return the turns before the completion, and the completion as a turn."""
    if columns.messages is not None:
        turns = conversation_turns(row.get(columns.messages), columns.messages, number)
        return turns[:-1], turns[-1]
    prompt = text_of(row.get(columns.prompt), columns.prompt, number)
    return (Turn("user", prompt),), Turn("assistant", text_of(row.get(columns.completion), columns.completion, number))


def _as_text(value: Any, column: str, number: int) -> str:
    """Metadata and groups may be numbers, dates or truth values too."""
    if isinstance(value, str | None):
        return text_of(value, column, number)
    if not isinstance(value, bool | int | float | Decimal | date):
        raise bad_row(number, column, kind_of(value), "text, a number, a date or a truth value")
    return str(value).lower() if isinstance(value, bool) else str(value)


def _group(row: Row, column: str, number: int) -> str:
    group = _as_text(row.get(column), column, number)
    if not group.strip():
        raise bad_row(number, column, "nothing", "the name of the record's group (data.group_by)")
    return group


def _own_split(loaded: LoadedRows, data: Data, number: int) -> SplitName:
    if loaded.splits is not None:
        return loaded.splits[number - 1]
    column = str(data.split.column)
    value = loaded.rows[number - 1].get(column)
    for name in SPLITS:
        if value == name:
            return name
    raise bad_row(number, column, "another value", f"one of {', '.join(SPLITS)} (data.split.column)")
