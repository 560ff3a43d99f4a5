"""The two servers as uvicorn starts them (`uvicorn --factory tasks.servers.guarded_apps:mlflow`), each guarded.

MLflow's own `mlflow server` does the same in two processes, of which the first only waits: 200 MB for nothing.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from configs.servers import LOOPBACK_NAMES, ServerSettings, server_settings_from
from tasks.servers.exposure import AUTH_CONFIG
from tasks.servers.request_guard import RequestGuard

_ASSISTANT = "/mlflow/assistant"
"""MLflow's assistant runs shell commands for whoever asks from this machine."""


def mlflow() -> RequestGuard:
    """MLflow's tracking server on the database and artifact folder of this installation."""
    import mlflow.server.constants as names

    os.environ[names.BACKEND_STORE_URI_ENV_VAR] = os.environ["MLFLOW_BACKEND_STORE_URI"]
    os.environ[names.REGISTRY_STORE_URI_ENV_VAR] = os.environ["MLFLOW_BACKEND_STORE_URI"]
    os.environ[names.ARTIFACT_ROOT_ENV_VAR] = os.environ["MLFLOW_DEFAULT_ARTIFACT_ROOT"]
    from mlflow.server.handlers import initialize_backend_stores

    initialize_backend_stores(
        os.environ["MLFLOW_BACKEND_STORE_URI"],
        os.environ["MLFLOW_BACKEND_STORE_URI"],
        os.environ["MLFLOW_DEFAULT_ARTIFACT_ROOT"],
    )
    return RequestGuard(_mlflow_app(), names=_names(server_settings_from()), closed_paths=[_ASSISTANT])


def prefect() -> RequestGuard:
    """Prefect's server with its UI, on the database below `PREFECT_HOME`."""
    from prefect.server.api.server import create_app

    _let_sqlite_writers_wait()
    return RequestGuard(create_app(), names=_names(server_settings_from()))


def _let_sqlite_writers_wait() -> None:
    """Take the write lock at the beginning of each transaction of Prefect's server, for which SQLite waits.

    Prefect begins to read and writes later, which SQLite refuses at once ("database is locked") when somebody wrote in
    between. The event at hand is tried three times more, at once, and then lost: a retrain would not start.
    """
    from prefect.server.database.configurations import SQLITE_BEGIN_MODE, AioSqliteConfiguration

    @asynccontextmanager
    async def begin_with_the_lock(_: object, session: Any, with_for_update: bool = False) -> AsyncIterator[Any]:
        token = SQLITE_BEGIN_MODE.set("IMMEDIATE")
        try:
            async with session.begin() as transaction:
                await session.connection()  # begins now
                SQLITE_BEGIN_MODE.set("DEFERRED")  # a session that is opened inside would wait for this one
                yield transaction
        finally:
            SQLITE_BEGIN_MODE.reset(token)

    AioSqliteConfiguration.begin_transaction = begin_with_the_lock


def _mlflow_app() -> Any:
    """MLflow's application; where its basic-auth configuration is set, the one that asks for a password."""
    if os.environ.get(AUTH_CONFIG):
        os.environ["_MLFLOW_SGI_NAME"] = "uvicorn"  # as `mlflow server` does; else only a part of it is made
        from mlflow.server.auth import create_app

        return create_app()
    from mlflow.server.fastapi_app import app

    return app


def _names(settings: ServerSettings) -> tuple[str, ...]:
    return (*LOOPBACK_NAMES, settings.host, *settings.allowed_hosts)
