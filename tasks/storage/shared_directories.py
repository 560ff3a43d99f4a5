"""What a digest names, wherever it was made: pushed to the team's store when made, fetched where it is used.

Without a store (`BURNISH_ARTIFACT_ROOT`) a digest names what lies in this home, and nothing is pushed.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Literal, Protocol

from configs.settings import Settings
from tasks.storage.durable import MANIFEST, is_valid_directory

Kind = Literal["snapshots", "bases", "adapters", "answers"]
"""Content-addressed directories: `<kind>/<digest>/` in the home and in the store."""


class SharedDirectories(Protocol):
    """A store of directories that are valid once their manifest is there."""

    def push(self, directory: Path, key: str) -> None:
        """Store a valid directory, its manifest last; one that is there already is left alone."""

    def fetch(self, key: str, target: Path) -> bool:
        """Make `target` what `key` holds, every file checked against its hash; False where there is no such key."""

    def names(self, prefix: str) -> list[str]:
        """Return the complete directories directly below `prefix`, sorted."""

    def remove(self, prefix: str) -> None:
        """Delete everything below `prefix`."""


def at_hand(settings: Settings, kind: Kind, digest: str) -> bool:
    """Whether a directory can be used here; it is fetched where it is missing or damaged and the store has it."""
    directory = settings.home / kind / digest
    # a base has gigabytes; `open_worker` checks it, and reads each file only once
    if (directory / MANIFEST).is_file() and (kind == "bases" or is_valid_directory(directory)):
        return True
    store = store_of(settings)
    return store is not None and store.fetch(f"{kind}/{digest}", directory)


def share(settings: Settings, kind: Kind, digest: str) -> None:
    """Push a directory of this home, so that the team's other machines have it at hand."""
    store = store_of(settings)
    if store is not None:
        store.push(settings.home / kind / digest, f"{kind}/{digest}")


def share_checkpoints(settings: Settings, checkpoints: Path) -> None:
    """Push the checkpoints of one fine-tune, so that another machine can go on with it."""
    store = store_of(settings)
    if store is None:
        return
    for checkpoint in sorted(checkpoints.glob("step-*")):
        if is_valid_directory(checkpoint):
            store.push(checkpoint, _checkpoint_key(settings, checkpoint))


def fetch_checkpoints(settings: Settings, checkpoints: Path) -> None:
    """Fetch the checkpoints of one fine-tune that another machine pushed and that aren't here."""
    store = store_of(settings)
    if store is None:
        return
    for name in store.names(_checkpoint_key(settings, checkpoints)):
        if not is_valid_directory(checkpoints / name):
            store.fetch(_checkpoint_key(settings, checkpoints / name), checkpoints / name)


def remove_shared_checkpoints(settings: Settings, checkpoints: Path) -> None:
    """Delete checkpoints from the store: none of them will be resumed."""
    store = store_of(settings)
    if store is not None:
        store.remove(_checkpoint_key(settings, checkpoints))


def store_of(settings: Settings) -> SharedDirectories | None:
    """The team's store, or None where there is none."""
    return None if settings.artifact_root is None else _store(settings.artifact_root)


@cache
def _store(artifact_root: str) -> SharedDirectories:
    from tasks.storage.boto3_directories import S3Directories

    return S3Directories(artifact_root)


def _checkpoint_key(settings: Settings, path: Path) -> str:
    return path.relative_to(settings.home).as_posix()
