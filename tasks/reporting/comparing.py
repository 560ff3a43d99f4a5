"""Two finished runs side by side, on the test records that both have scored."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

from configs.errors import BurnishError
from configs.settings import Settings
from tasks.evaluation.row_scores import SCORES_FILE, RowScores, compare_runs, row_scores_from_text, shared_records
from tasks.reporting.show import finished_runs
from tasks.reporting.summary import RunSummary
from tasks.tracking.recipe_run import tracker_at

if TYPE_CHECKING:
    from tasks.metrics.intervals import PairedDifference
    from tasks.tracking.mlflow_runs import Tracker

_CONFIDENCE = 0.95
_CANDIDATE = "candidate"


@dataclass(frozen=True)
class _Side:
    summary: RunSummary
    option: str
    scores: RowScores

    def in_words(self) -> str:
        return f"{self.option} of {self.summary.recipe}, run {self.summary.run_id} of {self.summary.finished_at}"


def comparison_lines(settings: Settings, first: str, second: str | None) -> list[str]:
    """Compare an option of one run with one of another, and say what it is worth, a line each.

    Args:
        settings: where MLflow is.
        first: `RECIPE` (its newest finished run) or a run's id, with `:OPTION` for another than the candidate.
        second: likewise; None: the same option of the finished run before.

    Raises:
        BurnishError: there is no such run, or it is older than this command.
        DataError: the two can't be compared.
    """
    tracker = tracker_at(settings)
    one = _side(tracker, first, earlier=0)
    other = _side(tracker, second or first, earlier=int(second is None))
    if (one.summary.run_id, one.option) == (other.summary.run_id, other.option):
        raise BurnishError(f"both are the {one.in_words()}; name two that differ, such as RUN_ID or RECIPE:OPTION")
    shared = shared_records(one.scores, other.scores)
    found = compare_runs(one.scores, other.scores, (one.option, other.option), confidence=_CONFIDENCE)
    groups = len({one.scores.groups[record_id] for record_id in shared})
    return [
        *(f"{_mean(side, shared):.3f}  {side.in_words()}" for side in (one, other)),
        f"{one.scores.metric} on the {len(shared):,} test records of {groups:,} groups that both answered",
        f"difference {100 * found.difference:+.1f} points ({_CONFIDENCE:.0%} interval {100 * found.low:+.1f} to "
        f"{100 * found.high:+.1f}, {found.method}; p = {found.p_value:.2g}, {found.test}): {_conclusion(found)}",
        "No gate goes by this, and it is not counted as a look at the test set. Choose on validation; to rely on a "
        "difference seen here, see it again on new test records.",
    ]


def _side(tracker: Tracker, named: str, *, earlier: int) -> _Side:
    run, _, option = named.partition(":")
    found = list(islice(finished_runs(tracker, run), earlier + 1))
    if len(found) <= earlier:
        what = "only one finished run" if found else "no finished run"
        raise BurnishError(f"there is {what} {run!r}; give recipes that were run, or ids of runs in MLflow")
    summary = found[earlier]
    text = tracker.read_text(summary.run_id, SCORES_FILE)
    if text is None:
        raise BurnishError(f"run {summary.run_id} is older than this command; run `burnish finetune` on it once more")
    return _Side(summary, option or _CANDIDATE, row_scores_from_text(text))


def _mean(side: _Side, shared: list[str]) -> float:
    return sum(side.scores.of(side.option, shared)) / len(shared)


def _conclusion(found: PairedDifference) -> str:
    if found.surely_above(0):
        return "the first is better"
    if found.high < 0 and found.p_value <= 1 - found.confidence:
        return "the second is better"
    return "too close to tell"
