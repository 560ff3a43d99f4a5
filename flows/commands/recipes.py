"""Sub-commands that work on a recipe: run it, run it again, watch its data, look at what it renders."""

from __future__ import annotations

import argparse
from typing import Any

from flows.commands.installation import load, prefect_server_of, show_terms
from flows.commands.parsing import add_command, add_recipe, positive, reason
from tasks.tracking.shown_text import printable

_STAGES = ("prepare", "validate", "baseline", "search", "evaluate")


def add_recipe_commands(commands: Any) -> None:
    """Add them to the command line."""
    add_recipe(add_command(commands, "finetune", _finetune, "run every stage of a recipe; finished ones are reused"))
    for stage in _STAGES:
        run = _search if stage == "search" else _finetune
        sub = add_command(commands, stage, run, f"run a recipe up to the stage {stage!r}")
        add_recipe(sub, until=stage)
        if stage == "search":
            sub.add_argument("--watch", action="store_true", help="only show the study that runs, until it ends")
            sub.add_argument("--stop-trial", type=int, metavar="N", help="only ask the running study to end a trial")
    text = "run a recipe again if its data, base model or age says so; else say why not"
    retrain = add_command(commands, "retrain", _retrain, text)
    add_recipe(retrain)
    retrain.add_argument("--force", action="store_true", help="train anew though nothing changed")
    retrain.add_argument("--reason", type=reason, default="", help="why you ask; kept with the run")
    text = "look once whether a recipe's data changed or a retrain is due, and tell the Prefect server"
    add_recipe(add_command(commands, "watch", _watch, text))
    preview = add_command(commands, "preview", _preview, "show rendered records with the trained tokens marked")
    add_recipe(preview)
    preview.add_argument(
        "--record", metavar="ID", action="append", default=[], help="this record, as a message of validation names it"
    )
    preview.add_argument("--count", type=positive, default=3, metavar="N", help="records to show (default 3)")


def _finetune(options: argparse.Namespace) -> int:
    from rich.console import Console

    from configs.requests import FinetuneRequest
    from flows.check import check
    from tasks.tracking.prefect_server import run_tags

    recipe, settings, root = load(options)
    check(recipe, root)
    request = FinetuneRequest(recipe=str(options.recipe), overrides=tuple(options.overrides))
    show_terms(recipe)
    with prefect_server_of(settings, meanwhile="flows.finetune"):
        from prefect import tags

        from flows.finetune import finetune

        with tags(*run_tags(recipe.name, settings.installation)):
            summary = finetune(request, until=options.until)
    if summary is None:
        return 0
    from tasks.reporting.terminal_summary import print_summary

    print_summary(summary, Console())
    return 0


def _search(options: argparse.Namespace) -> int:
    if options.stop_trial is None and not options.watch:
        return _finetune(options)
    recipe, settings, _ = load(options)
    if options.stop_trial is not None:
        from tasks.search.study_view import request_stop

        print(request_stop(settings.study_url, recipe.name, options.stop_trial))
    if options.watch:
        from rich.console import Console

        from tasks.reporting.search_watch import watch_search

        watch_search(settings, recipe.name, Console())
    return 0


def _retrain(options: argparse.Namespace) -> int:
    from rich.console import Console

    from configs.requests import RetrainRequest
    from flows.check import check
    from tasks.tracking.prefect_server import run_tags

    recipe, settings, root = load(options)
    check(recipe, root)
    request = RetrainRequest(
        recipe=str(options.recipe), overrides=tuple(options.overrides), force=options.force, reason=options.reason
    )
    show_terms(recipe)
    with prefect_server_of(settings, meanwhile="flows.retrain"):
        from prefect import tags

        from flows.retrain import retrain

        with tags(*run_tags(recipe.name, settings.installation)):
            state = retrain(request, return_state=True)
        summary = state.result()
    if summary is not None:
        from tasks.reporting.terminal_summary import print_summary

        print_summary(summary, Console())
    else:
        print(f"{state.name}: {printable(state.message or '')}")
    return 0


def _watch(options: argparse.Namespace) -> int:
    from configs.errors import ServerError
    from configs.requests import WatchRequest
    from tasks.tracking.prefect_server import run_tags

    recipe, settings, _ = load(options)
    if settings.prefect_api_url is None:
        raise ServerError("watch tells a Prefect server of changes, and PREFECT_API_URL names none; start one, set it")
    with prefect_server_of(settings):
        from prefect import tags

        from flows.watch import watch

        with tags(*run_tags(recipe.name, settings.installation)):
            outcome = watch(WatchRequest(recipe=str(options.recipe), overrides=tuple(options.overrides)))
    print(f"{recipe.name}: {outcome}")
    return 0


def _preview(options: argparse.Namespace) -> int:
    from rich.console import Console

    from flows.check import check
    from flows.preview import preview

    recipe, settings, root = load(options)
    check(recipe, root)
    preview(recipe, settings, root, count=options.count, record_ids=options.record, console=Console())
    return 0
