from tasks.tracking.looks import spend_look
from tasks.tracking.mlflow_runs import Tracker

LINEAGE = {"salt": "", "group_by": "category"}


def look(tracker: Tracker, candidate: str, champion: str | None = None, **lineage: str) -> int:
    contest = {"candidate": candidate, "champion": champion}
    return spend_look(tracker, tracker.experiment("r"), lineage={**LINEAGE, **lineage}, contest=contest)


def test_each_new_contest_is_a_new_look(tracker: Tracker) -> None:
    assert [look(tracker, "a"), look(tracker, "b"), look(tracker, "b", "1")] == [1, 2, 3]


def test_the_same_contest_keeps_its_number(tracker: Tracker) -> None:
    look(tracker, "a")
    look(tracker, "b")

    assert look(tracker, "a") == 1


def test_another_test_set_starts_anew(tracker: Tracker) -> None:
    look(tracker, "a")

    assert look(tracker, "b", salt="new") == 1
