"""What to say of a name that isn't known."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def did_you_mean(name: str, allowed: Iterable[str]) -> str:
    """The allowed name that was probably meant, as a question, else all of them; empty where none is allowed."""
    names = list(allowed)
    close = difflib.get_close_matches(name, names, n=1)
    if close:
        return f"did you mean {close[0]}?"
    return f"allowed: {', '.join(names)}" if names else ""
