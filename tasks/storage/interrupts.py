"""Ctrl-C that can't get lost: where a library swallows the exception, the wish is still known."""

from __future__ import annotations

import signal
from types import FrameType

_wished = False


def remember_interrupts() -> None:
    """Note every Ctrl-C besides raising KeyboardInterrupt.

    Prefect logs and drops what is raised while it closes a task or flow whose code has ended.
    """
    signal.signal(signal.SIGINT, _interrupt)


def raise_if_interrupted() -> None:
    """Raise KeyboardInterrupt if the user has asked to stop, now or earlier."""
    if _wished:
        raise KeyboardInterrupt


def _interrupt(number: int, frame: FrameType | None) -> None:
    global _wished
    _wished = True
    raise KeyboardInterrupt
