"""The lease: one process works on a recipe at a time, and only its holder closes what a dead one left open."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from configs.errors import LeaseHeld, StorageError
from tasks.storage.durable import make_private_directory


@contextmanager
def recipe_lease(home: Path, recipe_name: str) -> Iterator[None]:
    """Hold the lease of a recipe for the block. The kernel frees it when the holder dies, however it dies.

    Raises:
        LeaseHeld: another process holds it; the message names its pid and since when.
    """
    path = make_private_directory(home / "leases") / f"{recipe_name}.lock"
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StorageError(f"can't open the lease {path}: {error.strerror}; is BURNISH_HOME writable?") from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise LeaseHeld(_held_message(path, recipe_name)) from error
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps({"pid": os.getpid(), "since": datetime.now(UTC).isoformat()}).encode(), 0)
        yield
    finally:
        os.close(descriptor)


def is_held(home: Path, recipe_name: str) -> bool:
    """Whether a process works on the recipe now."""
    try:
        descriptor = os.open(home / "leases" / f"{recipe_name}.lock", os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


@contextmanager
def home_in_use(home: Path, *, when_alone: Callable[[], object]) -> Iterator[None]:
    """Tell other processes that this home is at work; `when_alone` is called first if no other process is.

    What a dead process left behind may be swept away only then: to one recipe another one's half-written
    directories look the same.
    """
    path = make_private_directory(home / "leases") / ".home.lock"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            when_alone()
        except BlockingIOError:
            pass  # another recipe is at work here; the next command that is alone sweeps
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        yield
    finally:
        os.close(descriptor)


def _held_message(path: Path, recipe_name: str) -> str:
    try:
        holder = json.loads(path.read_text(encoding="utf-8"))
        who = f"process {holder['pid']} since {holder['since']}"
    except (OSError, ValueError, KeyError):
        who = "another process"
    return f"recipe {recipe_name!r} is being worked on by {who}; wait for it, or stop it and run the same command again"
