from __future__ import annotations

import pytest

from tasks.evaluation.constant_answers import constant_answer_warning

WANTED = ["a", "b", "c", "d"] * 25


@pytest.mark.parametrize(
    ("outputs", "references", "warned"),
    [
        (["a"] * 100, WANTED, True),
        (["A."] * 50 + ["a"] * 45 + ["b"] * 5, WANTED, True),
        (["a"] * 85 + ["b"] * 15, WANTED, False),
        (WANTED, WANTED, False),
        (["a"] * 100, ["a"] * 85 + ["b"] * 15, False),
        (["a"] * 100, ["a"] * 80 + ["b"] * 20, True),
        (["a"] * 10, ["a", "b"] * 5, False),
    ],
)
def test_an_option_that_says_one_thing_is_called_out(outputs: list[str], references: list[str], warned: bool) -> None:
    found = constant_answer_warning("candidate", outputs, references)

    assert (found is not None) == warned


def test_the_sentence_has_the_shares_and_no_value() -> None:
    found = constant_answer_warning("candidate", ["secret"] * 100, WANTED)

    assert found is not None
    assert "100% of the test records" in found
    assert "fits 25%" in found
    assert "secret" not in found
