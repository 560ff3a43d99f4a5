from __future__ import annotations

import pytest

from tasks.metrics.consistency import consistency_figures


def test_pairs_of_answers_to_one_record_are_compared() -> None:
    samples = [("Yes.", "yes", "no"), ("a b", "a c"), ("alone",), ()]

    figures = consistency_figures(samples)

    assert figures["consistency"] == pytest.approx((1 / 3 + 0) / 2)
    assert figures["consistency_words"] == pytest.approx((1 / 3 + 0.5) / 2)


def test_the_order_of_the_answers_makes_no_difference() -> None:
    assert consistency_figures([("a b", "b", "c")]) == pytest.approx(consistency_figures([("c", "a b", "b")]))


def test_without_repeated_answers_there_is_no_figure() -> None:
    assert consistency_figures([(), ("one",)]) == {}
