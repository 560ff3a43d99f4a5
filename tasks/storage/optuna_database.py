"""The database behind Optuna: made private, refused when it is another tool's, its errors said to a person."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import sqlalchemy
from filelock import FileLock
from optuna.exceptions import StorageInternalError
from optuna.storages import RDBStorage
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from configs.errors import ServerError
from tasks.storage.durable import make_private_directory
from tasks.storage.postgres_locks import PostgresLocks

_CREATION_SECONDS = 120.0
"""How long to wait for another process that makes the tables."""
_RECONNECT_SECONDS, _RETRY_SECONDS = 120.0, 0.5
_LOCK_TIMEOUT_SECONDS = 20.0
"""How long SQLite waits for another process's write, such as a study of another recipe."""


def open_storage(study_url: str) -> RDBStorage:
    """Open the database, making a SQLite file of mode 0600 where there is none.

    Raises:
        ServerError: it can't be reached, is locked, is another tool's, or is of another schema.
    """
    url = _parsed(study_url)
    is_file = url.get_backend_name() == "sqlite" and url.database not in (None, "", ":memory:")
    with ExitStack() as stack:
        stack.enter_context(database_errors(study_url))
        if is_file and url.database is not None:
            # Two processes that meet a fresh database would both create its tables, and one would fail.
            stack.enter_context(_sole_creator(Path(url.database)))
        elif url.get_backend_name() == "postgresql":
            stack.enter_context(PostgresLocks(study_url).held("optuna-database", wait_seconds=_CREATION_SECONDS))
        _refuse_foreign_database(url)
        try:
            storage = RDBStorage(study_url, engine_kwargs=_engine_arguments(url))
        except (RuntimeError, ImportError) as error:
            raise ServerError(
                f"the study database at {_shown(study_url)} doesn't fit the installed Optuna: {error}"
            ) from error
        if url.get_backend_name() == "postgresql":
            sqlalchemy.event.listen(storage.engine, "do_connect", _connect_patiently)
        return storage


def open_to_read(study_url: str) -> RDBStorage:
    """Open the database for somebody who watches: what tries to write fails, and a SQLite file is never made.

    Raises:
        ServerError: it isn't there or can't be read.
    """
    url = _parsed(study_url)
    is_file = url.get_backend_name() == "sqlite"
    if is_file:
        if not Path(url.database or "").is_file():
            raise ServerError(f"there is no study database at {_shown(study_url)} yet; the first search makes it")
        read_only = f"sqlite:///file:{quote(str(url.database))}?mode=ro&uri=true"
        arguments = _engine_arguments(url)
    else:
        read_only = study_url
        arguments = {**_engine_arguments(url), "connect_args": {"options": "-c default_transaction_read_only=on"}}
    with database_errors(study_url):
        return RDBStorage(read_only, engine_kwargs=arguments, skip_table_creation=True)


def _connect_patiently(dialect: Any, record: Any, arguments: list[Any], options: dict[str, Any]) -> Any:
    """Connect again to a server that restarts, instead of ending hours of search."""
    deadline = time.monotonic() + _RECONNECT_SECONDS
    while True:
        try:
            return dialect.connect(*arguments, **options)
        except dialect.loaded_dbapi.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(_RETRY_SECONDS)


@contextmanager
def database_errors(study_url: str) -> Iterator[None]:
    """Turn the errors of the database into one message for a person.

    Raises:
        ServerError: the database failed inside the block.
    """
    try:
        yield
    except (SQLAlchemyError, StorageInternalError) as error:
        cause = error.__cause__ if isinstance(error, StorageInternalError) and error.__cause__ else error
        reason = str(getattr(cause, "orig", None) or cause).splitlines()[0]
        raise ServerError(
            f"the study database at {_shown(study_url)} failed: {reason}; it must be reachable, writable, not locked "
            "by another program, and Optuna's own: see to that, or correct BURNISH_STUDY_URL (unset: a file in "
            "BURNISH_HOME), and run the same command again"
        ) from error


def _parsed(study_url: str) -> URL:
    try:
        return make_url(study_url)
    except ArgumentError as error:
        raise ServerError(
            "BURNISH_STUDY_URL must be an SQLAlchemy URL such as sqlite:////data/optuna.db or "
            "postgresql+psycopg2://user@host/optuna; what is set can't be read as one"
        ) from error


@contextmanager
def _sole_creator(path: Path) -> Iterator[None]:
    make_private_directory(path.parent)
    try:
        with FileLock(path.with_name(f"{path.name}.lock"), mode=0o600):
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600))
            yield
    except OSError as error:
        raise ServerError(f"can't open the study database {path}: {error.strerror or error}") from error


def _refuse_foreign_database(url: URL) -> None:
    """Refuse before any table is made: Optuna's migrations share a table name with those of MLflow and Prefect."""
    engine = sqlalchemy.create_engine(url, **_engine_arguments(url))
    try:
        tables = set(sqlalchemy.inspect(engine).get_table_names())
    finally:
        engine.dispose()
    if "alembic_version" in tables and "version_info" not in tables:
        raise ServerError(
            f"the database at {url.render_as_string(hide_password=True)} belongs to another program, such as MLflow or "
            "Prefect; give Optuna one of its own with BURNISH_STUDY_URL"
        )


def _engine_arguments(url: URL) -> dict[str, Any]:
    if url.get_backend_name() == "sqlite":
        return {"connect_args": {"timeout": _LOCK_TIMEOUT_SECONDS}}
    return {"pool_pre_ping": True}  # a connection that ended since its last use is made anew


def _shown(study_url: str) -> str:
    return _parsed(study_url).render_as_string(hide_password=True)
