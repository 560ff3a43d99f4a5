"""Leases: one process works on a recipe at a time, and only so many fine-tune on this machine.

Only the holder of a recipe's lease closes what a dead process left open.
"""

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
    with _lock_file(path) as descriptor:
        if not _take(descriptor, recipe_name):
            raise LeaseHeld(_held_message(path, recipe_name))
        yield


@contextmanager
def training_slot(home: Path, recipe_name: str, *, slots: int) -> Iterator[None]:
    """Hold one of the machine's slots for fine-tunes for the block, freed by the kernel as a lease is.

    Raises:
        LeaseHeld: all are held; the message names who holds them.
    """
    folder = make_private_directory(home / "leases")
    paths = [folder / f".slot-{slot}.lock" for slot in range(slots)]
    for path in paths:
        with _lock_file(path) as descriptor:
            if _take(descriptor, recipe_name):
                yield
                return
    holders = ", ".join(_holder(path) for path in paths)
    raise LeaseHeld(f"waits for {holders}: this machine does {slots} fine-tune{'s' if slots > 1 else ''} at a time")


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


@contextmanager
def _lock_file(path: Path) -> Iterator[int]:
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StorageError(f"can't open the lease {path}: {error.strerror}; is BURNISH_HOME writable?") from error
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _take(descriptor: int, recipe_name: str) -> bool:
    """Lock the file and write down who holds it; False if another process does."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    holder = {"pid": os.getpid(), "since": datetime.now(UTC).isoformat(timespec="seconds"), "recipe": recipe_name}
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, json.dumps(holder).encode(), 0)
    return True


def _holder(path: Path) -> str:
    try:
        holder = json.loads(path.read_text(encoding="utf-8"))
        return f"process {holder['pid']} ({holder['recipe']}, since {holder['since']})"
    except (OSError, ValueError, KeyError):
        return "another process"


def _held_message(path: Path, recipe_name: str) -> str:
    who = _holder(path)
    return f"recipe {recipe_name!r} is being worked on by {who}; wait for it, or stop it and run the same command again"
