"""Records as the messages that a chat template takes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from tasks.data.records import Record, Turn

Message = dict[str, Any]


def conversation(instruction: str, record: Record, shots: Sequence[Record]) -> list[Message]:
    """Return the messages of a record, its completion last.

    The instruction and the record's own system turns become one system message; shots are earlier turns.
    """
    system = [instruction] if instruction else []
    system += [turn.content for turn in record.turns if turn.role == "system"]
    messages: list[Message] = [{"role": "system", "content": "\n\n".join(system)}] if system else []
    for each in (*shots, record):
        messages += [message_of(turn) for turn in each.spoken if turn.role != "system"]
    return messages


def message_of(turn: Turn) -> Message:
    """Return a turn as a message; arguments of calls are objects, as chat templates expect them."""
    message: Message = {"role": turn.role, "content": turn.content}
    if turn.tool_calls:
        message["tool_calls"] = [
            ({} if call.id is None else {"id": call.id})
            | {"type": "function", "function": {"name": call.name, "arguments": json.loads(call.arguments)}}
            for call in turn.tool_calls
        ]
    named = {"tool_call_id": turn.tool_call_id, "name": turn.name}
    return message | {key: value for key, value in named.items() if value is not None}


def tools_of(record: Record) -> list[Any] | None:
    """Return the tools that the record's conversation may call; None where it has none."""
    return None if record.tools is None else list(json.loads(record.tools))
