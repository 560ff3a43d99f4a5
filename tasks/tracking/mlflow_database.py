"""The database behind MLflow: made once, whole or not at all, and refused when it is not what it should be."""

from __future__ import annotations

import logging
import os
import urllib.error
import urllib.request
import uuid
from pathlib import Path

import mlflow
import sqlalchemy
from alembic.script import ScriptDirectory
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
from sqlalchemy.engine import URL, Engine, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError

from configs.errors import ServerError
from tasks.storage.durable import make_private_directory
from tasks.storage.faults import reach
from tasks.storage.locks import FileLocks, Locks

_ANSWER_TIMEOUT_SECONDS = 5.0
_CREATION_SECONDS = 120.0
"""How long to wait for another process that makes the tables."""
_DATABASES = ("sqlite", "postgresql", "mysql", "mssql")
_MIGRATION_LOGGERS = ("mlflow.store.db.utils", "alembic.runtime.migration", "alembic")


def prepare_store(tracking_uri: str, home: Path, *, locks: Locks | None = None) -> None:
    """Make sure that MLflow can work at `tracking_uri`: the server answers, or the database has the right schema.

    A missing or empty database is created once, under a lock (None: a file's in `home`), since processes that
    meet a fresh database at once break each other's migration. A SQLite file appears by rename, so a kill leaves no
    half of it.

    Raises:
        ServerError: the server doesn't answer, or the database is locked, damaged, another tool's, or of
            another schema than the installed MLflow.
    """
    if tracking_uri.startswith(("http://", "https://")):
        _ask_for_health(tracking_uri)
        return
    url = _database_url(tracking_uri)
    with (locks or FileLocks(home)).held("mlflow-database", wait_seconds=_CREATION_SECONDS):
        if not _is_there(url):
            _create_sqlite(url, home)
        if not _has_schema(url):
            _silent_store(tracking_uri, home)


def shown(tracking_uri: str) -> str:
    """The address without its password, fit for a message."""
    try:
        return make_url(tracking_uri).render_as_string(hide_password=True)
    except ArgumentError:
        return tracking_uri


def _ask_for_health(tracking_uri: str) -> None:
    try:
        with urllib.request.urlopen(f"{tracking_uri.rstrip('/')}/health", timeout=_ANSWER_TIMEOUT_SECONDS):
            return
    except urllib.error.HTTPError as error:
        if error.code < 500:
            return
        reason = f"HTTP status {error.code}"
    except (urllib.error.URLError, OSError) as error:
        reason = str(getattr(error, "reason", error))
    raise ServerError(
        f"the MLflow server at {shown(tracking_uri)} doesn't answer ({reason}); start it, "
        "correct MLFLOW_TRACKING_URI, or unset it to use the database in BURNISH_HOME"
    )


def _database_url(tracking_uri: str) -> URL:
    try:
        url = make_url(tracking_uri)
    except ArgumentError:
        url = None
    if url is None or url.get_backend_name() not in _DATABASES or not url.database:
        raise ServerError(
            f"MLFLOW_TRACKING_URI must be http://, https:// or a database ({', '.join(_DATABASES)}), "
            f"got {shown(tracking_uri)!r}; unset it to use the database in BURNISH_HOME"
        )
    return url


def _is_there(url: URL) -> bool:
    if url.get_backend_name() != "sqlite":
        return True
    path = Path(url.database or "")
    return path.is_file() and path.stat().st_size > 0


def _create_sqlite(url: URL, home: Path) -> None:
    path = Path(url.database or "")
    make_private_directory(path.parent)
    temporary = path.with_name(f".tmp-{path.name}-{uuid.uuid4().hex[:8]}")
    try:
        _silent_store(f"sqlite:///{temporary}", home)
        temporary.chmod(0o600)
        reach("mlflow-database:before-rename")
        temporary.replace(path)
        reach("mlflow-database:after-rename")
    except (DBAPIError, OSError) as error:
        raise _database_error(url, error) from error
    finally:
        temporary.unlink(missing_ok=True)


def _silent_store(tracking_uri: str, home: Path) -> None:
    """Let MLflow create its tables and its default experiment, without its log lines."""
    levels = {name: logging.getLogger(name).level for name in _MIGRATION_LOGGERS}
    for name in levels:
        logging.getLogger(name).setLevel(logging.WARNING)
    try:
        store = SqlAlchemyStore(tracking_uri, artifact_root(home))
        store.engine.dispose()
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)


def artifact_root(home: Path) -> str:
    """URI of the folder for artifacts when MLflow works on a database without a server."""
    return (home / "artifacts").as_uri()


def _has_schema(url: URL) -> bool:
    """True: the database has the installed MLflow's schema. False: it is empty. Anything else raises."""
    sqlite = url.get_backend_name() == "sqlite"
    arguments = {"timeout": _ANSWER_TIMEOUT_SECONDS} if sqlite else {}
    try:
        engine = sqlalchemy.create_engine(url, connect_args=arguments, poolclass=sqlalchemy.pool.NullPool)
    except (ImportError, NoSuchModuleError) as error:
        raise ServerError(
            f"the MLflow database {url.render_as_string(hide_password=True)} needs a driver that isn't installed "
            f"({error}); install it into this environment"
        ) from error
    try:
        version, tables = _schema(engine, try_write_lock=sqlite)
    except DBAPIError as error:
        raise _database_error(url, error) from error
    finally:
        engine.dispose()
    if not tables:
        return False
    migrations = ScriptDirectory(os.fspath(Path(mlflow.__file__).parent / "store" / "db_migrations"))
    if version == migrations.get_current_head():
        return True
    known = {revision.revision for revision in migrations.walk_revisions()}
    raise ServerError(_schema_message(url, version, older=version in known))


def _schema(engine: Engine, *, try_write_lock: bool) -> tuple[str | None, list[str]]:
    """Return the migration version and the table names; optionally prove that the database can be written."""
    with engine.connect() as connection:
        if try_write_lock:
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        tables = sqlalchemy.inspect(connection).get_table_names()
        version = None
        if "alembic_version" in tables:
            version = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()
    return version, tables


def _schema_message(url: URL, version: str | None, *, older: bool) -> str:
    address = url.render_as_string(hide_password=True)
    if older:
        return (
            f"the MLflow database {address} has the older schema {version} than MLflow {mlflow.__version__} needs; "
            f"back it up, then run: mlflow db upgrade '{address}'"
        )
    return (
        f"the database {address} has the schema {version}, which MLflow {mlflow.__version__} doesn't know: it comes "
        "from a newer MLflow or another tool; install that MLflow, or set MLFLOW_TRACKING_URI to a database of its own"
    )


def _database_error(url: URL, error: Exception) -> ServerError:
    reason = str(getattr(error, "orig", None) or error).splitlines()[0]
    remedy = "is it running, and may this user write it?"
    if "locked" in reason:
        remedy = "another program holds it; close that program and run the same command again"
    elif "not a database" in reason or "malformed" in reason:
        remedy = "the file is damaged; restore a backup, or move it away to start anew"
    return ServerError(f"can't use the MLflow database {url.render_as_string(hide_password=True)}: {reason}; {remedy}")
