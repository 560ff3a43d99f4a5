from __future__ import annotations

import os
from pathlib import Path

import pytest

from tasks.tracking.identity import rooms_used_by, stage_identity

SOURCES = {
    "tasks/__init__.py": "",
    "tasks/data/__init__.py": "",
    "tasks/data/loading.py": "ROWS = 1\n",
    "tasks/models/__init__.py": "",
    "tasks/models/worker.py": "SLOTS = 1\n",
    "tasks/training/__init__.py": "",
    "tasks/training/engine.py": "def train():\n    from tasks.data.loading import ROWS\n    return ROWS\n",
    "tasks/search/__init__.py": "",
    "tasks/search/runner.py": 'from tasks.models import worker\nJOB = "tasks.training.jobs:train"\n',
    "tasks/reporting/__init__.py": "",
    "tasks/reporting/page.py": '"""Shows tasks.data and what tasks.models says."""\nimport configs.schema\n',
    "configs/__init__.py": "",
    "configs/schema.py": "DEFAULT = 1\n",
}


def project(root: Path, **changed: str) -> Path:
    for name, content in {**SOURCES, **{key.replace("__", "/") + ".py": text for key, text in changed.items()}}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content)
    return root


def identity(
    root: Path, *, rooms: tuple[str, ...] = ("tasks.training",), inputs: dict[str, object] | None = None
) -> str:
    return stage_identity(
        "train", {"seed": 1} if inputs is None else inputs, rooms=rooms, libraries=["pytest"], root=root
    )


def test_equal_inputs_and_sources_give_the_equal_identity_wherever_they_lie(tmp_path: Path) -> None:
    assert identity(project(tmp_path / "a")) == identity(project(tmp_path / "b"))


def test_a_changed_input_changes_the_identity(tmp_path: Path) -> None:
    root = project(tmp_path)

    assert identity(root, inputs={"seed": 1}) != identity(root, inputs={"seed": 2})


def test_the_order_of_the_inputs_does_not_count(tmp_path: Path) -> None:
    root = project(tmp_path)

    assert identity(root, inputs={"a": 1, "b": 2}) == identity(root, inputs={"b": 2, "a": 1})


def test_a_touched_file_changes_nothing(tmp_path: Path) -> None:
    before, touched = project(tmp_path / "a"), project(tmp_path / "b")
    for file in touched.rglob("*.py"):
        os.utime(file, (1, 1))

    assert identity(before) == identity(touched)


def test_comments_and_layout_change_nothing(tmp_path: Path) -> None:
    reworded = project(tmp_path / "b", tasks__training__engine="# why\n" + SOURCES["tasks/training/engine.py"] + "\n\n")

    assert identity(project(tmp_path / "a")) == identity(reworded)


def test_code_of_the_room_changes_the_identity(tmp_path: Path) -> None:
    assert identity(project(tmp_path / "a")) != identity(project(tmp_path / "b", tasks__training__engine="X = 1\n"))


def test_code_of_an_imported_room_changes_the_identity(tmp_path: Path) -> None:
    assert identity(project(tmp_path / "a")) != identity(project(tmp_path / "b", tasks__data__loading="ROWS = 2\n"))


def test_code_of_a_room_that_is_not_used_changes_nothing(tmp_path: Path) -> None:
    assert identity(project(tmp_path / "a")) == identity(project(tmp_path / "b", tasks__models__worker="SLOTS = 2\n"))


def test_the_schema_changes_nothing_since_sections_come_by_value(tmp_path: Path) -> None:
    before, after = project(tmp_path / "a"), project(tmp_path / "b", configs__schema="DEFAULT = 2\n")

    assert identity(before, rooms=("tasks.reporting",)) == identity(after, rooms=("tasks.reporting",))


def test_rooms_named_as_worker_jobs_count_as_used(tmp_path: Path) -> None:
    used = rooms_used_by(["tasks.search"], root=project(tmp_path))

    assert used == {"tasks.search", "tasks.models", "tasks.training", "tasks.data"}


def test_prose_that_mentions_rooms_does_not_count_as_use(tmp_path: Path) -> None:
    assert rooms_used_by(["tasks.reporting"], root=project(tmp_path)) == {"tasks.reporting"}


def test_another_library_version_changes_the_identity(tmp_path: Path) -> None:
    root = project(tmp_path)

    with_pytest = stage_identity("train", {}, rooms=["tasks.data"], libraries=["pytest"], root=root)
    without = stage_identity("train", {}, rooms=["tasks.data"], libraries=["no-such-distribution"], root=root)

    assert with_pytest != without


def test_an_unknown_room_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"'tasks\.nothing' is not a room"):
        identity(project(tmp_path), rooms=("tasks.nothing",))


def test_the_rooms_of_this_repository_can_be_hashed() -> None:
    assert len(stage_identity("prepare", {}, rooms=["tasks.tracking"], libraries=["mlflow"])) == 64
