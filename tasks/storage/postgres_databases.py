"""The three databases of an installation on one Postgres server, made where they are missing."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from configs.errors import ServerError
from configs.settings import POSTGRES, Settings, databases_on

_CONNECT_TIMEOUT_SECONDS = 10
_MAKING = 4_773_610_311_094_002
"""Advisory lock: two processes that find a database missing would both make it."""


def prepare_databases(settings: Settings) -> list[str]:
    """Make the databases that are missing on the server of BURNISH_POSTGRES_URL, and return their names.

    Raises:
        ServerError: the server can't be reached, or its user may not make databases.
    """
    if settings.postgres_url is None:
        return []
    import psycopg
    from psycopg import sql

    server = urlsplit(settings.postgres_url)._replace(scheme="postgresql")
    wanted = [urlsplit(url).path.lstrip("/") for url in databases_on(settings.postgres_url)]
    address = server._replace(path=server.path if server.path.strip("/") else "/postgres").geturl()
    try:
        with psycopg.connect(address, autocommit=True, connect_timeout=_CONNECT_TIMEOUT_SECONDS) as connection:
            if not _missing(connection, wanted):
                return []
            connection.execute("SELECT pg_advisory_lock(%s)", [_MAKING])
            made = _missing(connection, wanted)
            for name in made:
                connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
            return made
    except (psycopg.OperationalError, psycopg.ProgrammingError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ServerError(
            f"the databases of {POSTGRES} can't be made: {reason}; start the server, correct the URL, let its user "
            f"make databases, or make {', '.join(wanted)} by hand"
        ) from error


def _missing(connection: Any, wanted: list[str]) -> list[str]:
    rows = connection.execute("SELECT datname FROM pg_database").fetchall()
    there = {row[0] for row in rows}
    return [name for name in wanted if name not in there]
