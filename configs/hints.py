"""What to say of a name that isn't known."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

_MOST_SHOWN = 50


def closest(name: str, known: Iterable[str]) -> str | None:
    """Return the known name that was probably meant, whatever its case; None where none is close."""
    names = list(known)
    exact = difflib.get_close_matches(name, names, n=1)
    lower = difflib.get_close_matches(name.lower(), [each.lower() for each in names], n=1)
    return exact[0] if exact else next((each for each in names if [each.lower()] == lower), None)


def did_you_mean(name: str, allowed: Iterable[str], *, otherwise: str = "allowed") -> str:
    """The allowed name that was probably meant, as a question, else all of them; empty where none is allowed."""
    names = list(allowed)
    close = closest(name, names)
    if close:
        return f"did you mean {close}?"
    shown = ", ".join(names[:_MOST_SHOWN]) + (", …" if len(names) > _MOST_SHOWN else "")
    return f"{otherwise}: {shown}" if names else ""
