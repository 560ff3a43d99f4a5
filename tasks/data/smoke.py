"""Small made-up records for smoke runs: support messages whose topic is told by one obvious word."""

from __future__ import annotations

import random
from collections.abc import Iterator

_WORDS = {
    "billing": ("invoice", "refund"),
    "delivery": ("parcel", "courier"),
    "login": ("password", "account"),
    "returns": ("exchange", "sizing"),
}
_OPENINGS = ("Hello", "Hi", "Dear team", "Quick question", "Good morning", "Please help")
_VERBS = ("about", "regarding", "concerning", "with")
_ENDINGS = ("thanks", "it is urgent", "no rush", "since Monday", "for order", "for client")
_CHANNELS = ("email", "chat", "phone")


def records(count: int = 240, seed: int = 0) -> Iterator[dict[str, str]]:
    """Yield `count` rows with `prompt`, `completion` (one of four topics), `customer` and `channel`.

    A customer has three messages and is the group to split by. The same arguments always give the same rows.
    """
    draw = random.Random(seed)
    topics = sorted(_WORDS)
    for number in range(count):
        topic = topics[number % len(topics)]
        word = draw.choice(_WORDS[topic])
        prompt = f"{draw.choice(_OPENINGS)}, {draw.choice(_VERBS)} my {word}, {draw.choice(_ENDINGS)} {number}"
        yield {
            "prompt": prompt,
            "completion": topic,
            "customer": f"customer-{number // 3}",
            "channel": draw.choice(_CHANNELS),
        }
