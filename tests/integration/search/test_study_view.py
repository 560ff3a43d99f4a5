"""What somebody sees of a study that another process runs, and the one thing that can be asked of it."""

import io
from pathlib import Path

import pytest
from optuna.exceptions import StorageInternalError
from optuna.study import StudyDirection
from rich.console import Console

from configs.errors import ServerError, StudyError
from configs.settings import settings_from
from tasks.reporting.search_watch import sparkline, study_shown, watch_search
from tasks.search.agenda import STOPPED_BY_HAND
from tasks.search.study_view import StudyReader, TrialView, request_stop
from tasks.storage.lease import recipe_lease
from tasks.storage.locks import locks_of
from tests.integration.search.fake_training import SEARCH, FakeTrainer, run, run_in_process

NAME = "tickets-0123456789abcdef"


def read(url):
    with StudyReader(url, "tickets") as reader:
        return reader.read()


def text_of(shown):
    console = Console(file=io.StringIO(), width=160, record=True)
    console.print(shown)
    return console.export_text()


class Seen(FakeTrainer):
    """Calls `look` once, after the first validation look of a trial."""

    def __init__(self, name, look):
        super().__init__()
        self.name, self.look, self.seen = name, look, None

    def __call__(self, request, on_report):
        def report(values):
            goes_on = on_report(values)
            if request.name == self.name and values["kind"] == "validation" and self.seen is None:
                self.seen = self.look()
            return goes_on

        return super().__call__(request, report)


def test_a_running_study_is_seen_with_its_curves_and_what_is_left(url):
    trainer = Seen("trial/3", lambda: read(url))

    run(url, trainer=trainer, name=NAME, affordable_seconds=600.0)

    view = trainer.seen
    assert [trial.state for trial in view.trials][-1] == "running"
    assert [fraction for fraction, _ in view.trials[3].curve] == [0.25]
    assert (view.trial_budget, view.trials_left, view.affordable_seconds, view.ended) == (7, 4, 600.0, "")
    assert view.best.number in range(3)


def test_what_was_pruned_is_shown_with_its_reason_and_the_end_with_why(url):
    result = run(url, name=NAME)

    view = read(url)
    shown = text_of(study_shown(view, at_work=False))
    pruned = next(row for row in result.trials if row.state == "pruned")
    assert [trial.value for trial in view.trials] == [row.value for row in result.trials]
    assert view.confirmations == 2
    assert view.ended == result.ended
    assert f"step {pruned.steps} with" in shown
    assert "search.trials" in shown


def test_watching_changes_nothing_in_the_database(url, memory_path):
    run(url, name=NAME, search=SEARCH.model_copy(update={"trials": 2}))
    file = Path(url.removeprefix("sqlite:///"))
    before = file.read_bytes()

    with StudyReader(url, "tickets") as reader:
        reader.read()
        with pytest.raises(StorageInternalError) as refused:
            reader._storage.create_new_study([StudyDirection.MAXIMIZE], "other")

    assert "readonly" in str(refused.value.__cause__)
    assert file.read_bytes() == before
    with pytest.raises(ServerError, match="no study database"):
        StudyReader(f"sqlite:///{memory_path}/none.db", "tickets")
    assert not (memory_path / "none.db").exists()


def test_a_trial_stopped_by_hand_ends_at_its_next_look_as_pruned(url):
    trainer = Seen("trial/0", lambda: request_stop(url, "tickets", 0))

    result = run(url, trainer=trainer, name=NAME)

    stopped = result.trials[0]
    assert (stopped.state, stopped.reason, stopped.steps) == ("pruned", STOPPED_BY_HAND, 50)
    assert len(result.trials) == 7


def test_a_wish_to_stop_outlives_a_kill(url, tmp_path):
    assert run_in_process(url, tmp_path, name=NAME, BURNISH_KILL_AT="fake:look:2") == -9

    request_stop(url, "tickets", 0)
    result = run(url, trainer=FakeTrainer(tmp_path), name=NAME)

    assert (result.trials[0].state, result.trials[0].reason) == ("pruned", STOPPED_BY_HAND)


def test_a_trial_that_does_not_run_can_not_be_stopped(url):
    run(url, name=NAME, search=SEARCH.model_copy(update={"trials": 2}))

    with pytest.raises(StudyError, match=r"trial 1 .* none runs"):
        request_stop(url, "tickets", 1)
    with pytest.raises(StudyError, match="has no study"):
        request_stop(url, "tick", 1)


def test_the_watcher_ends_with_the_study_and_waits_for_one_that_is_to_come(memory_path):
    settings = settings_from(project_root=memory_path)
    console = Console(file=io.StringIO(), width=160, record=True)
    run(settings.study_url, name="letters-0123456789abcdef", search=SEARCH.model_copy(update={"trials": 1}))
    waited = []

    def pause(seconds):
        waited.append(seconds)
        run(settings.study_url, name=NAME, search=SEARCH.model_copy(update={"trials": 2}))

    with recipe_lease(locks_of(settings), "tickets"):
        watch_search(settings, "tickets", console, pause=pause)

    assert len(waited) == 1
    assert "ended: the budget of 2 trials" in console.export_text()
    with pytest.raises(StudyError, match="has no study"):
        watch_search(settings, "others", console)


def test_a_sparkline_has_a_bar_for_each_look():
    trial = TrialView(0, "running", {}, ((0.25, 0.0), (0.5, 0.4), (0.75, 0.8)), 0.8, None, None)

    assert sparkline(trial, top=0.8) == "▁▅█"
