"""The bar for detection: recall at least 0.99 for planted problems, at most 0.5% of clean rows blamed."""

import pytest

from benchmarks.detection import blamed_rows, clinical_records
from tests.planted_problems import LABELS, plant


@pytest.mark.parametrize("closed_labels", [True, False])
def test_planted_problems_are_found_and_clean_rows_left_alone(tmp_path, closed_labels):
    planted = plant(seed=11, clean=1500, each=100, closed_labels=closed_labels)

    blamed = blamed_rows(planted.records, LABELS if closed_labels else None, tmp_path)

    recall = {rule: len(ids & blamed[rule]) / len(ids) for rule, ids in planted.faults.items()}
    false_alarms = set().union(*blamed.values()) & planted.clean
    assert {rule: value for rule, value in recall.items() if value < 0.99} == {}
    assert len(false_alarms) <= 0.005 * len(planted.clean)


@pytest.mark.slow
def test_real_clinical_terms_are_blamed_for_repetition_only(tmp_path):
    pytest.importorskip("simple_icd_10_cm", reason="the demo data is not installed")
    records = clinical_records()

    blamed = blamed_rows(records, tuple(sorted({record.completion for record in records})), tmp_path)

    assert len(records) > 10_000
    assert set(blamed) <= {"exact_duplicates", "conflicting_labels", "inputs_across_splits"}
