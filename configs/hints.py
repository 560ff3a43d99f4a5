"""What to say of a name that isn't known."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def closest(name: str, known: Iterable[str]) -> str | None:
    """Return the known name that was probably meant, whatever its case; None where none is close."""
    by_lower = {each.lower(): each for each in known}
    close = difflib.get_close_matches(name.lower(), by_lower, n=1)
    return by_lower[close[0]] if close else None


def did_you_mean(name: str, allowed: Iterable[str]) -> str:
    """The allowed name that was probably meant, as a question, else all of them; empty where none is allowed."""
    names = list(allowed)
    close = closest(name, names)
    if close:
        return f"did you mean {close}?"
    return f"allowed: {', '.join(names)}" if names else ""
