import re

import pytest

from configs.schema import Choices, Range
from tasks.reporting.html_report import render_report
from tasks.reporting.search_plots import SEARCH_HEADINGS, pareto_front, search_plots
from tasks.search.importance import FEWEST_TRIALS, parameter_importance
from tests.unit.reporting.test_report import HOSTILE, summary

SPACE = {
    "learning_rate": Range(low=1.0e-4, high=1.0e-2, log=True),
    "lora_rank": Range(low=2, high=64, log=True),
    "schedule": Choices(choices=("linear", "cosine")),
    "warmup_fraction": Range(low=0.0, high=0.2, when={"schedule": "cosine"}),
}


def trial(number, value=0.5, *, state="COMPLETE", seconds=10.0, **values):
    return {
        "number": number, "state": state, "value": value, "seconds": seconds, "reason": "", "parameters": "",
        "values": {"lora_rank": 8, **values}, "curve": [], "began": 100.0 * number, "ended": 100.0 * number + seconds,
    }  # fmt: skip


def row(number, value, **parameters):
    return {"state": "finished", "repeats": None, "value": value, "parameters": parameters}


def test_only_trials_that_nothing_beats_in_value_and_time_are_on_the_front():
    slow, fast = trial(0, 0.8, seconds=40), trial(1, 0.6, seconds=10)
    beaten, equal_but_slower = trial(2, 0.5, seconds=20), trial(3, 0.8, seconds=50)

    assert [each["number"] for each in pareto_front([slow, fast, beaten, equal_but_slower])] == [1, 0]


def test_the_field_that_moves_the_value_is_the_important_one():
    rows = [
        row(n, 0.1 + 0.08 * (n % 10), learning_rate=1.0e-3 * (1 + n % 10), lora_rank=2 + 7 * n % 60, schedule="linear")
        for n in range(30)
    ]

    found = parameter_importance(rows, SPACE, seed=17)

    assert next(iter(found.shares)) == "learning_rate"
    assert sum(found.shares.values()) == pytest.approx(1)


def test_a_field_that_not_every_trial_has_is_left_out():
    rows = [row(n, 0.01 * n, lora_rank=n + 2, schedule="linear") for n in range(6)]
    rows += [row(n, 0.01 * n, lora_rank=n + 2, schedule="cosine", warmup_fraction=0.1) for n in range(6, 12)]

    assert set(parameter_importance(rows, SPACE, seed=17).shares) == {"lora_rank", "schedule"}


def test_too_few_trials_say_so_instead_of_an_importance():
    found = parameter_importance([row(n, 0.1 * n, lora_rank=n + 2) for n in range(FEWEST_TRIALS - 1)], SPACE, seed=17)

    assert found.shares == {}
    assert f"{FEWEST_TRIALS - 1} trials finished" in found.note


def test_every_plot_of_a_search_is_still_svg_without_scripts_under_a_heading_that_says_what_it_shows():
    trials = [trial(0, 0.5, schedule="linear"), trial(1, 0.7, schedule=HOSTILE), trial(2, 0.2, state="PRUNED")]
    shown = summary()
    shown.details.update(trials=trials, importance={"shares": {"lora_rank": 0.7, "schedule": 0.3}, "note": "n"})

    html = render_report(shown)

    assert all(heading.replace("'", "&#39;") in html for _, heading in SEARCH_HEADINGS)
    assert len(re.findall("<svg", html)) == 4 + len(SEARCH_HEADINGS)
    assert "<script" not in html


def test_a_study_of_one_trial_has_a_timeline_alone():
    assert set(search_plots([trial(0)], {"shares": {}, "note": ""})) == {"timeline"}
