import dataclasses
from pathlib import Path

import pytest

from configs.schema import Recipe
from tasks.data.records import Record, SplitName, Turn
from tasks.data.snapshots import write_snapshot
from tasks.evaluation.tasks import count_look
from tasks.inference.options import Option
from tasks.tracking.looks import spend_look
from tasks.tracking.mlflow_runs import Tracker
from tasks.tracking.recipe_run import RecipeRun

LINEAGE = {"salt": "", "group_by": "category"}


def look(tracker: Tracker, candidate: str, champion: str | None = None, asked: str = "rows", **lineage: str) -> int:
    contest = {"candidate": candidate, "champion": champion, "asked": asked}
    return spend_look(tracker, tracker.experiment("r"), lineage={**LINEAGE, **lineage}, contest=contest)


def test_each_new_contest_is_a_new_look(tracker: Tracker) -> None:
    assert [look(tracker, "a"), look(tracker, "b"), look(tracker, "b", "1")] == [1, 2, 3]


def test_only_the_same_contest_on_the_same_rows_keeps_its_number(tracker: Tracker) -> None:
    look(tracker, "a")
    look(tracker, "b")

    assert [look(tracker, "a", asked=asked) for asked in ("more rows", "rows", "more rows")] == [3, 1, 3]


def test_another_test_set_starts_anew(tracker: Tracker) -> None:
    look(tracker, "a")

    assert look(tracker, "b", salt="new") == 1


def record(number: int, split: SplitName, completion: str = "yes") -> Record:
    return Record(f"{split} {number}", split, f"{split} {number}", (Turn("user", f"prompt {number}"),), completion)


TRAIN = [record(number, "train") for number in range(4)] + [record(0, "validation")]
TEST = [record(number, "test") for number in range(4)]


def test_one_fine_tune_looked_at_on_own_files_that_change_spends_a_look_only_for_what_is_tested(
    tracker: Tracker, mlflow_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BURNISH_HOME", str(mlflow_home))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)  # what MLflow leaves there while other tests run
    files = {"kind": "file", "train": "a.csv", "validation": "b.csv", "test": "c.csv"}
    candidate = Option(name="candidate", kind="candidate", adapter="the same")
    experiment = tracker.experiment("r")

    def looked(records: list[Record], *, group_by: str | None = None, metric: str = "exact_match") -> int:
        values = {"name": "r", "base": {"kind": "tiny"}, "data": {"source": files, "group_by": group_by}}
        recipe = Recipe.model_validate({**values, "evaluation": {"metric": metric}})
        run = RecipeRun(recipe, mlflow_home, experiment, "")
        snapshot = write_snapshot(records, snapshots=run.settings.snapshots, source_digest="s")
        return int(count_look.fn(run, snapshot, candidate, None))

    assert looked(TRAIN + TEST) == 1
    assert looked(TRAIN[1:] + TEST, group_by="customer") == 1  # the same rows, in the same groups
    assert looked([*TRAIN, *TEST, record(4, "test")]) == 2
    assert looked([*TRAIN, dataclasses.replace(TEST[0], completion="no"), *TEST[1:]]) == 3
    assert looked(TRAIN + TEST, metric="token_f1") == 4
    assert looked(TRAIN + TEST) == 1
