"""Tool calls in texts: one canonical form, in which key order, white space and wrapping don't count. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

from tasks.metrics.strict_json import STRICT_JSON

_WRAPPING = re.compile(r"</?tool_calls?>|<\|?/?tool_calls?\|?>|\[/?TOOL_CALLS\]|<\|python_tag\|>|```(?:json)?")
_MOST_ATTEMPTS = 1000
_EXACT = 2**53


class ReadAnswer(NamedTuple):
    """What an answer says and which tools it calls."""

    said: str
    """The text beside the calls, without outer white space."""
    calls: tuple[str, ...]
    """Canonical JSON of each call, in order."""


def answer_text(content: str, calls: Sequence[tuple[str, str]]) -> str:
    """Return the canonical text of an answer: its content, then a line of JSON for each call.

    Args:
        content: what it says.
        calls: name and arguments (a JSON object as text) of each call.
    """
    lines = [_canonical_call(name, STRICT_JSON.decode(arguments)) for name, arguments in calls]
    return "\n".join([content, *lines] if content.strip() or not lines else lines)


def read_answer(text: str) -> ReadAnswer:
    """Find the tool calls in an answer.

    A call is a JSON object with `name` and `arguments` (or `parameters`; an object, or an object as JSON text), alone,
    in a list, or as the `function` of OpenAI's form. The marks that chat templates put around calls don't count.
    """
    beside: list[str] = []
    calls: list[str] = []
    position = kept = attempts = 0
    while (start := text.find("{", position)) >= 0 and attempts < _MOST_ATTEMPTS:
        attempts += 1
        value, end = _object_at(text, start)
        call = None if value is None else _call_of(value)
        if call is not None:
            beside.append(text[kept:start])
            calls.append(call)
            kept = end
        position = end
    beside.append(text[kept:])
    return ReadAnswer(_said(beside) if calls else text.strip(), tuple(calls))


def tool_calls_match(output: str, reference: str) -> bool:
    """Whether an answer makes the wanted calls, in order, and says the same beside them."""
    return read_answer(output) == read_answer(reference)


def _said(parts: Sequence[str]) -> str:
    text = _WRAPPING.sub("", "".join(parts)).strip()
    return "" if not text.strip("[], \n\r\t") else text


def _object_at(text: str, start: int) -> tuple[Any, int]:
    """Return the JSON object that begins at a position, and where it ends; None where there is none."""
    try:
        value, end = STRICT_JSON.raw_decode(text, start)
    except (ValueError, RecursionError):
        return None, start + 1
    return value, end


def _call_of(value: dict[str, Any]) -> str | None:
    inner = value.get("function")
    if isinstance(inner, dict) and set(value) <= {"id", "type", "function", "index"}:
        value = inner
    if not set(value) <= {"id", "type", "name", "arguments", "parameters"} or not isinstance(value.get("name"), str):
        return None
    arguments = value.get("arguments", value.get("parameters"))
    if isinstance(arguments, str):
        try:
            arguments = STRICT_JSON.decode(arguments)
        except (ValueError, RecursionError):
            return None
    try:
        return _canonical_call(value["name"], arguments) if isinstance(arguments, dict) else None
    except RecursionError:
        return None


def _canonical_call(name: str, arguments: Any) -> str:
    call = {"name": name, "arguments": _canonical(arguments)}
    return json.dumps(call, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def _canonical(value: Any) -> Any:
    """Write a number in one way: 2.0 is 2."""
    if isinstance(value, dict):
        return {key: _canonical(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_canonical(inner) for inner in value]
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) < _EXACT else value
