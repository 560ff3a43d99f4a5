import pytest

from tasks.metrics.looks import alpha_at_look, confidence_at_look, holm, level_in_words


def test_all_looks_together_spend_no_more_than_alpha():
    spent = sum(alpha_at_look(0.05, look) for look in range(1, 100_000))

    assert 0.0499 < spent < 0.05


def test_the_first_look_is_the_ordinary_two_sided_interval():
    assert confidence_at_look(0.05, 1) == pytest.approx(0.95)


def test_each_look_spends_less_than_the_one_before():
    levels = [alpha_at_look(0.05, look) for look in range(1, 60)]

    assert levels == sorted(levels, reverse=True)


@pytest.mark.parametrize(
    ("level", "shown"),
    [
        (0.95, "95%"),
        (0.975, "97.5%"),
        (1 - 0.05 / 3, "98.33%"),
        (1 - 0.05 / 6, "99.166%"),
        (0.875, "87.5%"),
        (0.9875, "98.75%"),
        (0.9999999, "99.99999%"),
        (0.5, "50%"),
        (0.0, "0%"),
    ],
)
def test_a_level_is_shown_as_exactly_as_it_matters(level, shown):
    assert level_in_words(level) == shown


def test_looks_are_counted_from_one():
    with pytest.raises(ValueError, match="counted from 1, got 0"):
        alpha_at_look(0.05, 0)


@pytest.mark.parametrize(
    ("p_values", "rejected"),
    [
        ([], ()),
        ([0.05], (True,)),
        ([0.051], (False,)),
        ([0.04, 0.01], (True, True)),
        ([0.04, 0.03], (False, False)),
        ([0.02, 0.001, 0.03], (True, True, True)),
        ([0.03, 0.001, 0.03], (False, True, False)),
        ([0.9, 0.016, 0.024], (False, True, True)),
    ],
)
def test_holm_steps_down(p_values, rejected):
    assert holm(p_values, 0.05) == rejected
