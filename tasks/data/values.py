"""Single values of rows as text, and what to say of one that can't be."""

from __future__ import annotations

from typing import Any

from configs.errors import DataError


def text_of(value: Any, column: str, number: int) -> str:
    """Return a text; a missing one becomes empty.

    Raises:
        DataError: it is something else, or no Unicode text.
    """
    if value is None:
        return ""
    if not isinstance(value, str):
        raise bad_row(number, column, kind_of(value), "text; write it as a string")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise bad_row(
            number, column, f"half a surrogate pair at character {error.start + 1}", "Unicode text"
        ) from error
    return value


def bad_row(number: int, column: str, found: str, allowed: str) -> DataError:
    """Return the error about one value; it never shows the value."""
    return DataError(f"data row {number}, column {column!r}: expected {allowed}; found {found}")


def kind_of(value: Any) -> str:
    """Name a value's type for people."""
    return {dict: "an object", list: "a list", bool: "a truth value", int: "a number", float: "a number"}.get(
        type(value), f"a value of type {type(value).__name__}"
    )
