import pytest

from expectations.near_copies import is_respelling, near_copies

TERM = "kinking of the ureter near the left kidney"
LETTER = " ".join(f"word{chr(97 + i % 26)}{chr(97 + i // 26)}" for i in range(100))


def _pairs(*texts):
    return {tuple(sorted(pair)) for pair in near_copies(texts, 0.85)}


@pytest.mark.parametrize(
    "copy",
    [
        "kinking of the ureter, near the left kidney!",
        "kínking of the ureter near the left kidney",
        "kinking of the ure ter near the left kidney",
        "kinkign of the ureter near the left kidney",
        "kinkin of the ureter near the left kidney",
        "kinking of the uureter near the left kidney",
        "kinking of the urexer near the left kidney",
    ],
)
def test_signs_accents_spaces_and_one_typing_error_make_a_near_copy(copy):
    assert _pairs(TERM, copy) == {(0, 1)}


@pytest.mark.parametrize(
    "other",
    [
        "kinking of the ureter near the right kidney",
        "kinking of the urethra near the left kidney",
        "twisting of the ureter near the left kidney",
        "kinking of the ureter near the left kidney unspecified",
    ],
)
def test_another_word_is_another_text(other):
    assert _pairs(TERM, other) == set()


@pytest.mark.parametrize(
    ("first", "second"), [("what is 12+34", "what is 12-34"), ("a dose of 1.5 mg", "a dose of 15 mg"), ("c++", "c#")]
)
def test_operators_and_decimal_points_carry_meaning(first, second):
    assert _pairs(first, second) == set()


def test_equal_texts_are_no_near_copies():
    assert _pairs(TERM, TERM) == set()


def test_a_long_text_with_two_words_changed_is_a_near_copy():
    changed = LETTER.replace("wordab", "another").replace("wordzc", "third")

    assert _pairs(LETTER, changed) == {(0, 1)}


def test_a_long_text_with_another_number_asks_for_another_answer():
    assert _pairs(f"{LETTER} costs 12 euros", f"{LETTER} costs 13 euros") == set()


def test_a_long_text_that_shares_half_of_its_words_is_another_text():
    half = LETTER.split()[:50] + [f"other{chr(97 + i % 26)}{chr(97 + i // 26)}" for i in range(50)]

    assert _pairs(LETTER, " ".join(half)) == set()


@pytest.mark.parametrize(
    ("first", "second", "alike"),
    [
        ("billing", "Billing", True),
        ("billing", " billing ", True),
        ("billing", "biling", True),
        ("billing", "billing.", True),
        ("order status", "order-status", True),
        ("Müller", "Muller", True),
        ("billing", "mailing", False),
        ("A1", "A2", False),
        ("level 1", "level 2", False),
        ("cat", "car", False),
        ("order status", "order", False),
    ],
)
def test_a_respelling_is_the_same_label_written_otherwise(first, second, alike):
    assert is_respelling(first, second) == is_respelling(second, first) == alike
