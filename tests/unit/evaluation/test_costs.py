import math

import pytest

from configs.schema import Economics
from tasks.evaluation.costs import (
    HOURS_PER_MONTH,
    break_even_requests,
    cost_per_1000_requests,
    gain_at_zero_net_value,
    machines_needed,
    net_value,
    requests_per_machine,
    training_cost,
)

PRICES = Economics(
    training_price_per_hour=2.0,
    hosting_price_per_hour=0.1,
    requests_per_month=100_000,
    horizon_months=10,
    value_per_correct_answer=0.01,
)
MACHINE = HOURS_PER_MONTH * 0.1


def test_training_is_paid_by_the_hour():
    assert training_cost(1800, PRICES) == 1.0


@pytest.mark.parametrize(("requests", "machines"), [(1, 1), (2_629_800, 1), (2_629_801, 2), (26_298_000, 10)])
def test_machines_are_whole(requests, machines):
    assert machines_needed(requests, records_per_second=1.0) == machines


def test_a_rate_of_nothing_is_refused():
    with pytest.raises(ValueError, match="above 0, got 0"):
        requests_per_machine(0)


def test_cost_per_thousand_requests_includes_hosting_and_training():
    assert cost_per_1000_requests(10.0, 50.0, PRICES) == pytest.approx((MACHINE + 50 / 10) / 100)


def test_net_value_counts_worth_extra_hosting_and_training():
    value = net_value(0.1, rates=(0.02, 10.0), training=30.0, economics=PRICES)

    assert value == pytest.approx(10 * (0.1 * 0.01 * 100_000 - 1 * MACHINE) - 30)


def test_net_value_is_zero_at_the_gain_that_says_so():
    terms = {"rates": (0.02, 10.0), "training": 30.0, "economics": PRICES}

    assert net_value(gain_at_zero_net_value(**terms), **terms) == pytest.approx(0)


@pytest.mark.parametrize(("rates", "needed"), [((0.02, 10.0), math.inf), ((10.0, 0.02), -math.inf)])
def test_without_worth_only_costs_decide(rates, needed):
    worthless = PRICES.model_copy(update={"value_per_correct_answer": 0.0})

    assert gain_at_zero_net_value(rates=rates, training=1.0, economics=worthless) == needed


def test_break_even_pays_for_training_on_one_machine():
    # 30 over 10 months is 3 a month, at 0.001 a request.
    assert break_even_requests(0.1, rates=(10.0, 10.0), training=30.0, economics=PRICES) == 3000


@pytest.mark.parametrize("rates", [(0.02, 10.0), (0.02, 0.03), (0.011, 0.02), (0.5, 0.01)])
def test_break_even_is_the_smallest_load_that_pays(rates):
    found = break_even_requests(0.3, rates=rates, training=3000.0, economics=PRICES)

    def value(load: int) -> float:
        loaded = PRICES.model_copy(update={"requests_per_month": load})
        return net_value(0.3, rates=rates, training=3000.0, economics=loaded)

    assert found is not None
    assert value(found) >= 0
    assert all(value(load) < 0 for load in range(max(1, found - 60_000), found, 97))
    assert found == 1 or value(found - 1) < 0


@pytest.mark.parametrize(("gain", "rates"), [(0.0, (10.0, 10.0)), (-0.1, (10.0, 10.0)), (0.01, (0.01, 10.0))])
def test_there_may_be_no_break_even(gain, rates):
    assert break_even_requests(gain, rates=rates, training=30.0, economics=PRICES) is None
