import pytest

from tasks.metrics.power import records_needed


def needed(effect, deviation=0.5, power=0.8):
    return records_needed(effect, deviation=deviation, confidence=0.95, power=power)


def test_textbook_number():
    # (1.96 + 0.8416)² · 0.25 / 0.0025 = 784.9
    assert needed(0.05) == 785


def test_half_the_effect_takes_four_times_the_records():
    assert needed(0.025) == pytest.approx(4 * needed(0.05), rel=0.01)


def test_the_direction_does_not_matter():
    assert needed(-0.05) == needed(0.05)


def test_no_effect_is_never_found():
    assert needed(0.0) is None
    assert needed(1e-300) is None


def test_no_spread_takes_one_record():
    assert needed(0.05, deviation=0.0) == 1
