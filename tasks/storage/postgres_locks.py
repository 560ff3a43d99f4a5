"""Locks that a team's machines share: Postgres advisory locks, freed when the holder's connection ends.

A row for each lock says who took it last and how often it was taken. A holder whose connection ended (a restart of the
server, a cut line) takes the lock again, and knows by that count whether another process had it meanwhile.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from configs.errors import LeaseHeld, LeaseLost, ServerError
from tasks.storage.locks import POLL_SECONDS, Lock, check_name, this_process

_CONNECT_TIMEOUT_SECONDS = 10
_REGAIN_SECONDS = 120.0
"""How long a holder tries to come back after its connection ended, such as while the server restarts."""
_TABLE = """
CREATE TABLE IF NOT EXISTS burnish_locks (
    name text PRIMARY KEY, taken bigint NOT NULL, holder text NOT NULL, since timestamptz NOT NULL
)"""
_TABLE_LOCK = 4_773_610_311_094_001
"""Two processes that create one table at once would disturb each other."""
_IS_HELD = """
SELECT 1 FROM pg_locks JOIN pg_database ON pg_database.oid = pg_locks.database
WHERE locktype = 'advisory' AND datname = current_database() AND classid = %s AND objid = %s AND objsubid = 1"""
_KEEP_ALIVE: dict[str, Any] = {"keepalives": 1, "keepalives_idle": 30, "keepalives_interval": 10, "keepalives_count": 3}
"""A line that was cut without a word is noticed in a minute, on both sides."""


class PostgresLocks:
    """Locks in one Postgres database. Not through a pooler that shares sessions: a lock belongs to its session."""

    def __init__(self, url: str) -> None:
        self._url = url.replace("postgresql+psycopg://", "postgresql://", 1)

    @contextmanager
    def held(self, name: str, *, wait_seconds: float = 0.0) -> Iterator[Lock]:
        """See `Locks`."""
        lock = _PostgresLock(self, check_name(name))
        try:
            lock.take(wait_seconds)
            yield lock
        finally:
            lock.close()

    def is_held(self, name: str) -> bool:
        """See `Locks`."""
        import psycopg

        key = lock_key(check_name(name)).to_bytes(8, "big", signed=True)
        halves = [int.from_bytes(half, "big") for half in (key[:4], key[4:])]
        try:
            with self.connect() as connection:
                return connection.execute(_IS_HELD, halves).fetchone() is not None
        except psycopg.OperationalError as error:
            raise self.unreachable(error) from error

    def connect(self) -> Any:
        """Open a session of its own.

        Raises:
            psycopg.OperationalError: the server can't be reached.
        """
        import psycopg

        connection = psycopg.connect(
            self._url, autocommit=True, connect_timeout=_CONNECT_TIMEOUT_SECONDS,
            application_name="burnish lock", **_KEEP_ALIVE,
        )  # fmt: skip
        for setting, value in (("idle", 30), ("interval", 10), ("count", 3)):
            connection.execute(f"SET tcp_keepalives_{setting} = {value}")
        return connection

    def unreachable(self, error: Exception) -> ServerError:
        """The error for a person, without the password that the URL may hold."""
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        return ServerError(
            f"the lock database can't be used: {reason}; start it, or correct BURNISH_POSTGRES_URL (or "
            "BURNISH_STUDY_URL), and run the same command again"
        )


def lock_key(name: str) -> int:
    """Return the 64 bits by which Postgres knows a lock."""
    return int.from_bytes(hashlib.sha256(f"burnish\0{name}".encode()).digest()[:8], "big", signed=True)


class _PostgresLock:
    """One lock, held through a session of its own."""

    def __init__(self, locks: PostgresLocks, name: str) -> None:
        self._locks, self._name = locks, name
        self._connection: Any = None
        self._taken = 0
        self._one_at_a_time = threading.Lock()

    def take(self, wait_seconds: float) -> None:
        """Take the lock, waiting for it so long, and write down who has it."""
        import psycopg

        deadline = time.monotonic() + wait_seconds
        try:
            while not self.try_take():
                if time.monotonic() >= deadline:
                    raise LeaseHeld(self._holder())
                time.sleep(POLL_SECONDS)
            self._make_table()
            self._taken = self._write_holder()
        except psycopg.OperationalError as error:
            raise self._locks.unreachable(error) from error

    def try_take(self) -> bool:
        """Ask once for the lock, over a session that is opened if need be."""
        if self._connection is None:
            self._connection = self._locks.connect()
        answer = self._connection.execute("SELECT pg_try_advisory_lock(%s)", [lock_key(self._name)]).fetchone()
        return bool(answer[0])

    def check(self) -> None:
        """See `Lock`: a session that answers still has its locks."""
        import psycopg

        with self._one_at_a_time:
            try:
                if self._connection is not None:
                    self._connection.execute("SELECT 1")
                    return
            except psycopg.OperationalError:
                pass
            self._regain()

    def close(self) -> None:
        """End the session, and with it the lock."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _regain(self) -> None:
        import psycopg

        deadline = time.monotonic() + _REGAIN_SECONDS
        reason = "the database does not answer"
        while time.monotonic() < deadline:
            self.close()
            try:
                # the server may not have noticed yet that our earlier session is dead
                if self.try_take():
                    if self._count() != self._taken:
                        self.close()
                        reason = "another process had it meanwhile"
                        break
                    return
                reason = f"it is held by {self._holder()}"
                if self._count() != self._taken:
                    break
            except psycopg.OperationalError:
                pass
            time.sleep(POLL_SECONDS)
        self.close()
        raise LeaseLost(
            f"the lock {self._name!r} was lost with its connection to the database, and {reason}; nothing more is "
            "written; run the same command again"
        )

    def _make_table(self) -> None:
        with self._connection.transaction():
            self._connection.execute("SELECT pg_advisory_xact_lock(%s)", [_TABLE_LOCK])
            self._connection.execute(_TABLE)

    def _write_holder(self) -> int:
        """Write down who has the lock and return how often it was taken by now."""
        row = self._connection.execute(
            "INSERT INTO burnish_locks AS lock VALUES (%s, 1, %s, now()) ON CONFLICT (name) DO UPDATE "
            "SET taken = lock.taken + 1, holder = excluded.holder, since = excluded.since RETURNING taken",
            [self._name, this_process()],
        ).fetchone()
        return int(row[0])

    def _count(self) -> int:
        row = self._connection.execute("SELECT taken FROM burnish_locks WHERE name = %s", [self._name]).fetchone()
        return int(row[0]) if row else 0

    def _holder(self) -> str:
        import psycopg

        try:
            row = self._connection.execute(
                "SELECT holder, to_char(since AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"+00:00\"') "
                "FROM burnish_locks WHERE name = %s",
                [self._name],
            ).fetchone()
        except psycopg.errors.UndefinedTable:
            row = None  # its holder is just about to write it
        return f"{row[0]} since {row[1]}" if row else "another process"
