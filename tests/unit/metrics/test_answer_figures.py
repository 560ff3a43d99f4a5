import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.metrics.answer_figures import answer_figures


def test_length_is_the_median_of_the_ratios_in_words():
    outputs, references = ["a b", "a b c", "a"], ["a", "a b c", "a b c d"]

    assert answer_figures(outputs, references, [""] * 3)["length_ratio"] == 1.0


@pytest.mark.parametrize(
    ("output", "repeated"), [("a b c d", 0), ("a b c d a b c d", 0.2), ("x x x x x x", 2 / 3), ("A b c d a B c d", 0.2)]
)
def test_repetition_is_the_share_of_word_sequences_that_stood_there_before(output, repeated):
    assert answer_figures([output], ["ref"], [""])["repeated_share"] == pytest.approx(repeated)


@pytest.mark.parametrize(
    ("output", "copied"),
    [("the left kidney is enlarged", 0.5), ("THE LEFT  KIDNEY IS", 1), ("none of that here", 0)],
)
def test_copying_is_the_share_of_word_sequences_that_stand_in_the_prompt(output, copied):
    figures = answer_figures([output], ["ref"], ["note: the left kidney is small"])

    assert figures["copied_share"] == pytest.approx(copied)


def test_what_cant_be_told_is_left_out():
    assert answer_figures(["too short", ""], ["", " "], ["p", "p"]) == {}
    assert answer_figures(["too short"], ["one"], ["p"]) == {"length_ratio": 2.0}


@given(st.lists(st.tuples(st.text(), st.text(), st.text()), max_size=5))
def test_shares_are_between_0_and_1(rows):
    outputs, references, prompts = zip(*rows, strict=True) if rows else ((), (), ())

    figures = answer_figures(outputs, references, prompts)

    assert all(0 <= figures.get(name, 0) <= 1 for name in ("repeated_share", "copied_share"))
    assert figures.get("length_ratio", 0) >= 0
