import sqlite3
import threading

import pytest
from sqlalchemy.exc import OperationalError

from configs.errors import ServerError
from tasks.storage import optuna_database
from tasks.storage.optuna_database import database_errors, open_storage


def test_a_new_database_is_private(tmp_path):
    path = tmp_path / "home" / "optuna.db"

    open_storage(f"sqlite:///{path}")

    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700


def test_a_fresh_database_can_be_opened_by_several_at_once(memory_path):
    url, errors = f"sqlite:///{memory_path / 'optuna.db'}", []

    def opens():
        try:
            open_storage(url)
        except ServerError as error:
            errors.append(error)

    threads = [threading.Thread(target=opens) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert errors == []


def test_a_database_of_a_newer_optuna_is_refused(memory_path):
    path = memory_path / "optuna.db"
    open_storage(f"sqlite:///{path}")
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE alembic_version SET version_num = 'v99'")

    with pytest.raises(ServerError, match="doesn't fit the installed Optuna"):
        open_storage(f"sqlite:///{path}")


def test_the_database_of_another_program_is_refused_and_left_as_it_is(memory_path):
    path = memory_path / "mlflow.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE alembic_version (version_num TEXT)")

    with pytest.raises(ServerError, match="belongs to another program"):
        open_storage(f"sqlite:///{path}")

    with sqlite3.connect(path) as connection:
        assert connection.execute("SELECT name FROM sqlite_master").fetchall() == [("alembic_version",)]


def test_a_locked_database_is_one_message(memory_path, monkeypatch):
    monkeypatch.setattr(optuna_database, "_LOCK_TIMEOUT_SECONDS", 0.1)
    path = memory_path / "optuna.db"
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")

    with pytest.raises(ServerError, match="database is locked"):
        open_storage(f"sqlite:///{path}")

    other.close()


@pytest.mark.parametrize(
    ("content", "reason"), [(b"no database at all, but long enough to be read as one" * 40, "not a database")]
)
def test_a_damaged_file_is_one_message(memory_path, content, reason):
    path = memory_path / "optuna.db"
    path.write_bytes(content)

    with pytest.raises(ServerError, match=reason):
        open_storage(f"sqlite:///{path}")


def test_a_path_that_is_no_file_is_one_message(memory_path):
    with pytest.raises(ServerError, match="can't open the study database"):
        open_storage(f"sqlite:///{memory_path}")


@pytest.mark.parametrize("url", ["not a url", "nonsense://host/db"])
def test_a_url_that_cant_be_used_is_one_message(url):
    with pytest.raises(ServerError, match="BURNISH_STUDY_URL"):
        open_storage(url)


def test_messages_hide_the_password():
    error = OperationalError("SELECT 1", {}, Exception("connection refused"))

    with (
        pytest.raises(ServerError, match="connection refused") as raised,
        database_errors("postgresql://me:secret@host/optuna"),
    ):
        raise error

    assert "secret" not in str(raised.value)
