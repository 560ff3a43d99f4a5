"""The one door to Great Expectations: every rule is really evaluated, and only ids and counts come back.

Great Expectations drops expectations of unknown types with a log line, calls an empty suite a success, and turns an
exception inside a metric into an ordinary failure with values in its message. Here each of these is an error.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import great_expectations as gx
from great_expectations.core.result_format import ResultFormat
from great_expectations.data_context.types.base import DataContextConfig, InMemoryStoreBackendDefaults
from great_expectations.expectations.registry import get_expectation_impl, list_registered_expectation_implementations

import expectations.row_expectations
import expectations.share_expectations  # noqa: F401 - importing registers the project's own expectations
import tasks.validation.json_expectation  # noqa: F401 - the same
from configs.errors import ValidationStopped
from tasks.validation.rules import OnFailure

if TYPE_CHECKING:
    import pandas as pd

_SEVERITY: dict[OnFailure, str] = {"stop": "critical", "drop": "warning", "warn": "info"}
_ROW_ID = "record_id"
_one_at_a_time = threading.Lock()


@dataclass(frozen=True)
class Check:
    """One expectation to evaluate: a rule in one column, or in several together."""

    rule: str
    column: str
    on_failure: OnFailure
    expectation: str
    """The type by which Great Expectations knows it."""
    arguments: dict[str, Any]


@dataclass(frozen=True)
class Checked:
    """What came of a check."""

    check: Check
    failed: bool
    checked: int
    row_ids: tuple[str, ...]
    """All rows at fault; empty for an expectation about the table."""
    detail: str = ""


def evaluate(frame: pd.DataFrame, checks: Sequence[Check]) -> list[Checked]:
    """Evaluate each check on the frame, whose index holds the record ids; the order of the checks is kept.

    Raises:
        ValidationStopped: there is nothing to check, or Great Expectations did not evaluate a check: a rule that
            can't be evaluated is never taken as passed.
    """
    if not checks:
        raise ValidationStopped("the suite has no rule to evaluate; an empty suite would pass anything")
    if frame.empty:
        raise ValidationStopped("there are no rows to validate; a suite would pass on nothing")
    suite = _suite(checks)
    with _one_at_a_time:  # Great Expectations keeps its context in a process-wide variable
        outcome = _batch(frame).validate(suite, result_format=_result_format())
    results = _by_position(outcome.results, checks)
    checked = [_reduced(check, results[index], len(frame)) for index, check in enumerate(checks)]
    _assert_same_severity(outcome, checked)
    return checked


def _suite(checks: Sequence[Check]) -> Any:
    expected = [
        _expectation_class(check)(**check.arguments, severity=_SEVERITY[check.on_failure], meta={"position": position})
        for position, check in enumerate(checks)
    ]
    suite = gx.ExpectationSuite(name="suite", expectations=expected)
    if len(suite.expectations) != len(checks):
        raise ValidationStopped(
            f"Great Expectations took {len(suite.expectations)} of {len(checks)} rules; a dropped rule would pass "
            "anything: check the suite for two rules that say the same"
        )
    return suite


def _expectation_class(check: Check) -> Any:
    if check.expectation not in list_registered_expectation_implementations():
        raise ValidationStopped(
            f"rule {check.rule} names the expectation {check.expectation!r}, which Great Expectations does not know; "
            "correct it in the suite"
        )
    return get_expectation_impl(check.expectation)


def _batch(frame: pd.DataFrame) -> Any:
    config = DataContextConfig(
        store_backend_defaults=InMemoryStoreBackendDefaults(init_temp_docs_sites=False),
        analytics_enabled=False,
        progress_bars={"globally": False, "metric_calculations": False},
    )
    context = gx.get_context(mode="ephemeral", project_config=config)
    asset = context.data_sources.add_pandas("records").add_dataframe_asset("records")
    batch = asset.add_batch_definition_whole_dataframe("records")
    return batch.get_batch({"dataframe": frame.rename_axis(index=_ROW_ID)})


def _result_format() -> dict[str, Any]:
    """Ask for the ids of all rows at fault, and for no values."""
    return {
        "result_format": ResultFormat.COMPLETE,
        "exclude_unexpected_values": True,
        "include_unexpected_rows": False,
        "partial_unexpected_count": 0,
        "return_unexpected_index_query": False,
    }


def _by_position(results: Sequence[Any], checks: Sequence[Check]) -> dict[int, Any]:
    """Match results to checks by the number given to each: the order of results is not that of the suite."""
    found = {result.expectation_config.meta["position"]: result for result in results}
    lost = [check.rule for position, check in enumerate(checks) if position not in found]
    if lost or len(results) != len(checks):
        raise ValidationStopped(
            f"Great Expectations evaluated {len(results)} of {len(checks)} rules (without {', '.join(lost) or 'any'}); "
            "a rule that is not evaluated is not passed"
        )
    return found


def _reduced(check: Check, result: Any, rows: int) -> Checked:
    _raise_if_not_evaluated(check, result)
    details = result.result
    if "observed_value" in details and "unexpected_count" not in details:
        mismatched = (details.get("details") or {}).get("mismatched") or {}
        detail = "; ".join(f"{kind} {', '.join(map(str, names))}" for kind, names in mismatched.items())
        return Checked(check, not result.success, rows, (), detail)
    ids = tuple(str(row_id) for entry in details.get("unexpected_index_list") or () for row_id in entry[_ROW_ID])
    if len(ids) != details["unexpected_count"] or bool(ids) is bool(result.success):
        raise ValidationStopped(
            f"rule {check.rule}, column {check.column}: Great Expectations counts {details['unexpected_count']} rows "
            f"but names {len(ids)}; report this, since rows can't be told apart"
        )
    return Checked(check, not result.success, int(details["element_count"]), ids)


def _raise_if_not_evaluated(check: Check, result: Any) -> None:
    """An exception's message may hold values of the data, so only its kind is shown."""
    information = result.exception_info or {}
    entries = [information, *(entry for entry in information.values() if isinstance(entry, dict))]
    if any(entry.get("raised_exception") for entry in entries):
        trace = next((entry["exception_traceback"] for entry in entries if entry.get("exception_traceback")), "")
        kinds = [line.split(":")[0] for line in trace.splitlines() if line[:1].isalpha() and "Error" in line]
        raise ValidationStopped(
            f"rule {check.rule}, column {check.column}, could not be evaluated ({kinds[0] if kinds else 'error'}); "
            "a rule that can't be evaluated is not passed: correct its arguments in the suite"
        )


def _assert_same_severity(outcome: Any, checked: Sequence[Checked]) -> None:
    """Compare our reading with the library's own: `success` alone is False for a warning too."""
    ours = [_SEVERITY[result.check.on_failure] for result in checked if result.failed]
    worst = next((severity for severity in _SEVERITY.values() if severity in ours), None)
    theirs = outcome.get_max_severity_failure()
    if (None if theirs is None else theirs.value) != worst:
        raise ValidationStopped(
            f"Great Expectations rates the worst failure as {theirs}, Burnish as {worst}; report this"
        )
