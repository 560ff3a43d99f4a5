"""Whether a study may begin another trial, and if not, why: pure decisions over its budgets."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from configs.schema import Search
from tasks.search.results import TrialRow
from tasks.search.stopping import why_more_would_not_help

_REFUSED_PER_TRIAL = 20
"""Combinations that can't be run cost nothing, but a space of nothing else must end the search some time."""


@dataclass(frozen=True)
class Spent:
    """How far a study has come."""

    rows: Sequence[TrialRow]
    """Trials that ended and count, by number."""
    running: int
    """Trials that run now."""
    minutes: float
    """Since the study began, pauses left out."""
    machine_seconds: float
    """Machine time of all trials and confirmations that ended."""


def trial_budget(search: Search) -> int:
    """Trials that the study may have; without a space there is one thing to try."""
    return search.trials if search.space else 1


def useful_slots(search: Search) -> int:
    """Return how many fine-tunes run at once at most: no more than there are trials, or confirmations of two."""
    trials = trial_budget(search)
    return min(search.slots, max(trials, _confirmations(search, trials)))


def affordable_seconds(max_cost: float | None, price_per_hour: float) -> float | None:
    """Machine time that the money buys; None: any."""
    return None if max_cost is None or price_per_hour == 0 else max_cost / price_per_hour * 3600


def why_no_more_trials(
    spent: Spent, search: Search, *, affordable: float | None, validation_records: int
) -> str | None:
    """Return why no new trial begins; None when one may.

    Args:
        spent: how far the study has come.
        search: the recipe's section, with its budgets.
        affordable: from `affordable_seconds`.
        validation_records: of each look.
    """
    budget = trial_budget(search)
    counts = {
        state: sum(row.state == state for row in spent.rows) for state in ("finished", "pruned", "failed", "refused")
    }
    ended = counts["finished"] + counts["pruned"]
    if ended + spent.running >= budget:
        if not search.space:
            return "search.space is empty, so there is one thing to try"
        return f"the budget of {budget} trial{'s' if budget > 1 else ''} (search.trials) is used"
    if counts["failed"] >= budget:
        return f"{counts['failed']} trials failed, as many as the budget has"
    if counts["refused"] >= _REFUSED_PER_TRIAL * budget:
        return f"{counts['refused']} combinations of search.space were refused by training"
    if search.minutes is not None and spent.minutes >= search.minutes:
        return f"the {search.minutes:g} minutes of search.minutes are over"
    if affordable is not None and predicted_seconds(spent, search) > affordable:
        return "another trial with the confirmations would cost more than search.max_cost"
    return why_more_would_not_help(spent.rows, search, remaining=budget - ended, validation_records=validation_records)


def predicted_seconds(spent: Spent, search: Search) -> float:
    """Machine time in all if one more trial begins: what was spent, the trials that run, the next, the confirmations.

    A trial that runs is taken to cost as much as the median one that was trained; the next one as if it ran alone; and
    confirmations to last as long as the median trial that finished, as many at once as there are slots. Before the
    first one has ended nothing is known and nothing is predicted.
    """
    trained = [row for row in spent.rows if row.was_trained]
    if not trained:
        return 0.0
    finished = [row for row in trained if row.state == "finished"]
    share = statistics.median(row.machine_seconds for row in trained)
    whole = statistics.median(row.seconds for row in trained)
    confirmations = _confirmations(search, len(finished) + spent.running + 1)
    confirming = statistics.median(row.seconds for row in finished or trained)
    return (
        spent.machine_seconds
        + share * spent.running
        + whole
        + confirming * math.ceil(confirmations / useful_slots(search))
    )


def _confirmations(search: Search, trials: int) -> int:
    """Return how many follow so many trials: of the winner and the runner-up."""
    return search.confirmation_seeds * min(2, trials)
