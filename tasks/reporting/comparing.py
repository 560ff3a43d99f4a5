"""Two finished runs side by side, on the test records that both have scored."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from configs.errors import BurnishError, RecipeError
from configs.settings import Settings
from tasks.metrics.looks import level_in_words
from tasks.reporting.row_scores import SCORES_FILE, RowScores, compare_runs, row_scores_from_text, shared_records
from tasks.reporting.show import finished_runs, is_version, recipes_with_runs, run_of_version, there_are_runs
from tasks.reporting.summary import RunSummary
from tasks.tracking.recipe_run import tracker_at

if TYPE_CHECKING:
    from tasks.metrics.intervals import PairedDifference
    from tasks.tracking.mlflow_runs import Tracker

_CANDIDATE = "candidate"


@dataclass(frozen=True)
class _Side:
    summary: RunSummary
    option: str
    scores: RowScores

    def in_words(self) -> str:
        differs = f", with {', '.join(self.summary.overrides)}" if self.summary.overrides else ""
        named = f"{self.option} of {self.summary.recipe}, run {self.summary.run_id}"
        return f"{named} of {self.summary.finished_at}{differs}"

    def on(self, records: Sequence[str]) -> list[float]:
        return self.scores.of(self.option, records)

    def is_same_model(self, summary: RunSummary) -> bool:
        """Whether another run has the very candidate, as one that reused everything has."""
        version = self.summary.model.get("version")
        same = (self.summary.recipe, version) == (summary.recipe, summary.model.get("version"))
        return self.option == _CANDIDATE and version is not None and same


def comparison_lines(settings: Settings, first: str, second: str | None) -> list[str]:
    """Compare an option of one run with one of another, and say what it is worth, a line each.

    Args:
        settings: where MLflow is.
        first: `RECIPE` (its newest finished run), a version (`RECIPE/2`, `RECIPE@champion`: the run that trained it) or
            a run's id, with `:OPTION` for another than the candidate.
        second: likewise; None: the same option of the recipe's run before, the candidate of the last one that differs.

    Raises:
        BurnishError: there is no such run, or none whose scores were kept.
        RecipeError: a run has no such option.
        RegistryError: there is no such version.
        DataError: the two can't be compared.
    """
    tracker = tracker_at(settings)
    one = _side(tracker, first)
    other = _side(tracker, first, before=one) if second is None else _side(tracker, second)
    if (one.summary.run_id, one.option) == (other.summary.run_id, other.option):
        raise BurnishError(f"both are the {one.in_words()}; name two that differ, such as RUN_ID or RECIPE:OPTION")
    shared = shared_records(one.scores, other.scores)
    found = compare_runs(one.scores, other.scores, (one.option, other.option), shared)
    groups = len({one.scores.groups[record_id] for record_id in shared})
    grouped = f" of {groups:,} groups" if groups < len(shared) else ""
    return [
        *(f"{sum(side.on(shared)) / len(shared):.3f}  {side.in_words()}" for side in (one, other)),
        f"{one.scores.metric} on the {len(shared):,} test records{grouped} that both were scored on",
        f"difference {100 * found.difference:+.1f} points ({level_in_words(found.confidence)} interval "
        f"{100 * found.low:+.1f} to {100 * found.high:+.1f}, {found.method}; p = {found.p_value:.2g}, {found.test}): "
        + (_no_difference(one, other, groups) if one.on(shared) == other.on(shared) else _conclusion(found)),
        "No gate goes by this, and it is not counted as a look at the test set. Choose on validation; to rely on a "
        "difference seen here, see it again on new test records.",
    ]


def _side(tracker: Tracker, named: str, *, before: _Side | None = None) -> _Side:
    run, _, option = named.partition(":")
    option = option or _CANDIDATE
    if is_version(run):
        run = run_of_version(tracker, run)
    found = _scored_runs(tracker, run)
    if before is not None:
        found = (
            each for each in found if each[0].run_id != before.summary.run_id and not before.is_same_model(each[0])
        )
    side = next(found, None)
    if side is None and before is not None:
        raise BurnishError(
            f"{named!r} names no earlier run with another model that could be compared; name a second run, train a "
            f"model that differs, or name two options of this run, as RUN:OPTION; it has "
            f"{', '.join(before.scores.scores)}"
        )
    if side is None:
        recipes = recipes_with_runs(tracker)
        if recipes and run not in recipes and next(finished_runs(tracker, run), None) is None:
            raise BurnishError(f"no finished run is called {run!r}; {there_are_runs(run, recipes)}, or give a run's id")
        raise BurnishError(
            f"no run of {run!r} can be compared: a finished one whose scores were kept, as they are from this version "
            "of Burnish on; run `burnish finetune` on it, or name another run by its id in MLflow"
        )
    summary, scores = side
    if option not in scores.scores:
        raise RecipeError(f"run {summary.run_id} has no option {option!r}; it has {', '.join(scores.scores)}")
    return _Side(summary, option, scores)


def _scored_runs(tracker: Tracker, named: str) -> Iterator[tuple[RunSummary, RowScores]]:
    for summary in finished_runs(tracker, named):
        text = tracker.read_text(summary.run_id, SCORES_FILE)
        if text is not None:
            yield summary, row_scores_from_text(text)


def _no_difference(one: _Side, other: _Side, groups: int) -> str:
    if one.option == other.option and one.is_same_model(other.summary):
        return f"both are the same model, {one.summary.recipe}/{one.summary.model['version']}"
    return f"the same scores, record by record; the interval is of differences that {groups:,} groups could miss"


def _conclusion(found: PairedDifference) -> str:
    if found.surely_above(0):
        return "the first is better"
    if found.high < 0 and found.p_value <= 1 - found.confidence:
        return "the second is better"
    return "too close to tell"
