"""When Python looks for garbage in cycles."""

from __future__ import annotations

import gc

_NEW_OBJECTS = 50_000
"""Python's own figure is 700; importing the libraries makes some two million objects, nearly all of which stay."""


def collect_seldom() -> None:
    """Look for garbage in cycles only after many new objects.

    A command looked through the same imported modules again and again, a fifth of its CPU time. Not for a worker: what
    a cycle keeps alive may be a model there, and the next one comes at once.
    """
    gc.set_threshold(_NEW_OBJECTS, *gc.get_threshold()[1:])
