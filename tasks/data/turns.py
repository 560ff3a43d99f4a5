"""The messages of a row as turns, calls of tools included."""

from __future__ import annotations

import json
from typing import Any

from tasks.data.records import ToolCall, Turn
from tasks.data.values import bad_row, kind_of, text_of

_ROLES = ("system", "user", "assistant", "tool")


def conversation_turns(messages: Any, column: str, number: int) -> tuple[Turn, ...]:
    """Return the turns of a conversation, the assistant's last.

    Raises:
        DataError: it isn't one; names the column and the row, never the value.
    """
    if messages is None:
        return Turn("user", ""), Turn("assistant", "")
    messages = _parsed(messages, column, number, "a list of {role, content}") if isinstance(messages, str) else messages
    if not isinstance(messages, list):
        raise bad_row(number, column, kind_of(messages), "a list of {role, content}")
    turns = tuple(_turn(message, column, number) for message in messages)
    if len(turns) < 2 or turns[-1].role != "assistant":
        found = " → ".join(turn.role for turn in turns[-3:]) or "no turns"
        raise bad_row(number, column, found, "at least two turns, the assistant's last: it is the completion")
    return turns


def tools_text(tools: Any, column: str, number: int) -> str | None:
    """Return the tools of a row as JSON text; None where it has none.

    Raises:
        DataError: it is no list of objects.
    """
    if tools is None or tools == "":
        return None
    expected = "a list of tool schemas ({type, function: {name, parameters}})"
    tools = _parsed(tools, column, number, expected) if isinstance(tools, str) else tools
    if not isinstance(tools, list) or not all(isinstance(tool, dict) for tool in tools):
        raise bad_row(number, column, kind_of(tools), expected)
    return _json(tools, column, number) if tools else None


def _turn(message: Any, column: str, number: int) -> Turn:
    if not isinstance(message, dict) or "role" not in message or not {"content", "tool_calls"} & set(message):
        found = f"keys {', '.join(sorted(map(str, message)))}" if isinstance(message, dict) else kind_of(message)
        raise bad_row(number, f"{column}[]", found, "{role, content}")
    role = message["role"]
    if role not in _ROLES:
        raise bad_row(number, f"{column}[].role", "another role", f"one of {', '.join(_ROLES)}")
    calls = message.get("tool_calls") or ()
    if calls and role != "assistant":
        raise bad_row(number, f"{column}[].tool_calls", f"calls of the role {role}", "calls of the role assistant")
    if not isinstance(calls, list | tuple):
        raise bad_row(number, f"{column}[].tool_calls", kind_of(calls), "a list of calls")
    is_tool = role == "tool"
    return Turn(
        role,
        text_of(message.get("content"), f"{column}[].content", number),
        tuple(_call(call, f"{column}[].tool_calls[]", number) for call in calls),
        tool_call_id=_optional(message, "tool_call_id", column, number) if is_tool else None,
        name=_optional(message, "name", column, number) if is_tool else None,
    )


def _call(call: Any, column: str, number: int) -> ToolCall:
    expected = "{id, type: function, function: {name, arguments}}, the arguments an object or its JSON text"
    function = call.get("function") if isinstance(call, dict) else None
    if not isinstance(function, dict) or not isinstance(function.get("name"), str) or not function["name"]:
        raise bad_row(number, column, "something else", expected)
    if call.get("type") not in (None, "function"):
        raise bad_row(number, f"{column}.type", "another type", "function")
    arguments = function.get("arguments")
    if isinstance(arguments, str):
        arguments = _parsed(arguments, f"{column}.function.arguments", number, expected)
    if not isinstance(arguments, dict):
        raise bad_row(number, f"{column}.function.arguments", kind_of(arguments), expected)
    return ToolCall(
        text_of(function["name"], f"{column}.function.name", number),
        _json(arguments, f"{column}.function.arguments", number),
        _optional(call, "id", column, number),
    )


def _optional(values: dict[str, Any], key: str, column: str, number: int) -> str | None:
    value = values.get(key)
    return None if value is None else text_of(value, f"{column}.{key}", number)


def _parsed(text: str, column: str, number: int, expected: str) -> Any:
    try:
        return json.loads(text, object_pairs_hook=_without_repeated_keys)
    except (ValueError, RecursionError) as error:
        raise bad_row(number, column, "text that is no valid JSON", expected) from error


def _without_repeated_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands twice")
    return found


def _json(value: Any, column: str, number: int) -> str:
    try:
        return text_of(json.dumps(value, ensure_ascii=False, allow_nan=False), column, number)
    except (TypeError, ValueError, RecursionError) as error:
        raise bad_row(number, column, "a value that JSON doesn't have", "JSON values") from error
