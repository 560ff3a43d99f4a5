from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tasks.promotion.parity import ParityResult, compare
from tasks.promotion.parity_process import NO_TOKEN, Blocked

IDS = ("a", "b", "c")
TOLERANCE = 0.25
VOCABULARY = 7
Run = dict[str, NDArray[Any]]


def trainer() -> Run:
    """Three records, three steps; the trainer's choice is clear but at the second step of record `b`."""
    logits = np.arange(3 * VOCABULARY, dtype=np.float32).reshape(3, VOCABULARY)
    top_ids = np.argsort(-logits, axis=1)[:, :4]
    best_two = np.full((3, 3, 2), np.nan, dtype=np.float32)
    best_two[:, :, 0], best_two[:, :, 1] = 9.0, 8.0
    best_two[1, 1] = (9.0, 8.9)
    values: Run = {"record_ids": np.array(IDS)}
    for run in ("1", "n"):
        values[f"tokens_{run}"] = np.array([[4, 5, 6], [4, 5, NO_TOKEN], [4, NO_TOKEN, NO_TOKEN]])
        values[f"best_two_{run}"] = best_two.copy()
        values[f"top_ids_{run}"] = top_ids
        values[f"top_logits_{run}"] = np.take_along_axis(logits, top_ids, axis=1)
    return values


def registered() -> Run:
    logits = np.arange(3 * VOCABULARY, dtype=np.float32).reshape(3, VOCABULARY)
    return {
        f"{name}_{run}": value.copy()
        for run in ("1", "n")
        for name, value in (("tokens", trainer()["tokens_1"]), ("logits", logits))
    }


def compared(said: Run, expected: Run | None = None) -> ParityResult:
    return compare(trainer() if expected is None else expected, said, ids=IDS, margins=np.zeros(3), tolerance=TOLERANCE)


@pytest.mark.parametrize(("margin", "differing"), [(0.0, ()), (0.2, ()), (0.25, ("b",))])
def test_another_label_may_be_chosen_only_where_the_trainers_best_two_are_close(
    margin: float, differing: tuple[str, ...]
) -> None:
    result = compare(
        trainer(), registered(), ids=IDS, margins=np.array([0.0, margin, 0.0]), tolerance=TOLERANCE
    )  # fmt: skip

    assert result.differing == differing


def test_equal_logits_and_tokens_pass() -> None:
    result = compared(registered())

    assert (result.passed, result.worst_difference, result.differing) == (True, 0.0, ())


@pytest.mark.parametrize("run", ["1", "n"])
@pytest.mark.parametrize(("difference", "passed"), [(0.25, True), (0.26, False), (-0.26, False)])
def test_a_logit_may_be_off_by_the_tolerance_and_no_more(run: str, difference: float, passed: bool) -> None:
    said = registered()
    said[f"logits_{run}"][1, VOCABULARY - 1] += np.float32(difference)

    result = compared(said)

    assert result.passed is passed
    assert result.differing == (() if passed else ("b",))
    assert result.worst_difference == pytest.approx(abs(difference), abs=1e-5)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_logit_that_is_not_a_number_fails(value: float) -> None:
    said = registered()
    said["logits_1"][2, VOCABULARY - 1] = value

    result = compared(said)

    assert (result.passed, result.differing, result.worst_difference) == (False, ("c",), None)


@pytest.mark.parametrize("run", ["1", "n"])
def test_another_token_where_the_choice_was_clear_fails(run: str) -> None:
    said = registered()
    said[f"tokens_{run}"][0, 2] = 1

    result = compared(said)

    assert (result.passed, result.differing) == (False, ("a",))
    assert "other answers are chosen" in result.reason


def test_another_token_where_the_two_best_were_close_passes_with_all_that_follows() -> None:
    said = registered()
    said["tokens_n"][1] = [4, 6, 3]

    assert compared(said).passed


def test_only_the_first_differing_token_is_judged_by_its_margin() -> None:
    said = registered()
    said["tokens_n"][1] = [3, 6, 3]

    assert compared(said).differing == ("b",)


@pytest.mark.parametrize("tokens", [[4, 5, NO_TOKEN], [NO_TOKEN] * 3], ids=["goes on", "says nothing"])
def test_an_answer_that_ends_elsewhere_fails_where_the_choice_was_clear(tokens: list[int]) -> None:
    said = registered()
    said["tokens_1"][2] = tokens

    assert compared(said).differing == ("c",)


@pytest.mark.parametrize("steps", [1, 5])
def test_answers_of_another_length_are_compared_to_their_ends(steps: int) -> None:
    said = registered()
    tokens = np.full((3, steps), 4)
    said["tokens_1"] = tokens

    assert not compared(said).passed


def test_a_smaller_vocabulary_fails() -> None:
    said = registered()
    said["logits_n"] = said["logits_n"][:, :3]

    assert compared(said).differing == IDS


def test_the_sentence_names_the_records_but_not_endlessly() -> None:
    result = ParityResult(False, 0.25, 1.0, tuple(f"r{number}" for number in range(50)), "logits differ")

    assert result.sentence().startswith("parity failed: logits differ; records r0, r1, ")
    assert result.sentence().endswith("r19 and 30 more")


def test_blocked_packages_can_not_be_found_and_others_are_left_to_the_next_finder() -> None:
    finder = Blocked(["tasks"])

    assert finder.find_spec("json") is None
    assert finder.find_spec("tasksmith") is None
    with pytest.raises(ModuleNotFoundError, match=r"tasks\.data is blocked"):
        finder.find_spec("tasks.data")
