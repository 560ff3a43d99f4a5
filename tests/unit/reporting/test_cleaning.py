import os
from pathlib import Path

import pytest

from tasks.reporting.cleaning import Stored, _remove, choose_removals


def stored(name: str, *, size: int = 10, days: float = 0.0, needed: bool = False) -> Stored:
    return Stored(Path(name), size, days, needed)


def names(removed: list[Stored]) -> list[str]:
    return [each.path.name for each in removed]


def test_what_is_older_than_the_time_to_keep_goes_unless_it_is_needed() -> None:
    found = [stored("old", days=31), stored("young", days=29), stored("needed", days=900, needed=True)]

    assert names(choose_removals(found, keep_days=30, max_bytes=None)) == ["old"]


@pytest.mark.parametrize(
    ("max_bytes", "removed"), [(40, []), (39, ["third"]), (20, ["third", "second"]), (0, ["third", "second", "first"])]
)
def test_the_oldest_go_until_the_bound_is_kept(max_bytes: int, removed: list[str]) -> None:
    found = [
        stored("first", days=1), stored("third", days=3), stored("second", days=2),
        stored("needed", days=9, needed=True),
    ]  # fmt: skip

    assert names(choose_removals(found, keep_days=30, max_bytes=max_bytes)) == removed


def test_a_kill_in_the_middle_leaves_no_directory_that_looks_valid(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tasks.storage import durable
    from tasks.storage.durable import is_valid_directory, new_directory

    with new_directory(tmp_path / "d") as folder:
        (folder / "a.txt").write_text("content")
    monkeypatch.setattr("shutil.rmtree", lambda path: os.kill)

    _remove(tmp_path / "d")

    assert not (tmp_path / "d" / durable.MANIFEST).exists()
    assert not is_valid_directory(tmp_path / "d")
