import os
from pathlib import Path

import pytest

from configs.settings import settings_from
from tasks.reporting.cleaning import Cleaning, Held, Stored, _remove, choose_removals, clean, held_in, what_stays


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


def test_everything_in_a_home_counts(tmp_path: Path) -> None:
    for name, size in {"artifacts/1/a": 300, "mlflow.db": 200, "snapshots/d/records": 50, "snapshots/note": 7}.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x" * size)

    held = held_in(tmp_path, besides=[tmp_path / "snapshots" / "d"])

    assert [(each.name, each.size_bytes) for each in held] == [("artifacts", 300), ("mlflow.db", 200), ("snapshots", 7)]


def test_what_stays_is_listed_with_its_reason(tmp_path: Path) -> None:
    kept = (
        stored(str(tmp_path / "bases" / "a"), size=3 * 1024**2, needed=True),
        stored(str(tmp_path / "bases" / "b"), size=1024**2),
        stored(str(tmp_path / "quarantine" / "c"), size=1024**2),
    )
    held = (Held("mlflow.db", 2 * 1024**2), Held("bases", 5 * 1024**2), Held("locks", 10))

    lines = list(what_stays(Cleaning((), kept, held, 0, 0), tmp_path))

    assert lines == [
        "bases  4.0 MiB, 1 needed by a version, or by a newest or unfinished run; 1 not old enough",
        "quarantine  1.0 MiB, 1 not old enough",
        "mlflow.db  2.0 MiB, MLflow's runs; delete them in its UI, then `mlflow gc`",
        "bases  5.0 MiB, in use, or left half done by a killed run; the next one tidies up",
    ]


def test_the_bound_is_of_the_whole_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What MLflow keeps can't go, so more of the rest does; what is left over the bound is told."""
    home = tmp_path / "home"
    stale = home / "answers" / ("f" * 64)
    for path, size in {stale / "answers.parquet": 600_000, home / "artifacts" / "a": 900_000}.items():
        path.parent.mkdir(parents=True)
        path.write_bytes(b"x" * size)
    monkeypatch.setattr("tasks.reporting.cleaning.needed_names", lambda tracker: set())
    monkeypatch.setattr("tasks.tracking.recipe_run.tracker_at", lambda settings: None)
    settings = settings_from({"BURNISH_HOME": str(home)}, project_root=tmp_path)

    done = clean(settings, keep_days=30, max_gib=800_000 / 1024**3, dry_run=False)

    assert [each.path for each in done.removed] == [stale]
    assert not stale.exists()
    assert done.kept_bytes >= 900_000
    assert done.over_bytes == done.kept_bytes - 800_000
    assert done.held[0].name == "artifacts"
