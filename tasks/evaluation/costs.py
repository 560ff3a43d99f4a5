"""What an option costs to train and to host, and what it is worth. Prices are the recipe's."""

from __future__ import annotations

import math

from configs.schema import Economics

HOURS_PER_MONTH = 365.25 * 24 / 12

_MOST_MACHINES = 10_000
"""Where the search for a break-even gives up."""


def training_cost(seconds: float, economics: Economics) -> float:
    """Price of the machine for the time it trained."""
    return seconds / 3600 * economics.training_price_per_hour


def requests_per_machine(records_per_second: float) -> float:
    """Requests that one machine can answer in a month, at the measured rate around the clock.

    Raises:
        ValueError: the rate is not above 0.
    """
    if records_per_second <= 0:
        raise ValueError(f"records_per_second must be above 0, got {records_per_second}")
    return records_per_second * 3600 * HOURS_PER_MONTH


def machines_needed(requests_per_month: float, records_per_second: float) -> int:
    """Whole machines for the load, at least one."""
    return max(1, math.ceil(requests_per_month / requests_per_machine(records_per_second)))


def hosting_cost_per_month(requests_per_month: float, records_per_second: float, economics: Economics) -> float:
    """Price of the machines that answer the load."""
    machines = machines_needed(requests_per_month, records_per_second)
    return machines * HOURS_PER_MONTH * economics.hosting_price_per_hour


def cost_per_1000_requests(records_per_second: float, training: float, economics: Economics) -> float:
    """Hosting, and training spread over the horizon, for a thousand requests at the recipe's load."""
    load = economics.requests_per_month
    monthly = hosting_cost_per_month(load, records_per_second, economics) + training / economics.horizon_months
    return 1000 * monthly / load


def net_value(gain: float, *, rates: tuple[float, float], training: float, economics: Economics) -> float:
    """Worth of a gain over the horizon, less the candidate's extra hosting and its training.

    Args:
        gain: More right answers per request, candidate minus other.
        rates: Records per second of the candidate and of the other.
        training: What training the candidate cost.
        economics: Prices, load and horizon.
    """
    worth = gain * economics.value_per_correct_answer * economics.requests_per_month
    extra = _extra_hosting(economics.requests_per_month, rates, economics)
    return economics.horizon_months * (worth - extra) - training


def gain_at_zero_net_value(*, rates: tuple[float, float], training: float, economics: Economics) -> float:
    """The gain at which `net_value` is 0; infinite (with the costs' sign) when a right answer is worth nothing."""
    worth_of_one = economics.value_per_correct_answer * economics.requests_per_month
    needed = training / economics.horizon_months + _extra_hosting(economics.requests_per_month, rates, economics)
    return needed / worth_of_one if worth_of_one else math.copysign(math.inf, needed)


def break_even_requests(
    gain: float, *, rates: tuple[float, float], training: float, economics: Economics
) -> int | None:
    """The smallest monthly load at which the net value over the horizon is not negative; None if there is none.

    Between two loads at which either side needs another machine the net value is a straight line, so these segments
    are walked in order.
    """
    worth_of_one = gain * economics.value_per_correct_answer
    if worth_of_one <= 0:
        return None
    capacities = [requests_per_machine(rate) for rate in rates]
    machines, start = [1, 1], 0.0
    while max(machines) <= _MOST_MACHINES:
        ends = [count * capacity for count, capacity in zip(machines, capacities, strict=True)]
        extra = (machines[0] - machines[1]) * HOURS_PER_MONTH * economics.hosting_price_per_hour
        needed = math.ceil((training / economics.horizon_months + extra) / worth_of_one)
        load = max(needed, math.floor(start) + 1)
        start = min(ends)
        if load <= start:
            return load
        machines = [count + (end <= start) for count, end in zip(machines, ends, strict=True)]
    return None


def _extra_hosting(requests_per_month: float, rates: tuple[float, float], economics: Economics) -> float:
    candidate, other = (hosting_cost_per_month(requests_per_month, rate, economics) for rate in rates)
    return candidate - other
