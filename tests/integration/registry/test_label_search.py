from __future__ import annotations

import math

from tasks.registry.adapter_model import _LabelSearch


def _asked(starts: list[float], later: list[float]) -> tuple[int, list[list[int]]]:
    search, rounds = _LabelSearch(starts), []
    while labels := search.next_labels():
        rounds.append(labels)
        for number in labels:
            search.note(number, later[number])
    return search.best, rounds


def test_labels_with_the_same_first_token_are_looked_at_together() -> None:
    assert _asked([-1.0, -0.5, -1.0, -9.0], [-2.0, -0.6, -0.1, 0.0]) == (1, [[1], [0, 2]])


def test_a_label_that_can_no_longer_be_the_best_is_not_looked_at() -> None:
    assert _asked([-0.1, -3.0], [-0.1, 0.0]) == (0, [[0]])


def test_the_first_of_equal_labels_wins() -> None:
    assert _asked([-1.0, -1.0], [-0.5, -0.5]) == (0, [[0, 1]])


def test_many_labels_that_begin_alike_are_looked_at_in_rounds() -> None:
    best, rounds = _asked([-1.0] * 20, [-float(20 - number) for number in range(20)])

    assert best == 19
    assert [len(labels) for labels in rounds] == [8, 8, 4]


def test_numbers_that_are_none_end_the_search() -> None:
    _, rounds = _asked([math.nan, math.nan], [0.0, 0.0])

    assert rounds == [[0], [1]]
