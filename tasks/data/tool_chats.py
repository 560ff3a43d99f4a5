"""Small made-up conversations of a shop's assistant that calls tools: for smoke runs and as an example of the format.

A customer asks about an order; the assistant calls the tool that the request is about, with the order's number, or says
in words what a tool has answered. Which tool it is, is told by one obvious word; nothing here is about real people.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from typing import Any

_WORDS = {
    "track_parcel": ("parcel", "delivery"),
    "refund_order": ("refund", "money back"),
    "resend_invoice": ("invoice", "receipt"),
}
_OPENINGS = ("Hello", "Hi", "Dear team", "Good morning")
_DAYS = ("Monday", "Tuesday", "Friday")
_ANSWERS = {
    "track_parcel": ("day", "It arrives on {}."),
    "refund_order": ("day", "The money is back on {}."),
    "resend_invoice": ("sent", "It was sent on {}."),
}
_TOOLS = [
    {
        "type": "function",
        "function": {
            "name": name,
            "parameters": {"type": "object", "properties": {"order": {"type": "integer"}}, "required": ["order"]},
        },
    }
    for name in _WORDS
]


def conversations(count: int = 240, seed: int = 0) -> Iterator[dict[str, Any]]:
    """Yield `count` rows with `messages` (OpenAI's form), `tools`, `customer` and `kind`.

    Two of three conversations (`kind: call`) end with a call of a tool, the third (`kind: answer`) with a sentence
    about what the tool has said. A customer has three conversations and is the group to split by. The same arguments
    always give the same rows.
    """
    draw = random.Random(seed)
    names = sorted(_WORDS)
    for number in range(count):
        name = names[draw.randrange(len(names))]
        order = draw.randrange(10, 100)
        word = draw.choice(_WORDS[name])
        asked = f"{draw.choice(_OPENINGS)}, my {word} for order {order} please, client {number}"
        messages: list[dict[str, Any]] = [{"role": "user", "content": asked}, _call(name, order)]
        if number % 3 == 2:
            key, sentence = _ANSWERS[name]
            day = draw.choice(_DAYS)
            messages += [
                {"role": "tool", "tool_call_id": "call_1", "name": name, "content": json.dumps({key: day})},
                {"role": "assistant", "content": sentence.format(day)},
            ]
        yield {
            "messages": messages,
            "tools": _TOOLS,
            "customer": f"customer-{number // 3}",
            "kind": "answer" if number % 3 == 2 else "call",
        }


def _call(name: str, order: int) -> dict[str, Any]:
    function = {"name": name, "arguments": json.dumps({"order": order})}
    return {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"id": "call_1", "type": "function", "function": function}],
    }
