"""Text that is safe to print: escape sequences and control characters out of data can't drive a terminal."""

from __future__ import annotations

import unicodedata


def printable(text: str) -> str:
    r"""Replace control and format characters (escape sequences, bidi overrides) by `\x1b`-like notation."""
    return "".join(
        character
        if character in "\n\t" or unicodedata.category(character) not in {"Cc", "Cf", "Cs", "Co"}
        else f"\\x{ord(character):02x}"
        for character in text
    )


def shortened(text: str, width: int) -> str:
    """One line of at most `width` characters."""
    line = " ".join(printable(text).split())
    return line if len(line) <= width else f"{line[: width - 1]}…"
