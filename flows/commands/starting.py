"""The sub-command that makes a first recipe for a file of records."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from flows.commands.parsing import add_command
from tasks.tracking.shown_text import shortened

_LINE = 300


def add_starting_commands(commands: Any) -> None:
    """Add it to the command line."""
    init = add_command(
        commands, "init", _init, "look at a data file and write a starter recipe with comments beside it"
    )
    init.add_argument("data", type=Path, metavar="DATA", help="a CSV, JSONL or Parquet file")
    init.add_argument("--output", type=Path, metavar="FILE", help="default: the data file's name with .yaml, beside it")
    init.add_argument("--base", type=Path, metavar="FOLDER", help="the base model, in Hugging Face layout")
    init.add_argument("--force", action="store_true", help="write over a recipe that is there")


def _init(options: argparse.Namespace) -> int:
    from tasks.data.starter_file import write_starter

    written = write_starter(options.data, output=options.output, base=options.base, force=options.force)
    for key, guess in {**written.guessed.column_guesses(), "labels": written.guessed.closed}.items():
        if guess.reason:
            print(shortened(f"{key} {guess.value or '-'} ({guess.reason})", _LINE))
    if written.guessed.group_candidates:
        names = " or ".join(written.guessed.group_candidates)
        print(shortened(f"group_by - (choose: does {names} say which rows belong together?)", _LINE))
    if written.guessed.left_out:
        names = ", ".join(written.guessed.left_out)
        print(shortened(f"not read {names} (to show the model one, add it to metadata and to template.prompt)", _LINE))
    first = "check its guesses" if options.base else "fill in `base` (its comment says how) and check the guesses"
    print(f"wrote {written.path}; {first}, then: burnish preview --recipe {written.path}")
    return 0
