"""The finished runs of an installation, a line each: which there are, what they found, what became of their model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from itertools import islice
from typing import TYPE_CHECKING

from configs.errors import BurnishError
from configs.settings import Settings
from tasks.reporting.show import finished_runs, no_finished_run
from tasks.reporting.summary import RunSummary
from tasks.tracking.recipe_run import tracker_at
from tasks.tracking.shown_text import shortened

if TYPE_CHECKING:
    from tasks.tracking.mlflow_runs import Tracker

_LONGEST_OVERRIDES = 200
_HEADS = ("finished (UTC)", "run", "version", "candidate", "verdict", "differs from its file by")


def run_lines(settings: Settings, recipe: str | None, *, count: int) -> list[str]:
    """Return a table of the newest finished runs, newest first, below a line of heads.

    Args:
        settings: where MLflow is.
        recipe: whose runs; None: of every recipe.
        count: so many runs at most; a last line says so where there are older ones.

    Raises:
        BurnishError: there is none.
    """
    tracker = tracker_at(settings)
    shown = list(islice(finished_runs(tracker, recipe), count + 1))
    if not shown:
        raise BurnishError(no_finished_run(tracker, settings, recipe))
    aliases = {name: _aliases(tracker, name) for name in {each.recipe for each in shown}}
    rows = [_HEADS, *(_cells(each, aliases[each.recipe]) for each in shown[:count])]
    return [*_aligned(rows), *(["and older ones: --count shows more"] if len(shown) > count else [])]


def _cells(summary: RunSummary, aliases: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    version = str(summary.model.get("version", ""))
    held = f" ({', '.join(aliases[version])})" if version in aliases else ""
    candidate = next((option for option in summary.options if option.kind == "candidate"), None)
    return (
        datetime.fromisoformat(summary.finished_at).strftime("%Y-%m-%d %H:%M") if summary.finished_at else "",
        summary.run_id,
        f"{summary.recipe}/{version}{held}",
        f"{candidate.metric} {candidate.value:.3f} ({candidate.low:.3f} – {candidate.high:.3f})" if candidate else "",
        str(summary.verdict.get("kind", "")).replace("_", " "),
        shortened(", ".join(summary.overrides), _LONGEST_OVERRIDES),
    )


def _aliases(tracker: Tracker, name: str) -> dict[str, list[str]]:
    """The aliases of each version of a model that has some."""
    from tasks.registry.mlflow_versions import aliases_of

    held: dict[str, list[str]] = {}
    for alias, version in sorted(aliases_of(tracker, name).items()):
        held.setdefault(version, []).append(alias)
    return held


def _aligned(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
