"""Files that appear whole or not at all, and directories that are valid once their manifest is there."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

from configs.errors import StorageError
from tasks.storage.faults import reach

MANIFEST = "manifest.json"
_TEMPORARY = ".tmp-"
_DIGEST = re.compile(r"[0-9a-f]{64}")
_WRITABLE = "BURNISH_HOME must be a folder that you may write to"


def make_private_directory(path: Path) -> Path:
    """Create `path`, and those of its parents that aren't there, with mode 0700, and return it."""
    try:
        for folder in reversed([each for each in (path, *path.parents) if not each.exists()]):
            folder.mkdir(mode=0o700, exist_ok=True)
        path.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise storage_error("create", path, error) from error
    return path


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file of mode 0600 by temporary file, fsync and rename."""
    make_private_directory(path.parent)
    temporary = path.with_name(f"{_TEMPORARY}{path.name}-{uuid.uuid4().hex[:8]}")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        reach("write:before-rename")
        temporary.replace(path)
        _sync_directory(path.parent)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise storage_error("write", path, error) from error
    reach("write:after-rename")


def write_text(path: Path, content: str) -> None:
    """Write UTF-8 text as `write_bytes` does."""
    write_bytes(path, content.encode())


def write_json(path: Path, content: Any) -> None:
    """Write JSON with sorted keys as `write_bytes` does."""
    write_text(path, json.dumps(content, sort_keys=True, indent=1, ensure_ascii=False))


@contextmanager
def new_directory(target: Path, **about: Any) -> Iterator[Path]:
    """Fill a directory that appears at `target` only when the block ends without an error.

    Yields a temporary directory beside `target`. At the end each file is synced, `manifest.json` is written with
    every file's SHA-256 and the values of `about`, and the directory is renamed. A `target` that another process
    made meanwhile is kept (content-addressed directories are equal); an invalid leftover is replaced.
    """
    make_private_directory(target.parent)
    temporary = target.parent / f"{_TEMPORARY}{target.name}-{uuid.uuid4().hex[:8]}"
    temporary.mkdir(mode=0o700)
    try:
        yield temporary
        files = {name: _synced_digest(temporary / name) for name in _relative_files(temporary)}
        reach("directory:before-manifest")
        write_json(temporary / MANIFEST, {**about, "files": files})
        if target.exists():
            if is_valid_directory(target):
                return
            shutil.rmtree(target)
        reach("directory:before-rename")
        temporary.rename(target)
        _sync_directory(target.parent)
        reach("directory:after-rename")
    except OSError as error:
        raise storage_error("write", target, error) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def read_manifest(directory: Path) -> dict[str, Any]:
    """Return the manifest of a directory made by `new_directory`.

    Raises:
        StorageError: there is no manifest, it is damaged, or it names a file outside of the directory.
    """
    try:
        manifest = json.loads((directory / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise StorageError(f"{directory} has no readable {MANIFEST} ({error}); delete it and run again") from error
    if not isinstance(manifest, dict) or not isinstance(manifest.get("files"), dict):
        raise StorageError(f"{directory / MANIFEST} is damaged; delete {directory} and run again")
    for name in manifest["files"]:
        file_within(name, str(directory))
    return manifest


def file_within(name: str, directory: str) -> PurePosixPath:
    """Return the relative path of a file that a manifest names; others could write the manifest.

    Raises:
        StorageError: the path leads out of the directory, or is the manifest's own.
    """
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or not path.parts or "\\" in name or path.name == MANIFEST:
        raise StorageError(
            f"the manifest of {directory} names the file {name!r}, which no directory of ours has; delete it"
        )
    return path


def is_digest(text: object) -> bool:
    """Whether a value read from elsewhere is a SHA-256 in hex, and so safe as the name of a directory."""
    return isinstance(text, str) and _DIGEST.fullmatch(text) is not None


def is_valid_directory(directory: Path) -> bool:
    """Whether every file that the manifest names is there with its SHA-256."""
    try:
        files = read_manifest(directory)["files"]
    except StorageError:
        return False
    return all(
        (directory / name).is_file() and file_digest(directory / name) == digest for name, digest in files.items()
    )


def remove_leftovers(root: Path) -> list[Path]:
    """Delete temporary files and directories that a killed process left under `root`; return them."""
    found = [path for path in root.rglob(f"{_TEMPORARY}*") if path.name.startswith(_TEMPORARY)]
    for path in found:
        shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)
    return found


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest_of(value: Any) -> str:
    """SHA-256 of a JSON-serialisable value in canonical form, in hex."""
    canonical = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(canonical.encode()).hexdigest()


def _relative_files(directory: Path) -> list[str]:
    return sorted(path.relative_to(directory).as_posix() for path in directory.rglob("*") if path.is_file())


def _synced_digest(path: Path) -> str:
    path.chmod(0o600)
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    return file_digest(path)


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def storage_error(verb: str, path: Path, error: OSError) -> StorageError:
    """What failed at a place of ours, with the remedy that fits: a full disk is not a place that can't be written."""
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    remedy = "free some space, or set BURNISH_HOME to a larger disk" if full else _WRITABLE
    return StorageError(f"can't {verb} {path}: {error.strerror or error}; {remedy}")
