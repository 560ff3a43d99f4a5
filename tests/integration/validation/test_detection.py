"""The bar for detection: recall at least 0.99 for planted problems, at most 0.5% of clean rows at fault."""

import pytest

from configs.schema import Template
from tasks.data.snapshots import write_snapshot
from tasks.validation.snapshot_checks import validate_snapshot
from tasks.validation.suites import SUITES_FOLDER, Suite, load_suite
from tests.planted_problems import LABELS, plant

EACH, CLEAN = 100, 1500


def _found(tmp_path, records, labels):
    """Return, by rule, the ids of all rows at fault; every rule judges all rows."""
    overrides = {name: "warn" for name in load_suite("standard", {}, SUITES_FOLDER).rules}
    digest = write_snapshot(records, snapshots=tmp_path / "s", source_digest="s" * 64, parent=None, labels=labels)
    suite = load_suite("standard", overrides, SUITES_FOLDER)
    return _ids_by_rule(tmp_path, digest, suite, labels)


def _ids_by_rule(tmp_path, digest, suite: Suite, labels):
    from unittest.mock import patch

    with patch("tasks.validation.snapshot_checks.MOST_ROW_IDS", 10**6):
        result = validate_snapshot(
            tmp_path / "s",
            digest,
            suite=suite,
            template=Template(),
            tokenizer_directory=None,
            labels=labels,
            quarantine=tmp_path / "q",
        )
    found = {}
    for outcome in result.outcomes:
        found.setdefault(outcome.rule, set()).update(outcome.row_ids)
    return found


@pytest.mark.parametrize("closed_labels", [True, False])
def test_planted_problems_are_found_and_clean_rows_left_alone(tmp_path, closed_labels):
    planted = plant(seed=11, clean=CLEAN, each=EACH, closed_labels=closed_labels)

    found = _found(tmp_path, planted.records, LABELS if closed_labels else None)

    recall = {rule: len(ids & found[rule]) / len(ids) for rule, ids in planted.faults.items()}
    false_alarms = set().union(*found.values()) & planted.clean
    assert {rule: value for rule, value in recall.items() if value < 0.99} == {}
    assert len(false_alarms) <= 0.005 * len(planted.clean)


def test_real_clinical_terms_are_clean(tmp_path):
    pytest.importorskip("simple_icd_10_cm", reason="the demo data is not installed")
    from configs.schema import Split
    from tasks.data.icd10 import inclusion_terms
    from tasks.data.records import Record, Turn
    from tasks.data.splitting import split_of_group

    records = [
        Record(
            f"t{number}",
            split_of_group(row["category"], split=Split()),
            row["category"],
            (Turn("user", row["term"]),),
            row["chapter"],
            {"code": row["code"], "description": row["description"]},
        )
        for number, row in enumerate(inclusion_terms())
    ]

    found = _found(tmp_path, records, tuple(sorted({record.completion for record in records})))

    relations = {"exact_duplicates", "conflicting_labels", "inputs_across_splits"}
    assert {rule for rule, ids in found.items() if ids} <= relations
    assert len(records) > 10_000
