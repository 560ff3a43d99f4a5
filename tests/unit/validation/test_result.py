import json
import stat

import pytest

from configs.schema import Data
from tasks.data.records import Record, Turn
from tasks.validation.quarantine import write_quarantine
from tasks.validation.result import RuleOutcome, ValidationResult, describe, source_columns, stop_message


def _outcome(rule="secrets", on_failure="stop", count=12, **changes):
    values = {
        "rule": rule,
        "column": "prompt",
        "on_failure": on_failure,
        "failed": count > 0,
        "count": count,
        "checked": 400,
        "row_ids": tuple(f"row{number}" for number in range(count)),
    }
    return RuleOutcome(**{**values, **changes})


def _result(*outcomes, **changes):
    values = {
        "snapshot": "a" * 64,
        "suite": "standard",
        "suite_digest": "b" * 64,
        "passed": False,
        "outcomes": outcomes,
        "not_applicable": (),
        "dropped_ids": (),
        "new_snapshot": None,
        "records": 400,
        "evaluated": len(outcomes),
        "quarantine": "home/quarantine/rows.jsonl",
    }
    return ValidationResult(**{**values, **changes})


def test_a_stop_names_suite_column_rule_count_and_row_ids():
    message = stop_message(_result(_outcome()), "icd10", sources={})

    for part in ("icd10", "suite standard", "rule secrets", "column prompt", "12 of 400 rows (3.0%)", "row0", "2 more"):
        assert part in message


def test_a_stop_says_where_the_rows_are_and_how_to_go_on():
    message = stop_message(_result(_outcome()), "icd10", sources={})

    assert "home/quarantine/rows.jsonl" in message
    assert "validation.overrides.secrets" in message


def test_a_stop_message_lists_stops_only():
    result = _result(_outcome(), _outcome("refusals", "warn"), _outcome("columns", count=0))

    message = stop_message(result, "icd10", sources={})

    assert "1 failed rule " in message
    assert "refusals" not in message


def test_failures_come_stops_first():
    result = _result(
        _outcome("a", "warn"), _outcome("b", "drop"), _outcome("c", "stop"), _outcome("d", "stop", count=0)
    )

    assert [outcome.rule for outcome in result.failures] == ["c", "b", "a"]


def test_later_stages_use_the_new_snapshot_where_there_is_one():
    assert _result().usable_snapshot == "a" * 64
    assert _result(new_snapshot="c" * 64).usable_snapshot == "c" * 64


def test_quarantined_rows_are_private_and_say_why(tmp_path):
    records = [Record(name, "train", name, (Turn("user", f"ask {name}"),), "answer") for name in ("one", "two")]

    path = write_quarantine(tmp_path, records, reasons={"two": ["secrets:prompt"]}, name="digest-standard")

    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert [(row["record_id"], row["rules"], row["turns"][0]["content"]) for row in rows] == [
        ("two", ["secrets:prompt"], "ask two")
    ]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("text", ["a\u2028b", "a\x85b", "\x9b31m", "\u202eevil", "über 我们"])
def test_quarantined_text_stays_on_its_line_and_steers_no_terminal(tmp_path, text):
    record = Record("one", "train", "g", (Turn("user", text),), "answer")

    path = write_quarantine(tmp_path, [record], reasons={"one": ["secrets:prompt"]}, name="digest-standard")

    (line,) = path.read_text(encoding="utf-8").splitlines()
    assert json.loads(line)["turns"][0]["content"] == text
    assert all(character.isprintable() for character in line)


@pytest.mark.parametrize(
    ("data", "judged", "shown"),
    [
        ({}, "prompt", "column prompt:"),
        ({}, "last_turn", "column last_turn (in your data: prompt):"),
        ({"columns": {"prompt": "question"}}, "prompt+completion", "prompt+completion (in your data: question):"),
        ({"columns": {"completion": "team"}}, "completion", "column completion (in your data: team):"),
        ({"columns": {"messages": "turns"}}, "prompt+completion", "prompt+completion (in your data: turns):"),
        ({"columns": {"metadata": ["region", "shop"]}}, "metadata", "metadata (in your data: region, shop):"),
        ({"group_by": "customer"}, "group", "column group (in your data: customer):"),
        ({"split": {"column": "part"}}, "split+prompt", "column split+prompt (in your data: part):"),
        ({"columns": {"prompt": "question"}}, "tokens", "column tokens:"),
        ({"columns": {"prompt": "\x1b[31mred\n"}}, "prompt", r"column prompt (in your data: \x1b[31mred):"),
    ],
)
def test_a_column_is_told_by_the_name_that_the_users_data_has_for_it(data, judged, shown):
    sources = source_columns(Data(source={"kind": "file", "path": "rows.jsonl"}, **data))

    assert shown in describe(_outcome(column=judged), most_row_ids=1, sources=sources)
