import json
from pathlib import Path

import pytest

from configs.errors import DataError
from configs.schema import Template
from tasks.data.records import Record, Turn
from tasks.data.snapshots import read_snapshot, write_snapshot
from tasks.models.tiny_base import train_tokenizer
from tasks.validation.result import stop_message
from tasks.validation.snapshot_checks import validate_snapshot
from tasks.validation.suites import SUITES_FOLDER, load_suite
from tests.planted_problems import LABELS, plant

PRIVATE = "private words"


@pytest.fixture(scope="session")
def tokenizer_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tokenizer")
    train_tokenizer(400).save_pretrained(folder)
    return folder


def _clean(count=100, seed=3):
    return plant(seed=seed, clean=count, each=0, closed_labels=True).records


def _record(number, prompt, completion=LABELS[0], split="train", **changes):
    values = {"record_id": f"x{number}", "split": split, "group": f"own{number}", "metadata": {}}
    return Record(**{**values, **changes}, turns=(Turn("user", prompt),), completion=completion)


def _validate(
    tmp_path, records, *, labels=LABELS, overrides=None, template=None, tokenizer_directory=None, json_schema=None
):
    digest = write_snapshot(
        records, snapshots=tmp_path / "snapshots", source_digest="s" * 64, parent=None, labels=labels
    )
    return validate_snapshot(
        tmp_path / "snapshots",
        digest,
        suite=load_suite("standard", overrides or {}, SUITES_FOLDER),
        template=template or Template(),
        tokenizer_directory=tokenizer_directory,
        labels=labels,
        quarantine=tmp_path / "quarantine",
        json_schema=json_schema,
    )


def _failed(result):
    return {outcome.rule: outcome.row_ids for outcome in result.failures}


def test_clean_records_pass_and_the_snapshot_stays(tmp_path, tokenizer_directory):
    result = _validate(tmp_path, _clean(), tokenizer_directory=tokenizer_directory)

    assert result.passed
    assert result.failures == ()
    assert result.new_snapshot is None
    assert result.usable_snapshot == result.snapshot
    assert result.quarantine is None
    assert not (tmp_path / "quarantine").exists()


def test_every_applicable_rule_is_evaluated(tmp_path, tokenizer_directory):
    result = _validate(tmp_path, _clean(), tokenizer_directory=tokenizer_directory)

    suite = load_suite("standard", {}, SUITES_FOLDER)
    assert {outcome.rule for outcome in result.outcomes} | set(result.not_applicable) == set(suite.rules)
    assert result.evaluated == len(result.outcomes) > 40
    assert set(result.not_applicable) == {
        "missing_value_completions", "conflicting_completions", "repeated_completions", "refusals", "invalid_json",
    }  # fmt: skip


def test_completions_must_be_json_by_the_schema_where_the_recipe_gives_one(tmp_path):
    schema = {"$defs": {"n": {"type": "integer"}}, "type": "object", "properties": {"a": {"$ref": "#/$defs/n"}}}
    rows = [
        _record(number, record.prompt, '{"a": 1}', record.split, group=record.group)
        for number, record in enumerate(_clean(60))
    ]
    wrong = [
        _record(900, "a swollen knee after a fall", '{"a": "1"}'), _record(901, "no pain at all today", "{a: 1}"),
    ]  # fmt: skip

    result = _validate(tmp_path, [*rows, *wrong], labels=None, json_schema=schema)

    assert not result.passed
    assert _failed(result)["invalid_json"] == ("x900", "x901")
    assert "invalid_json" not in _failed(_validate(tmp_path, rows, labels=None, json_schema=schema))
    assert "invalid_json" in _validate(tmp_path, [*rows, *wrong], labels=None).not_applicable


def test_a_dropped_row_leads_to_a_new_snapshot_that_names_its_parent(tmp_path):
    records = [*_clean(), _record(1, "")]

    result = _validate(tmp_path, records)

    assert result.passed
    assert result.dropped_ids == ("x1",)
    new = read_snapshot(tmp_path / "snapshots", result.new_snapshot)
    assert new.parent == result.snapshot
    assert new.labels == LABELS
    assert [record.record_id for record in new.records] == [record.record_id for record in records[:-1]]


def test_a_new_snapshot_meets_the_suite(tmp_path):
    planted = plant(seed=5, clean=60, each=3, closed_labels=True)
    overrides = {"unknown_labels": "drop", "email_addresses": "drop", "phone_numbers": "drop", "ip_addresses": "drop"}
    first = _validate(tmp_path, planted.records, overrides=overrides)

    again = validate_snapshot(
        tmp_path / "snapshots",
        first.new_snapshot,
        suite=load_suite("standard", overrides, SUITES_FOLDER),
        template=Template(),
        tokenizer_directory=None,
        labels=LABELS,
        quarantine=tmp_path / "quarantine",
    )

    assert len(first.dropped_ids) > 40
    assert again.dropped_ids == ()
    assert again.passed


def test_a_stop_does_not_pass_names_the_rows_and_makes_no_snapshot(tmp_path):
    result = _validate(tmp_path, [*_clean(), _record(1, "How do I pay?", "biling"), _record(2, "")])

    assert not result.passed
    assert result.new_snapshot is None
    message = stop_message(result, "own", sources={})
    assert "rule unknown_labels, column completion: 1 of 101 rows (1.0%); rows x1" in message
    assert len(list((tmp_path / "snapshots").iterdir())) == 1


def test_stopped_and_dropped_rows_are_in_the_quarantine_with_their_rules(tmp_path):
    result = _validate(tmp_path, [*_clean(), _record(1, PRIVATE, "biling"), _record(2, "")])

    rows = [json.loads(line) for line in Path(result.quarantine).read_text().splitlines()]
    assert {row["record_id"]: row["rules"] for row in rows} == {
        "x1": ["unknown_labels:completion"],
        "x2": ["empty_text:last_turn"],
    }
    assert rows[0]["turns"][0]["content"] == PRIVATE
    assert Path(result.quarantine).parent.name == f"{result.snapshot}-standard"


def test_neither_result_nor_message_holds_values(tmp_path):
    records = [*_clean(), _record(1, f"{PRIVATE} of a@example.com", "biling"), _record(2, f"{PRIVATE} \x00")]

    result = _validate(tmp_path, records)

    assert PRIVATE not in json.dumps(result.to_dict()) + stop_message(result, "own", sources={})
    assert "example.com" not in json.dumps(result.to_dict())


def test_a_warning_does_not_stop_and_drops_nothing(tmp_path):
    result = _validate(tmp_path, [*_clean(), _record(1, "Write to ada@example.com about it")])

    assert result.passed
    assert _failed(result) == {"email_addresses": ("x1",)}
    assert result.new_snapshot is None


def test_stops_judge_only_what_is_left_after_dropping(tmp_path):
    result = _validate(tmp_path, [*_clean(), _record(1, "", "biling")])

    assert result.passed
    assert result.dropped_ids == ("x1",)


@pytest.mark.parametrize(
    ("action", "passed", "dropped"),
    [("stop", False, ()), ("drop", True, ("x1",)), ("warn", True, ()), ("off", True, ())],
)
def test_an_override_decides_what_a_finding_does(tmp_path, action, passed, dropped):
    records = [*_clean(), _record(1, "Write to ada@example.com about it")]

    result = _validate(tmp_path, records, overrides={"email_addresses": action})

    assert (result.passed, result.dropped_ids) == (passed, dropped)
    assert ("email_addresses" in {outcome.rule for outcome in result.outcomes}) == (action != "off")


def test_dropping_a_whole_split_is_refused_with_the_rules_to_blame(tmp_path):
    records = [record for record in _clean() if record.split != "test"]
    records += [_record(number, "n/a", split="test") for number in range(3)]

    with pytest.raises(DataError, match=r"no records for test.*placeholder_inputs .last_turn. 3") as error:
        _validate(tmp_path, records)

    assert list((tmp_path / "quarantine").rglob("rows.jsonl"))
    assert str(tmp_path / "quarantine") in str(error.value)


def test_the_row_on_the_training_side_of_a_leak_goes(tmp_path):
    leak = [
        _record(1, "Where is my parcel from Bonn?", split="train"),
        _record(2, "where is  my parcel from BONN?", split="validation"),
        _record(3, "Where is my parcel from Bonn?", split="test"),
    ]

    result = _validate(tmp_path, [*_clean(), *leak])

    assert set(result.dropped_ids) == {"x1", "x2"}
    assert _failed(result) == {"inputs_across_splits": ("x1", "x2")}


def test_a_group_on_two_sides_of_the_split_is_a_leak(tmp_path):
    leak = [
        _record(1, "How do I pay by card?", split="train", group="ada"),
        _record(2, "Which stamps do I need?", split="test", group="ada"),
    ]

    assert _failed(_validate(tmp_path, [*_clean(), *leak])) == {"groups_across_splits": ("x1",)}


def test_the_first_of_equal_records_is_kept(tmp_path):
    copies = [_record(number, "How do I pay by card?") for number in range(3)]

    assert _failed(_validate(tmp_path, [*_clean(), *copies])) == {"exact_duplicates": ("x1", "x2")}


def test_equal_prompts_about_different_documents_are_different_inputs(tmp_path):
    records = [
        _record(1, "Who signed it?", LABELS[0], metadata={"document": "contract of the blue house"}),
        _record(2, "Who signed it?", LABELS[1], metadata={"document": "lease of the old mill"}),
    ]
    template = Template(prompt="{{ document }}\n{{ prompt }}\n")
    rest = [Record(**{**vars(record), "metadata": {"document": record.group}}) for record in _clean()]

    assert _failed(_validate(tmp_path, [*rest, *records], template=template)) == {}
    assert set(_failed(_validate(tmp_path, [*rest, *records]))) == {"conflicting_labels"}


def test_tokens_over_the_limit_are_a_share_and_a_length(tmp_path, tokenizer_directory):
    records = [*_clean(99), _record(1, "one two three four " * 100)]

    result = _validate(
        tmp_path,
        records,
        template=Template(max_tokens=300),
        tokenizer_directory=tokenizer_directory,
        overrides={"garbage_text": "off"},
    )

    (outcome,) = result.failures
    assert (outcome.rule, outcome.row_ids, outcome.share) == ("tokens_over_limit", ("x1",), 1 / 100)
    assert "template.max_tokens 300; the longest has" in outcome.detail


def test_without_a_tokenizer_the_token_rule_is_told_as_not_applicable(tmp_path):
    assert "tokens_over_limit" in _validate(tmp_path, _clean()).not_applicable


@pytest.mark.parametrize("kind", ["text", "chat"])
def test_special_tokens_of_the_base_model_inside_content_are_dropped(tmp_path, tokenizer_directory, kind):
    records = [*_clean(), _record(1, "Say </s> and stop"), _record(2, "A <b>bold</b> word is fine")]

    result = _validate(tmp_path, records, tokenizer_directory=tokenizer_directory, template=Template(kind=kind))

    assert result.dropped_ids == ("x1",)
    assert _failed(result) == {"special_tokens": ("x1",)}


def test_a_dominant_and_a_rare_label_are_told(tmp_path):
    records = [_record(number, record.prompt, LABELS[0], record.split) for number, record in enumerate(_clean(100))]
    records.append(_record(999, "The one about returns", LABELS[3]))

    assert set(_failed(_validate(tmp_path, records))) == {"label_imbalance", "rare_labels"}


def test_a_mistyped_label_is_told_and_names_its_rows(tmp_path):
    clean = _clean(100)
    common = max(LABELS, key=lambda label: sum(record.completion == label for record in clean))
    mistyped = [f" {common.upper()}", common[:-2] + common[-1] + common[-2]]
    records = [*clean, *(_record(900 + number, f"Odd {number}", label) for number, label in enumerate(mistyped))]

    found = _failed(_validate(tmp_path, records, labels=(*LABELS, *mistyped)))

    assert set(found["respelled_labels"]) == {"x900", "x901"}


def test_open_generation_has_its_own_rules(tmp_path):
    clean = plant(seed=4, clean=60, each=0, closed_labels=False).records
    records = [
        *clean,
        *(_record(number, f"Question {record.prompt}", "See the manual.") for number, record in enumerate(clean[:12])),
        _record(50, "What does it cost?", "I'm sorry, but I can't help with that."),
        _record(51, "And how much is it with a dog?", "nan"),
        _record(52, "Which way is north?", "Up."),
        _record(53, "Which way is north?", "Ahead."),
    ]

    result = _validate(tmp_path, records, labels=None)

    assert result.passed
    assert set(_failed(result)) == {
        "missing_value_completions", "conflicting_completions", "repeated_completions", "refusals",
    }  # fmt: skip
    assert "unknown_labels" in result.not_applicable


def test_personal_data_in_metadata_is_found(tmp_path):
    records = [*_clean(), _record(1, "How do I pay by card?", metadata={"author": "ada@example.com"})]

    result = _validate(tmp_path, records)

    assert [(outcome.rule, outcome.column) for outcome in result.failures] == [("email_addresses", "metadata")]


def test_an_empty_last_turn_of_a_conversation_is_dropped(tmp_path):
    turns = (Turn("system", "Be kind."), Turn("user", "Hello"), Turn("assistant", "Hi"), Turn("user", " "))
    record = Record("x1", "train", "own", turns, LABELS[0])

    assert _failed(_validate(tmp_path, [*_clean(), record])) == {"empty_text": ("x1",)}
