"""The process dies at a durable write; the same command then ends with the same trials and the same winner."""

from collections import Counter

import optuna
import pytest

from configs.schema import Choices, Range
from tests.integration.search.fake_training import SEARCH, FakeTrainer, run, run_in_process

KILLED = -9
POINTS = (
    "study:created",
    "study:enqueued",
    "study:asked",
    "study:drawn",
    "fake:look",
    "study:reported",
    "study:decided",
    "study:told",
    "study:before-confirmation",
    "study:confirmed",
)
ONLY_ON_RESUME = ("study:enqueued-again", "study:interrupted")


@pytest.fixture(scope="module")
def unkilled(module_memory_path):
    """The result of a run that nobody disturbs, and how often it reaches each point."""
    url, log = f"sqlite:///{module_memory_path}/optuna.db", module_memory_path / "points"

    assert run_in_process(url, module_memory_path / "checkpoints", BURNISH_KILL_LOG=str(log)) == 0
    reached = Counter(line.rpartition(":")[0] for line in log.read_text().splitlines())
    return run(url), reached


def test_every_point_of_the_study_is_tried(unkilled):
    _, reached = unkilled

    assert {point for point in reached if not point.startswith(("write", "directory"))} == set(POINTS)


@pytest.mark.parametrize("point", POINTS)
def test_a_kill_changes_neither_the_trials_nor_the_winner(point, unkilled, url, tmp_path):
    expected, reached = unkilled
    halfway = (reached[point] + 1) // 2

    assert run_in_process(url, tmp_path, BURNISH_KILL_AT=f"{point}:{halfway}") == KILLED
    result = run(url, trainer=FakeTrainer(tmp_path))

    assert result == expected
    assert_nothing_is_left_open(url, expected)


@pytest.mark.parametrize("point", ["study:drawn", "study:reported", "study:decided", "study:told"])
def test_a_kill_in_the_last_trial_changes_neither(point, unkilled, url, tmp_path):
    expected, reached = unkilled

    assert run_in_process(url, tmp_path, BURNISH_KILL_AT=f"{point}:{reached[point]}") == KILLED
    result = run(url, trainer=FakeTrainer(tmp_path))

    assert result == expected
    assert_nothing_is_left_open(url, expected)


@pytest.mark.parametrize("point", ONLY_ON_RESUME)
def test_a_kill_while_the_last_kill_is_made_good_does_no_harm(point, unkilled, url, tmp_path):
    expected, _ = unkilled

    assert run_in_process(url, tmp_path, BURNISH_KILL_AT="fake:look:6") == KILLED
    assert run_in_process(url, tmp_path, BURNISH_KILL_AT=point) == KILLED
    result = run(url, trainer=FakeTrainer(tmp_path))

    assert result == expected
    assert_nothing_is_left_open(url, expected)


def test_a_study_killed_again_and_again_ends_the_same(unkilled, url, tmp_path):
    expected, _ = unkilled

    deaths = [run_in_process(url, tmp_path, BURNISH_KILL_AT="fake:look:2") for _ in range(4)]
    result = run(url, trainer=FakeTrainer(tmp_path))

    assert deaths == [KILLED] * 4
    assert result == expected
    assert_nothing_is_left_open(url, expected)


def test_with_several_slots_a_kill_doesnt_change_the_number_of_trials(url, tmp_path):
    search = SEARCH.model_copy(update={"slots": 3})

    assert run_in_process(url, tmp_path, search, BURNISH_KILL_AT="fake:look:8") == KILLED
    result = run(url, trainer=FakeTrainer(tmp_path), search=search)

    assert [row.number for row in result.trials] == list(range(SEARCH.trials))
    assert_nothing_is_left_open(url, result)


def test_a_conditional_trial_that_was_killed_draws_the_same(url, other_url, tmp_path):
    space = {
        "schedule": Choices(choices=("constant", "cosine")),
        "warmup_fraction": Range(low=0.01, high=0.2, when={"schedule": "cosine"}),
        "learning_rate": SEARCH.space["learning_rate"],
    }
    search = SEARCH.model_copy(update={"space": space, "trials": 5})

    assert run_in_process(url, tmp_path, search, BURNISH_KILL_AT="study:asked:4") == KILLED
    assert run_in_process(url, tmp_path, search, BURNISH_KILL_AT="study:drawn:2") == KILLED
    result = run(url, trainer=FakeTrainer(tmp_path), search=search)

    assert result.trials == run(other_url, search=search).trials


def test_an_interrupted_trial_says_why_and_which_one_resumed_it(url, tmp_path):
    run_in_process(url, tmp_path, BURNISH_KILL_AT="fake:look:5")
    trainer = FakeTrainer(tmp_path)

    run(url, trainer=trainer)

    trials = optuna.load_study(study_name="study", storage=url).get_trials()
    resumed = [trial for trial in trials if "resumes" in trial.user_attrs]
    assert len(resumed) == 1
    interrupted = trials[resumed[0].user_attrs["resumes"]]
    assert interrupted.state.name == "FAIL"
    assert "killed" in interrupted.user_attrs["reason"]
    assert resumed[0].params == interrupted.params


def test_a_resumed_trial_goes_on_from_its_checkpoint(url, tmp_path):
    run_in_process(url, tmp_path, BURNISH_KILL_AT="fake:look:3")
    trainer = FakeTrainer(tmp_path)

    run(url, trainer=trainer)

    assert trainer.looks_trained[0] == ("trial/0", 4)


def assert_nothing_is_left_open(url, expected):
    trials = optuna.load_study(study_name="study", storage=url).get_trials()
    states = Counter(trial.state.name for trial in trials)
    assert states["RUNNING"] == states["WAITING"] == 0
    assert states["COMPLETE"] + states["PRUNED"] == len(expected.trials)
