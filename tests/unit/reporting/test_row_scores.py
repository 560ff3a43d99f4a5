from __future__ import annotations

from dataclasses import replace

import pytest

from configs.errors import DataError
from tasks.reporting.row_scores import (
    RowScores,
    compare_runs,
    row_scores,
    row_scores_as_text,
    row_scores_from_text,
    shared_records,
)
from tasks.storage.durable import digest_of
from tests.unit.evaluation.factories import make_records

FIRST = RowScores("exact_match", "exact_match", 0.95, {f"r{n}": n for n in range(60)}, {"candidate": [1.0] * 60})
SECOND = replace(
    FIRST,
    groups={f"r{n}": 100 + n for n in range(59, -1, -1)},
    scores={"candidate": [float(n < 30) for n in range(60)]},
)


def test_scores_are_read_back_as_they_were() -> None:
    assert row_scores_from_text(row_scores_as_text(FIRST)) == FIRST


def test_scores_are_kept_by_record_and_option_without_what_the_groups_are_called() -> None:
    records = [replace(record, group=f"patient {record.group}") for record in make_records(4, group_size=2)]
    digest = digest_of([record.record_id for record in records])
    cards = [
        {"name": name, "metric": "token_f1", "row_scores": [0.5, 1.0, 0.0, 0.25], "records_digest": digest}
        for name in ("few", "tuned")
    ]

    found = row_scores(cards, records, metric_identity="token_f1", confidence=0.9)

    assert found.groups == {"r0": 0, "r1": 0, "r2": 1, "r3": 1}
    assert found.of("tuned", ["r3", "r1"]) == [0.25, 1.0]
    assert "patient" not in row_scores_as_text(found)
    with pytest.raises(ValueError, match="not of these records"):
        row_scores(cards, records[::-1], metric_identity="token_f1", confidence=0.9)


def test_the_same_records_are_paired_whatever_their_order_and_the_names_of_their_groups() -> None:
    shared = shared_records(FIRST, SECOND)

    found = compare_runs(FIRST, SECOND, ("candidate", "candidate"), shared)

    assert found.n == 60
    assert found.difference == pytest.approx(0.5)
    assert SECOND.of("candidate", ["r59", "r0"]) == [1.0, 0.0]


def test_the_more_cautious_recipe_says_how_sure() -> None:
    surer = replace(SECOND, confidence=0.99)

    assert compare_runs(FIRST, surer, ("candidate", "candidate"), list(FIRST.groups)).confidence == 0.99
    assert compare_runs(surer, FIRST, ("candidate", "candidate"), list(FIRST.groups)).confidence == 0.99


def test_only_shared_records_count() -> None:
    fewer = replace(SECOND, groups={"new": 0, **dict(list(SECOND.groups.items())[1:])})

    assert len(shared_records(FIRST, fewer)) == 59


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (replace(SECOND, metric="token_f1"), "exact_match, the other by token_f1"),
        (replace(SECOND, metric_identity={"schema": "another"}), "exact_match means two things"),
        (replace(SECOND, groups={f"x{n}": n for n in range(60)}), "no test record in common"),
        (replace(SECOND, groups={f"r{n}": n // 2 for n in range(60)}), "group the same test records differently"),
    ],
)
def test_what_cannot_be_compared_is_refused_with_its_reason(other: RowScores, message: str) -> None:
    with pytest.raises(DataError, match=message):
        shared_records(FIRST, other)
    with pytest.raises(DataError):
        shared_records(other, FIRST)
