"""JSON lines over a pipe: how a worker and its parent talk."""

from __future__ import annotations

import json
from io import RawIOBase
from typing import IO, Any


def send(pipe: RawIOBase, message: dict[str, Any]) -> None:
    """Write one message to an unbuffered pipe, whole, however many writes that takes."""
    line = json.dumps(message).encode() + b"\n"
    while line:
        line = line[pipe.write(line) or 0 :]


def receive(pipe: IO[bytes]) -> dict[str, Any] | None:
    """Read the next message; None when the other side is gone, also in the middle of a message."""
    line = pipe.readline()
    if not line.endswith(b"\n"):
        return None
    message: dict[str, Any] = json.loads(line)
    return message
