"""Sub-commands that work on what was trained: show it, ask it, move its aliases by hand."""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from configs.settings import Settings
from flows.commands.installation import existing, existing_of, existing_of_any
from flows.commands.parsing import add_command, positive
from tasks.tracking.shown_text import printable


def add_model_commands(commands: Any) -> None:
    """Add them to the command line."""
    promote = add_command(commands, "promote", _promote, "make a model version the champion by hand")
    promote.add_argument("model", metavar="NAME/VERSION", help="a registered version; NAME is the recipe's")
    promote.add_argument("--reason", required=True, help="kept in the history")
    rollback = add_command(commands, "rollback", _rollback, "make the previous champion the champion again")
    rollback.add_argument("name", metavar="NAME", help="the registered model: the recipe's name")
    rollback.add_argument("--reason", required=True, help="kept in the history")
    shown = add_command(commands, "history", _history, "show every move of a model's aliases")
    shown.add_argument("name", metavar="NAME", help="the registered model: the recipe's name, or its file")
    predict = add_command(commands, "predict", _predict, "answer texts with a registered model, or a cheaper option")
    asked = predict.add_mutually_exclusive_group(required=True)
    asked.add_argument("--model", metavar="NAME@ALIAS", help="a registered model, or NAME/VERSION")
    asked.add_argument("--recipe", metavar="RECIPE", help="what the latest run of a recipe, or of its file, recommends")
    predict.add_argument("--option", metavar="OPTION", help="of that run, another one: as `burnish show` names it")
    predict.add_argument(
        "--column", metavar="NAME=VALUE", action="append", default=[], help="metadata that the template uses"
    )
    predict.add_argument("--json", action="store_true", help="each answer in a line, with its text")
    predict.add_argument("text", metavar="TEXT", nargs="+", help="what to answer, each in quotes; -: lines from stdin")
    show = add_command(commands, "show", _show, "show the latest run of a recipe (default: of any)")
    show.add_argument("name", metavar="RECIPE", nargs="?", help="a recipe's name or file, NAME/VERSION, or a run's id")
    show.add_argument("--json", action="store_true", help="for programs")
    runs = add_command(commands, "runs", _runs, "list the finished runs, newest first")
    runs.add_argument("name", metavar="RECIPE", nargs="?", help="a recipe's name or file (default: of every recipe)")
    runs.add_argument("--count", type=positive, default=20, metavar="N", help="runs to list (default 20)")
    compare = add_command(commands, "compare", _compare, "compare two finished runs on the test records they share")
    run = (
        "a recipe or its file (its newest run), a version as NAME/VERSION or NAME@ALIAS, or a run's id; "
        "RUN:OPTION names another option than the candidate"
    )
    compare.add_argument("first", metavar="RUN", help=run)
    compare.add_argument("second", metavar="OTHER", nargs="?", help="likewise (default: the finished run before)")


def _promote(options: argparse.Namespace) -> int:
    from tasks.promotion.by_hand import promote_by_hand

    _, settings = existing()
    print(promote_by_hand(settings, options.model, reason=options.reason))
    return 0


def _rollback(options: argparse.Namespace) -> int:
    from tasks.promotion.by_hand import rollback_by_hand

    _, settings = existing()
    print(rollback_by_hand(settings, options.name, reason=options.reason))
    return 0


def _history(options: argparse.Namespace) -> int:
    from tasks.promotion.by_hand import history_lines

    name, settings = existing_of(options.name)
    for line in history_lines(settings, name):
        print(printable(line))
    return 0


def _predict(options: argparse.Namespace) -> int:
    from configs.errors import RecipeError
    from tasks.registry.predicting import predict

    if options.option and options.model:
        raise RecipeError("--option belongs to a recipe's run, --model names a registered version; give one of them")
    columns = {name: value for name, _, value in (given.partition("=") for given in options.column)}
    if "" in columns or not all("=" in given for given in options.column):
        raise RecipeError("--column takes NAME=VALUE, such as --column clinic=north")
    recipe, settings = existing_of_any(options.recipe)
    texts = _texts(options.text)
    if len(texts) == 1 and _is_file(texts[0]):
        named = printable(shlex.quote(texts[0]))
        print(f"{named} is taken as a text; for the lines of the file: - < {named}", file=sys.stderr)
    asked = [text for text in texts if text.strip()]
    if options.model:
        found = predict(settings, options.model, asked, columns=columns)
    else:
        found = _ask(settings, recipe, options.option, asked, columns)
    numbers = [number for number, text in enumerate(texts) if text.strip()]
    answers = dict(zip(numbers, found, strict=True))
    for number, text in enumerate(texts):
        answer = answers.get(number)
        if options.json:
            print(json.dumps({"prompt": text, "answer": answer}, ensure_ascii=sys.stdout.isatty()))
        else:
            print(printable(answer or "") if sys.stdout.isatty() else answer or "")
    return 0


def _texts(given: Sequence[str]) -> Sequence[str]:
    """The texts to answer: those given, or, for `-` alone, the lines of standard input; empty lines stay empty.

    Raises:
        DataError: a text that was given is empty, or standard input has none or can't be read.
    """
    from configs.errors import DataError

    if "-" not in given:
        if empty := next((number for number, text in enumerate(given, start=1) if not text.strip()), None):
            raise DataError(f"text {empty} of {len(given)} is empty; take it out, or let it say something")
        return given
    if len(given) > 1:
        raise DataError("- takes every text from standard input; give it alone")
    lines = _lines_from_stdin()
    if not any(line.strip() for line in lines):
        raise DataError("standard input is empty; give it a text in each line")
    return lines


def _is_file(text: str) -> bool:
    try:
        return Path(text).is_file()
    except (OSError, ValueError):  # too long for a name, or with characters that none has
        return False


def _lines_from_stdin() -> list[str]:
    from configs.errors import DataError

    if sys.stdin is None:
        raise DataError("standard input is closed; give it a text in each line")
    try:
        text = sys.stdin.buffer.read().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"standard input is not UTF-8 at byte {error.start}; convert it, such as by iconv") from error
    return [line.removesuffix("\r") for line in text.removesuffix("\n").split("\n")] if text else []


def _ask(
    settings: Settings, recipe: str | None, option: str | None, texts: Sequence[str], columns: Mapping[str, str]
) -> list[str]:
    """Answer with an option of the recipe's latest run: the recommended one, unless another is named."""
    from tasks.baselines.asking import ask_option
    from tasks.registry.predicting import predict
    from tasks.reporting.show import latest_summary

    summary = latest_summary(settings, recipe)
    name = option or str(summary.verdict["recommended"])
    registered = {"candidate": f"{summary.model['name']}/{summary.model['version']}"}
    registered["champion"] = f"{summary.model['name']}@champion"
    if name in registered:
        answers = predict(settings, registered[name], texts, columns=columns)
    else:
        answers = ask_option(settings, summary.run_id, name, texts, columns=columns)
    print(f"answered by {name}, run of {summary.finished_at}", file=sys.stderr)
    return answers


def _show(options: argparse.Namespace) -> int:
    from rich.console import Console

    from tasks.reporting.show import latest_summary
    from tasks.reporting.terminal_summary import print_summary

    name, settings = existing_of_any(options.name)
    summary = latest_summary(settings, name)
    if options.json:
        print(json.dumps(summary.as_json(), indent=1, ensure_ascii=False))
    else:
        print_summary(summary, Console())
    return 0


def _runs(options: argparse.Namespace) -> int:
    from tasks.reporting.listing import run_lines

    name, settings = existing_of_any(options.name)
    for line in run_lines(settings, name, count=options.count):
        print(printable(line))
    return 0


def _compare(options: argparse.Namespace) -> int:
    from tasks.reporting.comparing import comparison_lines

    first, settings = _run_of(options.first)
    second = _run_of(options.second)[0] if options.second else None
    for line in comparison_lines(settings, first, second):
        print(printable(line))
    return 0


def _run_of(given: str) -> tuple[str, Settings]:
    """What `compare` is given, with the recipe's name in place of its file; and settings of its installation."""
    run, colon, option = given.partition(":")
    name, settings = existing_of(run)
    return f"{name}{colon}{option}", settings
