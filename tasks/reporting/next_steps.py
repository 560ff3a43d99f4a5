"""What to do after a run: it follows from verdict and decision. Pure, but for the folder that paths are shown from."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

from tasks.evaluation.verdict import rounded_records
from tasks.reporting.summary import TINY_BASE, RunSummary
from tasks.tracking.shown_text import printable

_ALL = "null"
"""The value of `data.max_test_records` that takes every test record."""


def next_step(summary: RunSummary) -> str:
    """The one thing to do now, in a sentence or two."""
    if summary.base == TINY_BASE:
        return "Name a real base model under `base` and run again; this run shows only that every stage works."
    kind, aliases = summary.verdict.get("kind"), summary.model.get("aliases", [])
    if summary.decision.get("promote") and aliases:
        return f"Use it: {_model(summary)} answers texts, on the command line and for every MLflow user."
    if summary.decision.get("promote"):
        return f"It cleared every gate but has no alias now: `burnish history {_name(summary)}` says who moved it."
    if kind == "pays":
        refused_by = ", ".join(summary.decision.get("refused_by", []))
        return (
            f"Fine-tuning pays, but this version was refused by: {refused_by}. Mend what that gate found, or move the "
            "limit under `promotion` if it is stricter than you need, and run the recipe again."
        )
    if kind == "does_not_pay":
        return f"Use {_cheaper(summary)}. {_how(summary)}"
    return _tell_more(summary)


def next_commands(summary: RunSummary) -> list[str]:
    """Commands worth trying now; they work in the folder where this is shown."""
    recipe, name, step = _recipe(summary), _name(summary), []
    if not summary.model.get("version"):
        return [f"burnish preview --recipe {recipe}"]
    if summary.verdict.get("kind") == "cannot_tell" and (wanted := _wanted_limit(summary)):
        step.append(f"burnish finetune --recipe {recipe} {_overrides_with(summary, 'data.max_test_records', wanted)}")
    ask = f'burnish predict --model {_model(summary)} "your text"'
    show = f"burnish show {summary.recipe} --json"
    history = f"burnish history {name}"
    if summary.decision.get("promote"):
        return [*step, ask, *([history] if summary.model.get("aliases") else []), show]
    recommended = summary.verdict.get("recommended")
    cheaper = [] if recommended in (None, "candidate") else [f"{_ask_recommended(summary)}   # {recommended}"]
    if summary.model.get("aliases"):
        return [*step, *cheaper, f"{ask}   # its alias is a person's: the gates refused it", history]
    return [*step, *cheaper, show, f"{ask}   # the refused fine-tune, for a look"]


def _tell_more(summary: RunSummary) -> str:
    if summary.verdict.get("best_cheaper") is None:
        return "Give the fine-tune something to beat: turn on baseline.classical or give baseline.shots, and run again."
    more = summary.verdict.get("more_test_records")
    until_then = f"Until then {_cheaper(summary)} is the safe choice."
    if not more:
        return f"More test records would not tell, the two are too close: use {_cheaper(summary)}. {_how(summary)}"
    wanted = f"About {rounded_records(more):,} more test records would tell"
    limit, found = summary.max_test_records, summary.test_records_found
    if limit is None:
        return f"{wanted}: bring more records, all that the test set has are used. {until_then}"
    next_limit = _wanted_limit(summary)
    if next_limit is None:
        return f"{wanted}: bring more records, and raise data.max_test_records, now {limit:,}. {until_then}"
    if next_limit == _ALL:
        return (
            f"{wanted}, and {found:,} of the source's records are test records: take all of them "
            f"(data.max_test_records is {limit:,} now), and bring more. {until_then}"
        )
    return f"{wanted}: raise data.max_test_records, now {limit:,}. {until_then}"


def _wanted_limit(summary: RunSummary) -> str | None:
    """The value of `data.max_test_records` to try next; None where the limit keeps nothing away."""
    more, limit, found = (
        summary.verdict.get("more_test_records"), summary.max_test_records, summary.test_records_found
    )  # fmt: skip
    if not more or not limit or (found is not None and found <= limit):
        return None
    wanted = limit + rounded_records(more)
    return str(wanted) if found is None or found >= wanted else _ALL


def _how(summary: RunSummary) -> str:
    """How the recommended cheaper option is used; Burnish registers fine-tunes only."""
    name = str(summary.verdict.get("best_cheaper"))
    kind = next((row.kind for row in summary.options if row.name == name), "")
    use = (
        f"`{_ask_recommended(summary)}` answers with it; its answers to the test records are in MLflow, run "
        f"`test/{name}`."
    )
    if kind == "classical":
        return (
            "It needs no language model: TF-IDF with a linear classifier for closed labels, the completion of the most "
            f"similar training record for free text. {use}"
        )
    return f"It needs no training: the base model with the recipe's template and the examples it is named after. {use}"


def _ask_recommended(summary: RunSummary) -> str:
    return f'burnish predict --recipe {shlex.quote(summary.recipe)} "your text"'


def _overrides_with(summary: RunSummary, key: str, value: str) -> str:
    """The run's overrides with one key set anew, quoted for a shell."""
    kept = [each for each in summary.overrides if each.partition("=")[0] != key]
    return " ".join(shlex.quote(printable(each)) for each in [*kept, f"{key}={value}"])


def _cheaper(summary: RunSummary) -> str:
    return str(summary.verdict.get("best_cheaper"))


def _name(summary: RunSummary) -> Any:
    return summary.model.get("name", summary.recipe)


def _model(summary: RunSummary) -> str:
    aliases = summary.model.get("aliases", [])
    return f"{_name(summary)}@{aliases[0]}" if aliases else f"{_name(summary)}/{summary.model.get('version')}"


def _recipe(summary: RunSummary) -> str:
    """The recipe's file as seen from this folder, quoted for a shell; the name of a shipped one."""
    path = Path(summary.recipe_file or summary.recipe)
    here = Path.cwd()
    return shlex.quote(printable(str(path.relative_to(here) if path.is_relative_to(here) else path)))
