import pytest

from configs.schema import Choices, Search
from tasks.search.budget import Spent, affordable_seconds, predicted_seconds, useful_slots, why_no_more_trials
from tasks.search.results import TrialRow

SPACE = {"lora_rank": Choices(choices=(4, 8))}
SEARCH = Search(space=SPACE, trials=8, confirmation_seeds=1)


def row(number, state="finished", *, seconds=100.0, share=1.0):
    return TrialRow(
        f"trial/{number}", number, state, {}, 17, value=0.5, seconds=seconds, machine_seconds=share * seconds
    )


def spent(*rows, running=0, minutes=0.0):
    return Spent(rows, running, minutes, sum(each.machine_seconds for each in rows))


def reason(spent, search=SEARCH, *, affordable=None):
    return why_no_more_trials(spent, search, affordable=affordable, validation_records=64)


@pytest.mark.parametrize(
    ("spent", "changes", "said"),
    [
        (spent(), {}, None),
        (spent(row(0), running=6), {}, None),
        (spent(row(0), running=7), {}, "search.trials"),
        (spent(*(row(n, "pruned") for n in range(8))), {}, "search.trials"),
        (spent(*(row(n, "failed") for n in range(8))), {}, "8 trials failed"),
        (spent(*(row(n, "refused") for n in range(160))), {}, "refused"),
        (spent(row(0), minutes=5.0), {"minutes": 5.0}, "search.minutes"),
        (spent(row(0), minutes=4.9), {"minutes": 5.0}, None),
        (spent(row(0)), {"space": {}}, "search.space is empty"),
        (spent(row(0)), {"trials": 1}, "the budget of 1 trial (search.trials)"),
    ],
)
def test_each_budget_ends_the_study_and_says_which(spent, changes, said):
    found = reason(spent, SEARCH.model_copy(update=changes))

    assert (found is None) if said is None else said in found


def test_money_buys_machine_time_at_the_recipes_price():
    assert affordable_seconds(20.0, 0.5) == 144_000
    assert affordable_seconds(None, 0.5) is None
    assert affordable_seconds(20.0, 0.0) is None


def test_no_trial_begins_that_would_bring_the_cost_above_the_limit():
    two = spent(row(0), row(1))

    assert predicted_seconds(two, SEARCH) == 200 + 100 + 2 * 100
    assert reason(two, affordable=500.0) is None
    assert "search.max_cost" in reason(two, affordable=499.0)


def test_trials_that_run_are_paid_too():
    assert predicted_seconds(spent(row(0), running=2), SEARCH) == 100 + 3 * 100 + 2 * 100


@pytest.mark.parametrize(
    ("changes", "running", "predicted"),
    [
        ({"slots": 2}, 0, 100 + 100 + 100),  # the next may run alone, the two confirmations run together
        ({"slots": 2}, 1, 100 + 50 + 100 + 100),
        ({"slots": 3, "confirmation_seeds": 2}, 0, 100 + 100 + 200),  # three confirmations at once, then one
        ({"slots": 2, "confirmation_seeds": 0}, 0, 100 + 100),
    ],
)
def test_what_runs_at_once_shares_the_machine(changes, running, predicted):
    halves = [row(number, share=0.5) for number in range(2)]

    assert predicted_seconds(spent(*halves, running=running), SEARCH.model_copy(update=changes)) == predicted


@pytest.mark.parametrize(
    ("changes", "slots"),
    [
        ({"trials": 8, "slots": 2}, 2),
        ({"trials": 1, "slots": 2}, 1),
        ({"space": {}, "slots": 2}, 1),
        ({"trials": 1, "slots": 8, "confirmation_seeds": 3}, 3),
        ({"trials": 3, "slots": 8, "confirmation_seeds": 2}, 4),
    ],
)
def test_no_more_slots_than_have_something_to_do(changes, slots):
    assert useful_slots(SEARCH.model_copy(update=changes)) == slots


def test_the_first_trial_begins_whatever_it_costs():
    assert reason(spent(), affordable=1.0) is None


def test_the_next_trial_is_predicted_to_last_as_long_as_the_median_one():
    rows = [row(0, seconds=100), row(1, "pruned", seconds=20), row(2, "pruned", seconds=30)]

    assert predicted_seconds(spent(*rows), SEARCH) == 150 + 30 + 2 * 100


def test_repeated_and_refused_trials_say_nothing_of_the_cost():
    repeated = TrialRow("trial/1", 1, "finished", {}, 17, value=0.5, repeats=0)

    assert predicted_seconds(spent(row(0), repeated, row(2, "refused", seconds=0.0)), SEARCH) == 100 + 100 + 2 * 100
