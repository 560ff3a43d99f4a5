from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from configs.errors import DataError, StorageError
from configs.loading import parse_recipe
from configs.schema import Recipe
from configs.settings import Settings, settings_from
from tasks.monitoring.source_watch import Look, look_at_source, remember


class Watched:
    """A recipe with a JSONL source, and its watcher."""

    def __init__(self, root: Path, *, settle_seconds: float = 0.0) -> None:
        self.root, self.file = root, root / "rows.jsonl"
        self.recipe: Recipe = parse_recipe(
            {
                "name": "tickets",
                "base": {"kind": "tiny"},
                "data": {"source": {"kind": "file", "path": "rows.jsonl"}},
                "retraining": {"settle_seconds": settle_seconds},
            },
            source="test",
        )
        self.settings: Settings = settings_from({}, project_root=root)
        self.pauses: list[float] = []
        self.file.write_text("{}\n")

    def append(self, count: int = 1) -> None:
        with self.file.open("a") as file:
            file.write(json.dumps({"prompt": "x"}) + "\n" * count)

    def look(self, *, keep: bool = True) -> Look:
        found = look_at_source(self.recipe, self.settings, project_root=self.root, pause=self.pauses.append)
        if keep:
            remember(found.seen, self.recipe, self.settings)
        return found


@pytest.fixture
def watched(tmp_path: Path) -> Watched:
    return Watched(tmp_path)


def test_the_first_look_only_remembers(watched: Watched) -> None:
    assert watched.look().outcome == "first look"
    assert watched.look().outcome == "unchanged"


def test_ten_writes_between_two_looks_are_one_change(watched: Watched) -> None:
    watched.look()
    for _ in range(10):
        watched.append()

    first, second = watched.look(), watched.look()

    assert (first.outcome, first.seen.changes) == ("changed", 1)
    assert second.outcome == "unchanged"


def test_a_touched_file_is_no_change(watched: Watched) -> None:
    watched.look()
    os.utime(watched.file, (1.0, 1.0))

    assert watched.look().outcome == "unchanged"


def test_a_look_that_nobody_heard_of_is_repeated_with_the_same_number(watched: Watched) -> None:
    watched.look()
    watched.append()

    assert watched.look(keep=False) == watched.look(keep=False)


def test_a_change_back_is_a_change_of_its_own(watched: Watched) -> None:
    watched.look()
    before = watched.file.read_text()
    watched.append()
    watched.look()
    watched.file.write_text(before)

    assert watched.look().seen.changes == 2


def test_a_file_that_is_being_written_is_waited_for(tmp_path: Path) -> None:
    watched = Watched(tmp_path, settle_seconds=60.0)

    with pytest.raises(DataError, match="written all the time"):
        watched.look()

    assert 1 <= len(watched.pauses) <= 3


def test_a_settled_file_is_read_at_once(tmp_path: Path) -> None:
    watched = Watched(tmp_path, settle_seconds=0.0)
    watched.look()

    assert watched.pauses == []


def test_a_missing_source_is_an_error_and_forgets_nothing(watched: Watched) -> None:
    watched.look()
    content = watched.file.read_text()
    watched.file.unlink()

    with pytest.raises(DataError, match=r"data\.source\.path"):
        watched.look()

    watched.file.write_text(content)
    assert watched.look().outcome == "unchanged"


def test_damaged_memory_is_told_with_what_to_do(watched: Watched) -> None:
    watched.look()
    (watched.settings.watched / "tickets.json").write_text("{")

    with pytest.raises(StorageError, match="delete it"):
        watched.look()
