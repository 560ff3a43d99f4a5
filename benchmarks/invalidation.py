"""Change one thing a recipe run depends on and run it again: exactly the stages that depend on it are redone.

`python -m benchmarks.invalidation` prints a Markdown table and ends with status 1 if a row differs. A change of code or
of a suite is made in a copy of the project.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from tests.e2e.installation import PROJECT, Installation, one_prefect_server

STAGES = ("prepare", "validate", "baseline", "search", "evaluate", "register", "promote")
Edit = Callable[[Path], None]
NEW_RULE = """
  completions_again:
    why: A topic is a word.
    expectation: expect_text_to_be_free_of
    columns: [completion]
    finding: empty_text
    on_failure: warn
"""


class Change(NamedTuple):
    """One row: what is changed, and what must be redone."""

    what: str
    expected: tuple[str, ...]
    overrides: tuple[str, ...] = ()
    edit: Edit | None = None
    """Changes a copy of the project."""
    may: tuple[str, ...] = ()
    """Stages that are redone only if the change has another outcome."""


def appended(file: str, text: str) -> Edit:
    """Return an edit that appends a text to a file of the project."""

    def edit(project: Path) -> None:
        with (project / file).open("a", encoding="utf-8") as lines:
            lines.write(text)

    return edit


def replaced(file: str, old: str, new: str) -> Edit:
    """Return an edit that replaces a text in a file of the project."""

    def edit(project: Path) -> None:
        content = (project / file).read_text(encoding="utf-8")
        assert old in content, (file, old)
        (project / file).write_text(content.replace(old, new, 1), encoding="utf-8")

    return edit


CHANGES = (
    Change("nothing", ()),
    Change("touched mtimes", (), edit=lambda project: os.utime(project / "tasks" / "data" / "smoke.py")),
    Change("a comment in a room's code", (), edit=appended("tasks/search/agenda.py", "\n# a remark\n")),
    Change("a gate", ("promote",), ("promotion.max_slice_loss=0.2",)),
    Change("a price", ("evaluate", "promote"), ("economics.requests_per_month=5000",)),
    Change("a rule's action", ("validate",), ("validation.overrides={email_addresses: drop}",)),
    Change("the suite's file", ("validate",), edit=appended("expectations/standard.yaml", NEW_RULE)),
    Change("the template", STAGES[1:], ("template.instruction=Answer with one word.",)),
    Change("a baseline setting", ("baseline", "evaluate", "promote"), ("baseline.shots=[0, 3]",)),
    Change("a training value", ("search", "evaluate", "register", "promote"), ("training.lora_alpha=16",)),
    Change(
        "a search bound", ("search", "evaluate", "promote"),
        ("search.space={learning_rate: {low: 3.0e-3, high: 2.9e-2, log: true}}",), may=("register",),
    ),
    Change("more trials", ("search", "evaluate", "promote"), ("search.trials=3",), may=("register",)),
    Change("the base model", STAGES[1:], ("base.seed=1",)),
    Change("the seed", STAGES[2:], ("seed=18",)),
    Change(
        "code of the promotion room", ("register", "promote"),
        edit=appended("tasks/promotion/gates.py", "\n_X = 1\n"),
    ),
    Change(
        "code of the baselines room", ("baseline", "evaluate", "promote"),
        edit=appended("tasks/baselines/prompt_options.py", "\n_X = 1\n"),
    ),
    Change("code of the data room", STAGES, edit=appended("tasks/data/mapping.py", "\n_X = 1\n")),
)  # fmt: skip


def redone(installation: Installation, *overrides: str) -> list[str]:
    """Run the smoke recipe again; return the stages that were done and not reused."""
    done = installation.smoke(*overrides)
    if done.returncode:
        raise SystemExit(done.stderr)
    return [stage["name"] for stage in installation.show()["stages"] if not stage["reused"]]


def edited_copy(project: Path, edit: Edit | None) -> Path:
    """Copy the project's code and recipes, and change the copy."""
    shutil.copytree(PROJECT, project, ignore=shutil.ignore_patterns(".venv", ".git", ".burnish", "*_cache", "docs"))
    if edit is not None:
        edit(project)
    return project


def one_byte(installation: Installation, scratch: Path) -> list[str]:
    """Run on a file, change one of its bytes, run again."""
    from tasks.data.smoke import records

    file = scratch / "records.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in records(count=240)), encoding="utf-8")
    source = f"data.source={{kind: file, path: {file}}}"
    redone(installation, source)
    content = file.read_text(encoding="utf-8")
    file.write_text(content.replace("Hello", "Hallo", 1), encoding="utf-8")
    return redone(installation, source)


def main() -> int:
    """Run the table; returns the exit status."""
    failures = 0
    with tempfile.TemporaryDirectory() as name, one_prefect_server(Path(name)) as url:
        scratch = Path(name)
        finished = Installation(scratch / "finished", {"PREFECT_API_URL": url})
        redone(finished)
        print("| changed | redone | seconds | |\n|---|---|---|---|")
        for number, change in enumerate(CHANGES):
            copy = replace(
                finished.copy_to(scratch / f"home-{number}"),
                project=edited_copy(scratch / f"project-{number}", change.edit),
            )
            started = time.monotonic()
            found = redone(copy, *change.overrides)
            failures += report(change.what, found, change.expected, change.may, time.monotonic() - started)
        found = one_byte(finished.copy_to(scratch / "home-byte"), scratch)
        failures += report("one byte of a data file", found, STAGES, (), 0.0)
    return 1 if failures else 0


def report(what: str, found: Sequence[str], expected: Sequence[str], may: Sequence[str], seconds: float) -> int:
    """Print one row; 1 if it is a failure."""
    same = [stage for stage in found if stage not in may] == [stage for stage in expected if stage not in may]
    print(f"| {what} | {', '.join(found) or '–'} | {seconds:.0f} | {'' if same else 'DIFFERS'} |", flush=True)
    return int(not same)


if __name__ == "__main__":
    sys.exit(main())
