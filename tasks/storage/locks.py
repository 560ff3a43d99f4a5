"""Locks between processes: one interface, over files for one machine and over Postgres for a team's.

Whatever must not be done twice at once takes its lock here. A lock is freed when its holder dies, however it dies.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import socket
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from configs.errors import LeaseHeld, StorageError
from tasks.storage.durable import make_private_directory

if TYPE_CHECKING:
    from configs.settings import Settings

_NAME = re.compile(r"[a-z]+-[A-Za-z0-9_.-]{1,100}")
POLL_SECONDS = 0.2


class Lock(Protocol):
    """A lock that is held."""

    def check(self) -> None:
        """Make sure that it still is; regain it if it was lost and nobody had it meanwhile.

        Raises:
            LeaseLost: another process has, or may have had it.
        """


class Locks(Protocol):
    """The locks of one installation, by name: `recipe-<name>`, `aliases-<name>`, `home-…`."""

    def held(self, name: str, *, wait_seconds: float = 0.0) -> AbstractContextManager[Lock]:
        """Hold a lock for the block.

        Raises:
            LeaseHeld: another process has had it all the time; the message begins with who and since when.
            ServerError: the database can't be reached.
        """

    def is_held(self, name: str) -> bool:
        """Whether a process holds it now."""


def locks_of(settings: Settings) -> Locks:
    """Return the installation's locks: in Postgres where a team shares one, else in files of its home."""
    if settings.lock_database is None:
        return FileLocks(settings.home)
    from tasks.storage.postgres_locks import PostgresLocks

    return PostgresLocks(settings.lock_database)


def this_process() -> str:
    """Say who we are to those who find a lock taken."""
    return f"process {os.getpid()} on {socket.gethostname()}"


def check_name(name: str) -> str:
    """Return a lock's name, which becomes a file's.

    Raises:
        ValueError: it has another form.
    """
    if not _NAME.fullmatch(name):
        raise ValueError(f"a lock is named <kind>-<name>, got {name!r}")
    return name


class FileLocks:
    """Locks of one machine: the kernel frees them when their holder dies."""

    def __init__(self, home: Path) -> None:
        self._folder = home / "locks"

    @contextmanager
    def held(self, name: str, *, wait_seconds: float = 0.0, holder: str | None = None) -> Iterator[Lock]:
        """See `Locks`; `holder` says who has it, if not just this process."""
        path = make_private_directory(self._folder) / f"{check_name(name)}.lock"
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StorageError(f"can't open the lock {path}: {error.strerror}; is BURNISH_HOME writable?") from error
        try:
            deadline = time.monotonic() + wait_seconds
            while not _try_lock(descriptor):
                if time.monotonic() >= deadline:
                    raise LeaseHeld(_holder(path))
                time.sleep(POLL_SECONDS)
            os.ftruncate(descriptor, 0)
            about = {"holder": holder or this_process(), "since": datetime.now(UTC).isoformat(timespec="seconds")}
            os.pwrite(descriptor, json.dumps(about).encode(), 0)
            yield _FileLock()
        finally:
            os.close(descriptor)

    def is_held(self, name: str) -> bool:
        """See `Locks`."""
        try:
            descriptor = os.open(self._folder / f"{check_name(name)}.lock", os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            return not _try_lock(descriptor)
        finally:
            os.close(descriptor)

    def holders(self, prefix: str) -> list[str]:
        """Say who holds each of the locks whose names begin so, and since when."""
        paths = sorted(self._folder.glob(f"{prefix}*.lock"))
        return [_holder(path) for path in paths if self.is_held(path.stem)]


class _FileLock:
    def check(self) -> None:
        """A file's lock is ours until we close it."""


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _holder(path: Path) -> str:
    try:
        holder = json.loads(path.read_text(encoding="utf-8"))
        return f"{holder['holder']} since {holder['since']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"
