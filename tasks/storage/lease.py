"""Leases: one process works on a recipe at a time, and only so many fine-tune on this machine.

Only the holder of a recipe's lease closes what a dead process left open.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from configs.errors import LeaseHeld
from tasks.storage.durable import make_private_directory
from tasks.storage.locks import FileLocks, Lock, Locks, this_process

_mine: dict[str, Lock] = {}
"""The leases that this process holds, by recipe."""
_SLOT = "slot-"


@contextmanager
def recipe_lease(locks: Locks, recipe_name: str) -> Iterator[None]:
    """Hold the lease of a recipe for the block. It is freed when the holder dies, however it dies.

    Raises:
        LeaseHeld: another process holds it; the message names it and since when.
    """
    with ExitStack() as stack:
        try:
            _mine[recipe_name] = stack.enter_context(locks.held(f"recipe-{recipe_name}"))
        except LeaseHeld as error:
            raise LeaseHeld(
                f"recipe {recipe_name!r} is being worked on by {error}; wait for it, or stop it and run the same "
                "command again"
            ) from error
        stack.callback(_mine.pop, recipe_name)
        yield


@contextmanager
def training_slot(home: Path, recipe_name: str, *, slots: int) -> Iterator[None]:
    """Hold one of the machine's slots for fine-tunes for the block, freed by the kernel when the holder dies.

    Raises:
        LeaseHeld: all are held; the message names who holds them.
    """
    locks, holders = FileLocks(home), []
    with ExitStack() as stack:
        for slot in range(slots):
            try:
                stack.enter_context(locks.held(f"{_SLOT}{slot}", holder=f"{this_process()} ({recipe_name})"))
                break
            except LeaseHeld as taken:
                holders.append(str(taken))
        else:
            recipes = "1 recipe fine-tunes" if slots == 1 else f"{slots} recipes fine-tune"
            raise LeaseHeld(f"waits for {', '.join(holders)}: on this machine {recipes} at a time")
        yield


def fine_tunes_at_work(home: Path) -> list[str]:
    """Say who holds a slot: which process on which recipe, and since when."""
    return FileLocks(home).holders(_SLOT)


def check_lease(recipe_name: str) -> None:
    """Make sure that this process still holds the recipe's lease, before it writes what only the holder may.

    Raises:
        LeaseLost: it is held through a connection that ended, and another process may have it by now.
    """
    lock = _mine.get(recipe_name)
    if lock is not None:
        lock.check()


def is_held(locks: Locks, recipe_name: str) -> bool:
    """Whether a process works on the recipe now."""
    return locks.is_held(f"recipe-{recipe_name}")


@contextmanager
def home_in_use(home: Path, *, when_alone: Callable[[], object]) -> Iterator[None]:
    """Tell other processes that this home is at work; `when_alone` is called first if no other process is.

    What a dead process left behind may be swept away only then: to one recipe another one's half-written
    directories look the same. A home lies on one machine, so this is a file's lock for a team too.
    """
    descriptor = _open_home_lock(home)
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
def home_alone(home: Path) -> Iterator[None]:
    """Keep every recipe out of this home for the block; one that is started meanwhile waits.

    Raises:
        LeaseHeld: a recipe is at work in it.
    """
    descriptor = _open_home_lock(home)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise LeaseHeld(f"a recipe is at work in {home}") from error
        yield
    finally:
        os.close(descriptor)


def _open_home_lock(home: Path) -> int:
    path = make_private_directory(home / "locks") / "home.lock"
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
