from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from configs.errors import ServerError
from tasks.tracking.mlflow_database import prepare_store
from tasks.tracking.mlflow_runs import Tracker

PROJECT = Path(__file__).parents[3]
OPEN = """
import sys
from pathlib import Path
from tasks.tracking.mlflow_runs import Tracker
home = Path(sys.argv[1])
Tracker(f"sqlite:///{home / 'mlflow.db'}", home).experiment(sys.argv[2])
"""


def open_in_another_process(home: Path, experiment: str, **environment: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", OPEN, str(home), experiment],
        cwd=PROJECT,
        env={**os.environ, **environment},
        stderr=subprocess.PIPE,
    )


def uri(home: Path) -> str:
    return f"sqlite:///{home / 'mlflow.db'}"


def set_schema_version(home: Path, version: str) -> None:
    with sqlite3.connect(home / "mlflow.db") as connection:
        connection.execute("UPDATE alembic_version SET version_num = ?", (version,))


def test_processes_that_meet_a_fresh_database_at_once_all_succeed(tmp_path: Path) -> None:
    names = ["a", "b", "c"]
    processes = [open_in_another_process(tmp_path, name) for name in names]

    errors = [process.communicate()[1].decode() for process in processes]

    assert [process.returncode for process in processes] == [0, 0, 0], errors
    experiments = Tracker(uri(tmp_path), tmp_path).client.search_experiments()
    assert {*names} <= {experiment.name for experiment in experiments}


def test_a_kill_while_the_database_is_made_leaves_none_and_the_next_process_makes_it(tmp_path: Path) -> None:
    killed = open_in_another_process(tmp_path, "fresh", BURNISH_KILL_AT="mlflow-database:before-rename")
    killed.communicate()
    assert killed.returncode == -signal.SIGKILL
    assert not (tmp_path / "mlflow.db").exists()

    tracker = Tracker(uri(tmp_path), tmp_path)

    assert tracker.experiment("fresh")


def test_the_database_is_private(tmp_path: Path) -> None:
    prepare_store(uri(tmp_path), tmp_path)

    assert stat.S_IMODE((tmp_path / "mlflow.db").stat().st_mode) == 0o600


def test_a_locked_database_is_named_as_such(mlflow_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.tracking.mlflow_database._ANSWER_TIMEOUT_SECONDS", 0.1)
    holder = sqlite3.connect(mlflow_home / "mlflow.db", isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")

    with pytest.raises(ServerError, match=r"mlflow\.db: database is locked; another program holds it"):
        prepare_store(uri(mlflow_home), mlflow_home)


def test_a_newer_schema_is_named_as_such(mlflow_home: Path) -> None:
    set_schema_version(mlflow_home, "feedfeedfeed")

    with pytest.raises(ServerError, match=r"schema feedfeedfeed, which MLflow [\d.]+ doesn't know"):
        prepare_store(uri(mlflow_home), mlflow_home)


def test_an_older_schema_is_answered_with_the_command_that_upgrades_it(mlflow_home: Path) -> None:
    set_schema_version(mlflow_home, "451aebb31d03")

    with pytest.raises(ServerError, match=r"older schema 451aebb31d03 .* mlflow db upgrade 'sqlite"):
        prepare_store(uri(mlflow_home), mlflow_home)


def test_a_database_of_another_tool_is_left_untouched(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "mlflow.db") as connection:
        connection.execute("CREATE TABLE studies (study_id INTEGER)")
    before = (tmp_path / "mlflow.db").read_bytes()

    with pytest.raises(ServerError, match="comes from a newer MLflow or another tool"):
        prepare_store(uri(tmp_path), tmp_path)

    assert (tmp_path / "mlflow.db").read_bytes() == before


def test_a_file_that_is_no_database_is_named_as_damaged(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").write_bytes(b"not a database at all" * 100)

    with pytest.raises(ServerError, match="the file is damaged"):
        prepare_store(uri(tmp_path), tmp_path)


def test_a_server_that_is_not_there_is_named_with_its_address(tmp_path: Path) -> None:
    with pytest.raises(ServerError, match=r"http://127\.0\.0\.1:9 doesn't answer"):
        prepare_store("http://127.0.0.1:9", tmp_path)


@pytest.mark.parametrize("address", ["./mlruns", "file:///tmp/mlruns", "sqlite://", "databricks", ""])
def test_an_address_that_can_not_hold_runs_and_a_registry_is_refused(tmp_path: Path, address: str) -> None:
    with pytest.raises(ServerError, match="MLFLOW_TRACKING_URI must be"):
        prepare_store(address, tmp_path)


def test_a_password_never_stands_in_a_message(tmp_path: Path) -> None:
    with pytest.raises(ServerError) as raised:
        prepare_store("postgresql://burnish:hunter2@127.0.0.1:9/mlflow", tmp_path)

    assert "hunter2" not in str(raised.value)


def test_a_copied_home_is_accepted_as_it_is(mlflow_home: Path, tmp_path: Path) -> None:
    copied = shutil.copytree(mlflow_home, tmp_path / "copy")

    assert Tracker(uri(copied), copied).experiment("any")
