"""The traps of Great Expectations, each shut: what is not evaluated is never taken as passed."""

import pandas as pd
import pytest
from great_expectations.exceptions import GreatExpectationsError
from great_expectations.expectations.expectation import ColumnMapExpectation

from configs.errors import ValidationStopped
from expectations import row_expectations
from tasks.validation import gx_checkpoint
from tasks.validation.gx_checkpoint import Check, evaluate

PRIVATE = "private words"


def _frame(*prompts):
    ids = [f"r{number}" for number in range(len(prompts))]
    return pd.DataFrame({"id": ids, "prompt": list(prompts), "split": "train"}, index=pd.Index(ids, name="record_id"))


def _check(finding="empty_text", on_failure="stop", **changes):
    values = {
        "rule": "empty",
        "column": "prompt",
        "on_failure": on_failure,
        "expectation": "expect_text_to_be_free_of",
        "arguments": {"column": "prompt", "finding": finding},
    }
    return Check(**{**values, **changes})


def test_rows_at_fault_come_back_as_ids():
    (result,) = evaluate(_frame("a", "", "b", " "), [_check()])

    assert (result.failed, result.row_ids, result.checked) == (True, ("r1", "r3"), 4)


def test_a_clean_frame_passes():
    (result,) = evaluate(_frame("a", "b"), [_check()])

    assert (result.failed, result.row_ids) == (False, ())


def test_results_keep_the_order_of_the_checks():
    checks = [_check(), _check("email_addresses", rule="emails"), _check(rule="again", on_failure="warn")]

    results = evaluate(_frame("a@example.com", ""), checks)

    assert [(result.check.rule, result.row_ids) for result in results] == [
        ("empty", ("r1",)),
        ("emails", ("r0",)),
        ("again", ("r1",)),
    ]


def test_an_empty_suite_is_refused():
    with pytest.raises(ValidationStopped, match="empty suite"):
        evaluate(_frame("a"), [])


def test_an_empty_table_is_refused():
    with pytest.raises(ValidationStopped, match="no rows"):
        evaluate(_frame(), [_check()])


def test_an_unknown_expectation_is_refused():
    with pytest.raises(ValidationStopped, match="expect_text_to_be_nice"):
        evaluate(_frame("a"), [_check(expectation="expect_text_to_be_nice")])


def test_an_expectation_that_great_expectations_drops_is_noticed(monkeypatch):
    suite = gx_checkpoint._suite([_check(), _check(rule="other")])
    suite.expectations.pop()
    monkeypatch.setattr(gx_checkpoint, "_suite", lambda checks: suite)

    with pytest.raises(ValidationStopped, match=r"evaluated 1 of 2 rules .without other"):
        evaluate(_frame("a"), [_check(), _check(rule="other")])


def test_an_expectation_that_the_suite_does_not_take_is_noticed(monkeypatch):
    class ForgetfulSuite:
        def __init__(self, name, expectations):
            self.expectations = expectations[1:]

    monkeypatch.setattr(gx_checkpoint.gx, "ExpectationSuite", ForgetfulSuite)

    with pytest.raises(ValidationStopped, match="took 1 of 2 rules"):
        evaluate(_frame("a"), [_check(), _check(rule="other")])


def test_a_metric_that_raises_is_not_passed():
    with pytest.raises(ValidationStopped, match=r"could not be evaluated .ValueError"):
        evaluate(_frame("a"), [_check("no_such_finding")])


def test_an_exception_with_values_in_its_message_is_not_shown(monkeypatch, caplog):
    def fail(value, finding):
        raise TypeError(f"can't read {value}")

    monkeypatch.setattr(row_expectations, "has_finding", fail)

    with caplog.at_level("DEBUG"), pytest.raises(ValidationStopped, match="could not be evaluated") as error:
        evaluate(_frame(PRIVATE), [_check()])

    assert PRIVATE not in str(error.value) + caplog.text


def test_a_column_that_is_not_there_is_not_passed():
    with pytest.raises(ValidationStopped, match="could not be evaluated"):
        evaluate(_frame("a"), [_check(arguments={"column": "answer", "finding": "empty_text"})])


def test_an_expectation_without_its_metric_is_not_passed():
    class ExpectNothingAtAll(ColumnMapExpectation):
        """An expectation whose metric nobody registered."""

        map_metric = "column_values.never_registered"

    with pytest.raises(GreatExpectationsError, match="never_registered"):
        evaluate(_frame("a"), [_check(expectation="expect_nothing_at_all", arguments={"column": "prompt"})])


@pytest.mark.parametrize("on_failure", ["stop", "drop", "warn"])
def test_each_severity_is_reported_as_what_the_rule_says(on_failure):
    results = evaluate(_frame("", "a"), [_check(on_failure=on_failure), _check("secrets", rule="secrets")])

    assert [(result.check.on_failure, result.failed) for result in results] == [(on_failure, True), ("stop", False)]


def test_a_severity_that_the_library_reads_differently_is_noticed(monkeypatch):
    monkeypatch.setattr(gx_checkpoint, "_SEVERITY", {"stop": "critical", "drop": "info", "warn": "warning"})
    checks = [_check(on_failure="drop"), _check(on_failure="warn", rule="other")]

    with pytest.raises(ValidationStopped, match="rates the worst failure"):
        evaluate(_frame(""), checks)


def test_a_missing_column_of_the_table_is_named():
    check = _check(
        expectation="expect_table_columns_to_match_set", column="*", arguments={"column_set": ["id", "tokens"]}
    )

    (result,) = evaluate(_frame("a"), [check])

    assert result.failed
    assert "missing tokens" in result.detail


def test_no_value_comes_back():
    (result,) = evaluate(_frame(f"{PRIVATE} a@example.com"), [_check("email_addresses")])

    assert PRIVATE not in repr(result)
