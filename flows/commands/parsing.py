"""What sub-commands share on the command line: how one is added, and checks of single arguments."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

Command = Callable[[argparse.Namespace], int]
_LONGEST_REASON = 1000
_TOO_MANY = 10**9


def add_command(commands: Any, name: str, command: Command, text: str) -> argparse.ArgumentParser:
    """Add a sub-command that `command` carries out; `commands` is what `add_subparsers` returned."""
    sub: argparse.ArgumentParser = commands.add_parser(name, help=text, description=text)
    sub.add_argument("--debug", action="store_true", default=argparse.SUPPRESS, help=argparse.SUPPRESS)
    sub.set_defaults(command=command)
    return sub


def add_recipe(sub: argparse.ArgumentParser, *, until: str | None = None) -> None:
    """Let a sub-command take a recipe and overrides; `until` is the last stage that it runs, None: all."""
    sub.add_argument("--recipe", metavar="FILE", help="a YAML file, or a shipped one by name; may be given alone")
    help_text = "values that differ from the file, all in one place"
    sub.add_argument("overrides", nargs="*", metavar="key=value", help=help_text)
    sub.set_defaults(until=until)


def reason(text: str) -> str:
    """Return a reason that is short enough to keep."""
    if len(text) > _LONGEST_REASON:
        raise argparse.ArgumentTypeError(f"must have at most {_LONGEST_REASON} characters, got {len(text)}")
    return text


def positive(text: str) -> int:
    """Return a whole number above 0, below a billion."""
    if not text.isdecimal() or int(text) == 0 or int(text) >= _TOO_MANY:
        raise argparse.ArgumentTypeError(f"must be a whole number above 0 and below a billion, got {text!r}")
    return int(text)


def above_zero(text: str) -> float:
    """Return a finite number above 0."""
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"must be a number above 0, got {text!r}")
    return number
