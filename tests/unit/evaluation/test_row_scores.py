from __future__ import annotations

from dataclasses import replace

import pytest

from configs.errors import DataError
from tasks.evaluation.row_scores import (
    RowScores,
    compare_runs,
    row_scores,
    row_scores_as_text,
    row_scores_from_text,
    shared_records,
)
from tests.unit.evaluation.factories import make_records

FIRST = RowScores("exact_match", {f"r{n}": f"g{n}" for n in range(60)}, {"candidate": [1.0] * 60})
SECOND = RowScores(
    "exact_match", {f"r{n}": f"g{n}" for n in range(59, -1, -1)}, {"candidate": [float(n < 30) for n in range(60)]}
)


def test_scores_are_read_back_as_they_were() -> None:
    assert row_scores_from_text(row_scores_as_text(FIRST)) == FIRST


def test_scores_are_kept_by_record_and_option() -> None:
    records = make_records(4, group_size=2)
    cards = [
        {"name": name, "metric": "token_f1", "row_scores": [0.5, 1.0, 0.0, 0.25]} for name in ("classical", "tuned")
    ]

    found = row_scores(cards, records)

    assert found.metric == "token_f1"
    assert found.groups == {"r0": "g0", "r1": "g0", "r2": "g1", "r3": "g1"}
    assert found.of("tuned", ["r3", "r1"]) == [0.25, 1.0]


def test_the_same_records_are_paired_whatever_their_order() -> None:
    found = compare_runs(FIRST, SECOND, ("candidate", "candidate"), confidence=0.95)

    assert found.difference == pytest.approx(0.5)
    assert found.surely_above(0)
    assert SECOND.of("candidate", ["r59", "r0"]) == [1.0, 0.0]


def test_only_shared_records_count() -> None:
    fewer = replace(SECOND, groups={"new": "g", **dict(list(SECOND.groups.items())[1:])})

    assert len(shared_records(FIRST, fewer)) == 59
    assert compare_runs(FIRST, fewer, ("candidate", "candidate"), confidence=0.95).n == 59


@pytest.mark.parametrize(
    ("other", "option", "message"),
    [
        (replace(SECOND, metric="token_f1"), "candidate", "exact_match, the other by token_f1"),
        (replace(SECOND, groups={f"x{n}": "g" for n in range(60)}), "candidate", "no test record in common"),
        (replace(SECOND, groups={f"r{n}": "g" for n in range(60)}), "candidate", "group the same test records"),
        (SECOND, "few-shot", "no option 'few-shot'; it has candidate"),
    ],
)
def test_what_cannot_be_compared_is_refused_with_its_reason(other: RowScores, option: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        compare_runs(FIRST, other, ("candidate", option), confidence=0.95)
