"""A running study in the terminal of somebody who watches it: trials, curves, what was pruned and why, what is left."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from configs.errors import StudyError
from configs.settings import Settings
from tasks.search.space import shown_parameters
from tasks.search.study_view import StudyReader, StudyView, TrialView
from tasks.storage.lease import is_held
from tasks.storage.locks import locks_of
from tasks.tracking.shown_text import printable

if TYPE_CHECKING:
    from rich.console import Console, Group

_BARS = "▁▂▃▄▅▆▇█"
_POLL_SECONDS = 1.0
_STYLES = {"running": "bold", "stopping": "bold yellow", "pruned": "dim", "failed": "red", "refused": "red"}


def watch_search(
    settings: Settings, recipe_name: str, console: Console, *, pause: Callable[[float], None] = time.sleep
) -> None:
    """Show the recipe's newest study until it ends, or until nobody works on it; it goes on without the watcher.

    Raises:
        StudyError: there is no study, and nobody works on the recipe.
    """
    from rich.live import Live

    locks = locks_of(settings)
    with StudyReader(settings.study_url, recipe_name) as reader, Live(console=console, auto_refresh=False) as live:
        while True:
            at_work = is_held(locks, recipe_name)
            view = reader.read()
            if view is None and not at_work:
                raise StudyError(f"recipe {recipe_name!r} has no study; `burnish search --recipe …` begins one")
            if view is not None:
                live.update(study_shown(view, at_work=at_work), refresh=True)
                if view.ended or not at_work:
                    return
            pause(_POLL_SECONDS)


def study_shown(view: StudyView, *, at_work: bool) -> Group:
    """The study as a table, with a line on how it stands."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    for column in ("trial", "state", "validation"):
        table.add_column(column, justify="right" if column != "state" else "left", no_wrap=True)
    for column in ("curve", "parameters", "reason"):
        table.add_column(column, overflow="fold")
    top = max((value for trial in view.trials for _, value in trial.curve), default=1.0) or 1.0
    for trial in view.trials:
        value = "" if trial.value is None else f"{trial.value:.3f}"
        cells = (
            str(trial.number), trial.state, value, sparkline(trial, top=top),
            shown_parameters(trial.parameters), trial.reason or "",
        )  # fmt: skip
        style = "green" if trial is view.best else _STYLES.get(trial.state, "")
        table.add_row(*(Text(printable(cell)) for cell in cells), style=style)
    return Group(table, Text(standing(view, at_work=at_work)))


def sparkline(trial: TrialView, *, top: float) -> str:
    """The trial's looks as bars between 0 and `top`."""
    return "".join(_BARS[min(len(_BARS) - 1, int(max(0.0, value / top) * len(_BARS)))] for _, value in trial.curve)


def standing(view: StudyView, *, at_work: bool) -> str:
    """How the study stands, in one line."""
    best = "none finished yet" if view.best is None else f"best: trial {view.best.number} with {view.best.value:.3f}"
    parts = [view.name, best, f"{view.machine_seconds / 60:.1f} minutes of machine time"]
    if view.ended:
        return "; ".join([*parts, f"ended: {view.ended}"])
    parts.append(f"{view.trials_left} of {view.trial_budget} trials left")
    if view.affordable_seconds is not None:
        left = max(0.0, view.affordable_seconds - view.machine_seconds) / 60
        parts.append(f"{left:.1f} minutes left of search.max_cost")
    if view.confirmations:
        parts.append(f"{view.confirmations} confirmations ended")
    if not at_work:
        parts.append("nobody works on it now; the same search command goes on")
    return "; ".join(parts)
