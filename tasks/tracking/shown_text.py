"""Text that is safe to show: nothing out of data can drive a terminal, or be a link, an image or HTML in Markdown."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

_ESCAPES = str.maketrans(
    {character: f"\\{character}" for character in r"\`*_[]|~"}
    | {character: f"&#{ord(character)};" for character in "&<>@"}  # a backslash before these stays visible in MLflow
)
_LIST_OR_HEADING = re.compile(r"^(\d{1,9}(?=[.)](?:\s|$))|(?=[#=]|[-+](?!\d)))")
_WEB_ADDRESS = re.compile(r"(?<=www)\.|:(?=//)", re.IGNORECASE)


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


def escaped(text: str, width: int = 400) -> str:
    """Text for Markdown as it is, on one line: nothing in it is a link, an image or HTML.

    What means something only in places is escaped only there: MLflow's lists show descriptions unrendered.
    """
    marked = shortened(text, width).translate(_ESCAPES)
    return _WEB_ADDRESS.sub(lambda found: f"&#{ord(found[0])};", _LIST_OR_HEADING.sub(r"\1\\", marked))


def markdown_table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A Markdown table; every cell is escaped."""
    lines = [columns, ["---"] * len(columns), *([escaped(str(cell)) for cell in row] for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
