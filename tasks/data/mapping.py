"""Rows of a source as records; content is kept letter by letter."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from typing import Any

from configs.errors import DataError
from configs.schema import Data
from tasks.data.records import SPLITS, Record, SplitName, Turn
from tasks.data.sources import LoadedRows
from tasks.data.splitting import has_own_split, prompt_group
from tasks.storage.durable import digest_of

Row = Mapping[str, Any]
_ROLES = ("system", "user", "assistant", "tool")


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
        turns, completion = _turns_and_completion(row, data, number)
        metadata = {name: _as_text(row.get(name), name, number) for name in data.columns.metadata}
        identity = digest_of([[[turn.role, turn.content] for turn in turns], completion, metadata])[:16]
        seen[identity] += 1
        records.append(
            Record(
                record_id=identity if seen[identity] == 1 else f"{identity}-{seen[identity]}",
                split=_own_split(loaded, data, number) if own_split else "train",
                group=prompt_group(turns) if data.group_by is None else _group(row, data.group_by, number),
                turns=turns,
                completion=completion,
                metadata=metadata,
            )
        )
    return records


def _check_columns(found: tuple[str, ...], data: Data) -> None:
    columns = data.columns
    wanted = {f"data.columns.metadata[{index}]": name for index, name in enumerate(columns.metadata)}
    if columns.messages is not None:
        wanted["data.columns.messages"] = columns.messages
    else:
        wanted |= {"data.columns.prompt": columns.prompt, "data.columns.completion": columns.completion}
    wanted |= {} if data.group_by is None else {"data.group_by": data.group_by}
    wanted |= {} if data.split.column is None else {"data.split.column": data.split.column}
    missing = [f"{key} names {name!r}" for key, name in wanted.items() if name not in found]
    if missing:
        shown = ", ".join(map(repr, found[:50])) + (", …" if len(found) > 50 else "")
        raise DataError(f"{'; '.join(missing)}, which the data doesn't have; columns found: {shown}; map them there")


def _turns_and_completion(row: Row, data: Data, number: int) -> tuple[tuple[Turn, ...], str]:
    columns = data.columns
    if columns.messages is not None:
        return _conversation(row.get(columns.messages), columns.messages, number)
    prompt = _text(row.get(columns.prompt), columns.prompt, number)
    return (Turn("user", prompt),), _text(row.get(columns.completion), columns.completion, number)


def _conversation(messages: Any, column: str, number: int) -> tuple[tuple[Turn, ...], str]:
    if messages is None:
        return (Turn("user", ""),), ""
    if isinstance(messages, str):
        messages = _parsed(messages, column, number)
    if not isinstance(messages, list):
        raise _bad_row(number, column, _kind(messages), "a list of {role, content}")
    turns = tuple(_turn(message, column, number) for message in messages)
    if len(turns) < 2 or turns[-1].role != "assistant":
        found = " → ".join(turn.role for turn in turns[-3:]) or "no turns"
        raise _bad_row(number, column, found, "at least two turns, the assistant's last: it is the completion")
    return turns[:-1], turns[-1].content


def _parsed(text: str, column: str, number: int) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _bad_row(number, column, "text that is no valid JSON", "a list of {role, content}") from error


def _turn(message: Any, column: str, number: int) -> Turn:
    if not isinstance(message, dict) or "role" not in message or "content" not in message:
        found = f"keys {', '.join(sorted(map(str, message)))}" if isinstance(message, dict) else _kind(message)
        raise _bad_row(number, f"{column}[]", found, "{role, content}")
    if message["role"] not in _ROLES:
        raise _bad_row(number, f"{column}[].role", "another role", f"one of {', '.join(_ROLES)}")
    return Turn(message["role"], _text(message["content"], f"{column}[].content", number))


def _text(value: Any, column: str, number: int) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise _bad_row(number, column, _kind(value), "text; write it as a string")
    return _encodable(value, column, number)


def _as_text(value: Any, column: str, number: int) -> str:
    """Metadata and groups may be numbers, dates or truth values too."""
    if isinstance(value, str | None):
        return _text(value, column, number)
    if not isinstance(value, bool | int | float | Decimal | date):
        raise _bad_row(number, column, _kind(value), "text, a number, a date or a truth value")
    return str(value).lower() if isinstance(value, bool) else str(value)


def _group(row: Row, column: str, number: int) -> str:
    group = _as_text(row.get(column), column, number)
    if not group.strip():
        raise _bad_row(number, column, "nothing", "the name of the record's group (data.group_by)")
    return group


def _own_split(loaded: LoadedRows, data: Data, number: int) -> SplitName:
    if loaded.splits is not None:
        return loaded.splits[number - 1]
    column = str(data.split.column)
    value = loaded.rows[number - 1].get(column)
    for name in SPLITS:
        if value == name:
            return name
    raise _bad_row(number, column, "another value", f"one of {', '.join(SPLITS)} (data.split.column)")


def _encodable(text: str, column: str, number: int) -> str:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise _bad_row(
            number, column, f"half a surrogate pair at character {error.start + 1}", "Unicode text"
        ) from error
    return text


def _bad_row(number: int, column: str, found: str, allowed: str) -> DataError:
    return DataError(f"data row {number}, column {column!r}: expected {allowed}; found {found}")


def _kind(value: Any) -> str:
    return {dict: "an object", list: "a list", bool: "a truth value", int: "a number", float: "a number"}.get(
        type(value), f"a value of type {type(value).__name__}"
    )
