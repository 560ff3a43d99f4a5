import json
import os
import signal
import threading
from contextlib import contextmanager

import optuna
import pytest

from configs.errors import SearchFailed
from configs.schema import Choices, Range, Search, Training
from tasks.models.worker import JobFailed, WorkerDied
from tasks.search.results import study_result_from_json
from tasks.search.study_runner import run_study
from tasks.search.study_view import StudyReader
from tests.integration.search.fake_training import SEARCH, SEED, FakeTrainer, Heard, final_value, run


def optuna_trials(url, name="study"):
    return optuna.load_study(study_name=name, storage=url).get_trials()


def states(url):
    return [trial.state.name for trial in optuna_trials(url)]


def with_trials(count, **changes):
    return SEARCH.model_copy(update={"trials": count, **changes})


def test_the_first_trial_runs_with_the_recipes_own_values(url):
    training = Training(learning_rate=5.0e-3, lora_rank=4, schedule="linear")

    result = run(url, training=training)

    assert result.trials[0].parameters == {"learning_rate": 5.0e-3, "lora_rank": 4, "schedule": "linear"}


def test_a_warm_start_comes_first_then_the_recipes_own_values(url, other_url):
    training = Training(learning_rate=5.0e-3, lora_rank=4, schedule="linear")
    own = {"learning_rate": 5.0e-3, "lora_rank": 4, "schedule": "linear"}
    warm = {"learning_rate": 3.0e-3, "lora_rank": 12, "schedule": "cosine"}

    both = run(url, training=training, warm_start=warm)
    one = run(other_url, search=with_trials(1), training=training, warm_start=warm)

    assert [row.parameters for row in both.trials[:2]] == [warm, own]
    assert [row.parameters for row in one.trials] == [warm]


def test_values_of_a_warm_start_outside_the_space_are_drawn(url):
    result = run(url, warm_start={"learning_rate": 5.0, "lora_rank": 12, "epochs": 3})

    assert result.trials[0].parameters["lora_rank"] == 12
    assert 1.0e-4 <= result.trials[0].parameters["learning_rate"] <= 1.0e-2
    assert "epochs" not in result.trials[0].parameters


def test_the_budget_counts_finished_and_pruned_trials(url):
    result = run(url)

    assert [row.number for row in result.trials] == list(range(7))
    assert {row.state for row in result.trials} == {"finished", "pruned"}
    assert set(states(url)) == {"COMPLETE", "PRUNED"}


def test_the_winner_has_the_highest_mean_over_seeds(url):
    result = run(url, search=with_trials(7, confirmation_seeds=2))

    means = {each.number: each.mean_value for each in (result.best, result.runner_up)}
    assert len(result.best.runs) == len(result.runner_up.runs) == 3
    assert means[result.best.number] == max(means.values())
    assert [run.seed for run in result.best.runs] == [SEED, SEED + 1, SEED + 2]
    assert result.best.runs[1].value == final_value(Training(**result.best.parameters), SEED + 1)
    assert result.spread.range > 0


def test_the_adapter_is_that_of_the_best_run_of_the_winner(url):
    result = run(url)

    assert result.adapter == max(result.best.runs, key=lambda run: run.value).adapter


def test_a_pruned_trial_is_told_to_stop_and_saves_its_remaining_steps(url):
    trainer = FakeTrainer()

    result = run(url, trainer=trainer)

    pruned = [row for row in result.trials if row.state == "pruned"]
    assert pruned
    for row in pruned:
        assert max(look for name, look in trainer.looks_trained if name == row.name) * 25 == row.steps < 100
        assert row.adapter is None
    assert result.seconds_saved_by_pruning == pytest.approx(sum((100 - row.steps) / 10 for row in pruned))


def test_a_trial_is_not_pruned_at_its_last_look(url):
    class WorseAtTheEnd(FakeTrainer):
        def __call__(self, request, on_report):
            def worse(report):
                falls = request.name == "trial/4" and report.get("fraction") == 1
                return on_report({**report, "value": 0.0} if falls else report)

            return super().__call__(request, worse)

    result = run(url, trainer=WorseAtTheEnd())

    assert result.trials[4].state == "finished"


def test_without_a_pruner_every_trial_finishes(url):
    result = run(url, search=with_trials(6, pruner="none"))

    assert [row.state for row in result.trials] == ["finished"] * 6


def test_seconds_trained_include_the_confirmations(url):
    result = run(url, search=with_trials(1))

    assert result.seconds_trained == pytest.approx(20.0)


def test_an_empty_space_is_one_trial_with_the_recipes_values(url):
    result = run(url, search=Search(trials=8))

    assert [(row.number, row.parameters) for row in result.trials] == [(0, {})]
    assert result.runner_up is None
    assert len(result.best.runs) == 2


def test_running_again_trains_nothing_and_finds_the_same(url):
    first = run(url)
    trainer = FakeTrainer()

    second = run(url, trainer=trainer)

    assert second == first
    assert trainer.started == []


def test_no_trainer_is_opened_when_there_is_no_work(url):
    run(url)

    def open_trainer(slot):
        raise AssertionError("opened")

    run_study(
        study_name="study",
        study_url=url,
        search=SEARCH,
        training=Training(),
        seed=SEED,
        independent_records=64,
        open_trainer=open_trainer,
        callbacks=Heard().callbacks(),
    )


def test_raising_the_budget_goes_on_with_the_study(url, other_url, caplog):
    caplog.set_level("INFO", "burnish")
    trainer = FakeTrainer()
    run(url, search=with_trials(5))
    assert "earlier runs" not in caplog.text

    extended = run(url, trainer=trainer, search=with_trials(7))

    assert "trials that earlier runs of this study left: 5" in caplog.text
    assert [name for name in trainer.started if name.startswith("trial/")] == [f"trial/{n}" for n in range(5, 7)]
    assert extended.trials == run(other_url, search=with_trials(7)).trials


def test_no_new_trial_starts_when_the_minutes_are_over(url):
    trainer = FakeTrainer()

    result = run(url, trainer=trainer, search=with_trials(100, minutes=5.0), clock=lambda: 100.0 * len(trainer.started))

    assert len(result.trials) == 3


def test_the_minutes_of_earlier_commands_count(url):
    first = run(url, search=with_trials(4))
    spent = sum(row.seconds for row in first.trials) / 60

    again = run(url, search=with_trials(100, minutes=spent))

    assert len(again.trials) == 4


def test_failed_trials_keep_their_reason_and_dont_stop_the_search(url):
    diverged = JobFailed("training diverged at step 25: the loss is not finite (nan)", "TrainingDiverged")
    died = WorkerDied(-9, "")

    result = run(url, trainer=FakeTrainer(errors={"trial/1": diverged, "trial/3": died}))

    failed = {row.number: row.reason for row in result.trials if row.state == "failed"}
    assert failed == {1: str(diverged), 3: str(died)}
    assert "out of memory" in failed[3]
    assert len(result.trials) == 9


def test_a_leader_that_fails_ends_no_other_trial(url):
    def train(request, on_report):
        leads = request.name == "trial/0"
        for look, value in enumerate((0.6, 0.8, 0.9, 0.9) if leads else (0.1, 0.1, 0.2, 0.3), start=1):
            if leads and look == 3:
                raise JobFailed("diverged", "TrainingDiverged")
            assert on_report({"kind": "validation", "step": look, "fraction": look / 4, "value": value})
        return {"state": "finished", "best_value": 0.3, "steps": 4, "seconds": 1.0, "adapter": "a" * 64}

    result = run(url, trainer=train, search=with_trials(3).model_copy(update={"min_fraction": 0.99}))

    assert [row.state for row in result.trials] == ["failed", "finished", "finished", "finished"]


def test_a_search_in_which_nothing_finishes_fails_with_the_reasons(url):
    errors = {f"trial/{number}": JobFailed(f"broken {number}", "ValueError") for number in range(7)}

    with pytest.raises(SearchFailed, match=r"7 tried[\s\S]*trial/0: broken 0"):
        run(url, trainer=FakeTrainer(errors=errors))

    assert states(url) == ["FAIL"] * 7


def test_a_failed_search_begins_anew_when_its_cause_is_mended(url):
    with pytest.raises(SearchFailed):
        run(
            url,
            search=with_trials(2),
            trainer=FakeTrainer(errors=dict.fromkeys(["trial/0", "trial/1"], WorkerDied(-9, ""))),
        )

    result = run(url, search=with_trials(2))

    assert [row.state for row in result.trials].count("failed") == 2
    assert result.trials[2].parameters == result.trials[0].parameters
    assert sum(row.state in ("finished", "pruned") for row in result.trials) == 2


def test_a_confirmation_that_fails_is_remembered_and_counts_against_its_trial(url, other_url):
    winner = run(other_url).best.number
    errors = {f"confirmation/{winner}-seed-18": WorkerDied(-9, "")}

    result = run(url, trainer=FakeTrainer(errors=errors))

    assert result.best.number != winner
    assert result.runner_up.failures == 1
    assert run(url) == result


def test_combinations_that_contradict_each_other_cost_no_budget(url):
    space = {"micro_batch_size": Range(low=1, high=16)}
    trainer = FakeTrainer()

    result = run(url, trainer=trainer, search=Search(space=space, trials=4))

    refused = [row for row in result.trials if row.state == "refused"]
    assert refused
    assert all("micro_batch_size must divide batch_size" in row.reason for row in refused)
    assert not {row.name for row in refused} & set(trainer.started)
    assert sum(row.state in ("finished", "pruned") for row in result.trials) == 4


def test_a_space_of_refused_combinations_alone_ends(url):
    search = Search(space={"micro_batch_size": Choices(choices=(8,))}, trials=1)

    with pytest.raises(SearchFailed, match="must divide batch_size"):
        run(url, search=search, training=Training(batch_size=12))


def test_repeated_parameters_are_not_trained_again(url):
    trainer = FakeTrainer()
    search = Search(space={"schedule": Choices(choices=("linear", "cosine"))}, trials=6)

    result = run(url, trainer=trainer, search=search)

    assert len(result.trials) == 6
    assert len([name for name in trainer.started if name.startswith("trial/")]) == 2
    repeated = [row for row in result.trials if row.repeats is not None]
    assert [row.value for row in repeated] == [result.trials[row.repeats].value for row in repeated]
    assert result.best.parameters != result.runner_up.parameters


def test_an_error_of_a_callback_stops_the_search_and_leaves_nothing_running(url):
    heard = Heard()
    callbacks = heard.callbacks()

    def broken(row):
        raise ConnectionError("no server")

    with pytest.raises(ConnectionError, match="no server"):
        run_with(url, callbacks=type(callbacks)(callbacks.on_trial_started, callbacks.on_step, broken))

    assert "RUNNING" not in states(url)


def test_an_unforeseen_error_of_a_trainer_is_no_failed_trial(url, other_url):
    with pytest.raises(ZeroDivisionError):
        run(url, trainer=FakeTrainer(errors={"trial/2": ZeroDivisionError()}))

    assert without_seconds(run(url)) == without_seconds(run(other_url))


def test_ctrl_c_leaves_nothing_running_and_the_next_command_finishes_the_same(url, other_url, tmp_path):
    class Interrupting(FakeTrainer):
        def __call__(self, request, on_report):
            def interrupt(report):
                if (request.name, report["step"]) == ("trial/4", 50):
                    os.kill(os.getpid(), signal.SIGINT)
                    while on_report(report | {"kind": "step", "steps": 100}):
                        pass
                return on_report(report)

            return super().__call__(request, interrupt)

    with pytest.raises(KeyboardInterrupt):
        run(url, trainer=Interrupting(tmp_path / "checkpoints"))
    after_interrupt = states(url)
    trainer = FakeTrainer(tmp_path / "checkpoints")
    result = run(url, trainer=trainer)

    assert "RUNNING" not in after_interrupt
    assert trainer.started[0] == "trial/4"
    assert trainer.looks_trained[0] == ("trial/4", 2)
    assert without_seconds(result) == without_seconds(run(other_url))


def test_callbacks_hear_of_every_trial_and_confirmation(url):
    heard = Heard()

    result = run(url, search=with_trials(5), heard=heard)

    names = [f"trial/{number}" for number in range(5)]
    assert heard.started[:5] == names
    assert heard.ended[:5] == list(result.trials)
    assert {row.name for row in heard.ended[5:]} == {
        f"confirmation/{each.number}-seed-18" for each in (result.best, result.runner_up)
    }
    assert ("trial/0", "step") in heard.steps
    assert ("trial/0", "validation") in heard.steps


def test_several_slots_fill_the_same_budget_with_a_trainer_each(url):
    opened, closed = [], []

    @contextmanager
    def open_trainer(slot):
        opened.append(slot)
        yield FakeTrainer()
        closed.append(slot)

    result = run_with(url, search=with_trials(7, slots=3), open_trainer=open_trainer)

    assert sum(row.state in ("finished", "pruned") for row in result.trials) == 7
    assert len(opened) == len(set(opened)) <= 3
    assert sorted(opened) == sorted(closed)
    assert "RUNNING" not in states(url)


def test_a_result_survives_json(url):
    result = run(url)

    assert study_result_from_json(json.loads(json.dumps(result.to_json()))) == result


def run_with(url, **changes):
    @contextmanager
    def open_trainer(slot):
        yield FakeTrainer()

    values = {"search": SEARCH, "open_trainer": open_trainer, "callbacks": Heard().callbacks(), **changes}
    return run_study(
        study_name="study", study_url=url, training=Training(), seed=SEED, independent_records=64, **values
    )


def without_seconds(result):
    """A failed or interrupted attempt's seconds are measured; all else must be equal."""
    values = result.to_json()
    values.pop("seconds_trained")
    return values


def test_a_conditional_field_is_drawn_only_where_its_condition_holds(url):
    space = {
        "schedule": Choices(choices=("constant", "cosine")),
        "warmup_fraction": Range(low=0.01, high=0.2, when={"schedule": "cosine"}),
    }

    result = run(url, search=Search(space=space, trials=10, pruner="none"))

    kinds = {row.parameters["schedule"]: set(row.parameters) for row in result.trials}
    assert kinds == {"constant": {"schedule"}, "cosine": {"schedule", "warmup_fraction"}}


def test_random_draws_are_the_same_whatever_the_trials_found(url, other_url):
    search = with_trials(5, sampler="random", pruner="none")
    errors = {"trial/1": WorkerDied(-9, "")}

    drawn, others = run(url, search=search), run(other_url, search=search, trainer=FakeTrainer(errors=errors))

    assert [row.parameters for row in others.trials[:5]] == [row.parameters for row in drawn.trials]


def test_no_trial_begins_that_the_money_does_not_cover(url):
    result = run(url, search=with_trials(100, pruner="none"), affordable_seconds=55.0)

    assert [row.state for row in result.trials] == ["finished"] * 3
    assert result.seconds_trained <= 55.0
    assert "search.max_cost" in result.ended


def test_a_study_ends_when_more_trials_would_not_help_and_goes_on_without_patience(url):
    impatient = with_trials(30, pruner="none", patience=4, worthwhile_gain=0.9)

    early = run(url, search=impatient)
    extended = run(url, search=with_trials(12, pruner="none"))

    assert len(early.trials) < 12
    assert "gained nothing worthwhile" in early.ended
    assert len(extended.trials) == 12
    assert "search.trials" in extended.ended


def test_two_slots_run_two_trials_at_once(url):
    both = threading.Barrier(2, timeout=60)

    class Meeting(FakeTrainer):
        def __call__(self, request, on_report):
            if request.name in ("trial/0", "trial/1"):
                both.wait()  # breaks, and with it the search, unless the other slot's trial comes too
            return super().__call__(request, on_report)

    result = run(url, trainer=Meeting(), search=with_trials(4, slots=2))

    assert not both.broken
    assert len(result.trials) == 4


class Together(FakeTrainer):
    """Two at a time, 10 seconds each."""

    def __init__(self):
        super().__init__()
        self.now = 0.0
        self._both = threading.Barrier(2, action=self._pass_time, timeout=60)

    def __call__(self, request, on_report):
        self._both.wait()
        return super().__call__(request, on_report)

    def _pass_time(self):
        self.now += 10.0


def run_two_at_once(url, **others):
    trainer, search = Together(), with_trials(2, slots=2, pruner="none")
    return run(url, trainer=trainer, search=search, clock=lambda: trainer.now, **others)


def test_two_fine_tunes_that_run_at_once_share_the_time_of_the_machine_and_its_price(url):
    result = run_two_at_once(url, name=f"smoke-{0:016x}")

    assert [row.machine_seconds for row in result.trials] == [5.0, 5.0]
    assert result.seconds_trained == pytest.approx(2 * 10.0)  # the two confirmations likewise
    with StudyReader(url, "smoke") as reader:
        assert reader.read().machine_seconds == pytest.approx(result.seconds_trained)


def test_a_study_that_goes_on_counts_the_machine_time_of_what_ran_at_once(url, other_url):
    run_two_at_once(url)
    run_two_at_once(other_url)
    trainer = FakeTrainer()

    # 10 s of trials so far; the next one lasts 100
    timed = run(
        url, trainer=trainer, search=with_trials(9, pruner="none", minutes=0.25),
        clock=lambda: 100.0 * len(trainer.started),
    )  # fmt: skip
    # 20 s with the confirmations so far; one more trial and two confirmations take 30
    paid = run(other_url, search=with_trials(9, pruner="none"), affordable_seconds=52.0)

    assert len(timed.trials) == 3
    assert len(paid.trials) == 3
