"""Base models under `home/bases/<digest>`: imported once, named by what they contain, found again by their digest."""

from __future__ import annotations

import json
import logging
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from configs.errors import BaseModelError
from configs.schema import BaseSource, FolderBase, HubBase, PackageBase, TinyBase
from tasks.models.packaged_base import assemble_gguf, package_notice, package_version
from tasks.models.safety import MODEL_FILES, check_is_folder, check_model_folder
from tasks.models.tiny_base import CHAT_TEMPLATE, TRAINING_TEXT
from tasks.storage.child_process import child_environment, python_command
from tasks.storage.durable import (
    MANIFEST,
    digest_of,
    file_digest,
    make_private_directory,
    new_directory,
    read_manifest,
    storage_error,
    write_json,
)
from tasks.storage.hub import Repository, fetch_files
from tasks.storage.processes import run_to_end

log = logging.getLogger("burnish")

_CONVERSION = 1
"""Raise when a build below gives other files for the same source."""

_IMPORT_THREADS = 1


def import_base(source: BaseSource, *, bases: Path, project_root: Path, hub_allowed: bool = False) -> str:
    """Bring a base model under `bases` and return its digest; a base that is there already is reused.

    The digest is the hash of the SHA-256 of every file of the model (weights, config, tokenizer).

    Args:
        source: where it comes from.
        bases: directory of the bases.
        project_root: what a relative path is read from.
        hub_allowed: whether a base on a hub may be fetched; one that was fetched needs no leave.

    Raises:
        BaseModelError: the source is missing, unsafe, damaged, or not the one that the recipe pins.
        HubError: the hub doesn't give it.
    """
    make_private_directory(bases)
    index = bases / "index" / f"{_source_key(source, project_root)}.json"
    digest = _indexed_digest(index, bases)
    if digest is None:
        if isinstance(source, HubBase) and not hub_allowed:
            raise BaseModelError(
                f"base {source.id} is on a model hub, and this installation may not ask one; set BURNISH_HUB=1 for the "
                "run that fetches it, or bring its folder here and name it with base.kind folder"
            )
        with _staging(bases) as staging:
            _build(source, staging, project_root)
            digest = _adopt(staging, bases)
        write_json(index, {"digest": digest, "files": _fingerprint(bases / digest)})
    if isinstance(source, FolderBase | HubBase) and source.digest not in (None, digest):
        place = source.path if isinstance(source, FolderBase) else f"{source.id} at {source.revision}"
        raise BaseModelError(
            f"base.digest pins {source.digest}, but {place} holds {digest}; use the pinned model, or change the pin"
        )
    return digest


def base_directory(bases: Path, digest: str) -> Path:
    """Where an imported base lies.

    Raises:
        BaseModelError: it isn't there.
    """
    directory = bases / digest
    if not (directory / MANIFEST).is_file():
        raise BaseModelError(f"the base model {digest} is not under {bases}; run `burnish finetune` again to import it")
    return directory


def verify_base(bases: Path, digest: str, *, digest_file: Callable[[Path], str] = file_digest) -> None:
    """Compare what an imported base holds with its digest.

    Args:
        bases: directory of the bases.
        digest: of the base.
        digest_file: gives the digest of a file; `file_memory.remembering` spares reading an untouched one.

    Raises:
        BaseModelError: a file is missing or differs.
    """
    directory = base_directory(bases, digest)
    listed = digest_of(read_manifest(directory)["files"])
    if listed != digest or _content_digest(directory, digest_file) != digest:
        raise BaseModelError(f"the base model in {directory} is damaged; delete that folder and run again")


def check_source_exists(source: BaseSource, *, project_root: Path) -> None:
    """Check what costs nothing: that the user's own model folder is there.

    Raises:
        BaseModelError: it isn't.
    """
    if isinstance(source, FolderBase):
        check_is_folder(_folder(source, project_root))


def license_notice(source: BaseSource) -> str | None:
    """The terms to show before a packaged base is downloaded or used; None for tiny models and the user's own."""
    return package_notice(source.package) if isinstance(source, PackageBase) else None


def _source_key(source: BaseSource, project_root: Path) -> str:
    about: dict[str, Any] = {"source": source.model_dump(mode="json"), "conversion": _CONVERSION}
    if isinstance(source, TinyBase):
        about["text"] = [TRAINING_TEXT, CHAT_TEMPLATE]
    elif isinstance(source, PackageBase):
        about["version"] = package_version(source.package)
    elif isinstance(source, HubBase):
        about["source"] = [source.id, source.revision]
    else:
        folder = _folder(source, project_root)
        about["source"] = str(folder)
        about["files"] = _fingerprint(folder)
    return digest_of(about)


def _folder(source: FolderBase, project_root: Path) -> Path:
    return (project_root / Path(source.path).expanduser()).absolute()


def _fingerprint(directory: Path) -> dict[str, list[int]]:
    """Size and modification time of each file: enough to see that nobody touched them."""
    if not directory.is_dir():
        return {}
    stats = {path.name: path.stat() for path in sorted(directory.iterdir()) if path.is_file()}
    return {name: [stat.st_size, stat.st_mtime_ns] for name, stat in stats.items()}


def _indexed_digest(index: Path, bases: Path) -> str | None:
    if not index.is_file():
        return None
    try:
        entry = json.loads(index.read_text(encoding="utf-8"))
        digest, files = str(entry["digest"]), entry["files"]
    except (ValueError, KeyError, TypeError):
        return None  # a damaged index entry costs one more import
    return digest if files and files == _fingerprint(bases / digest) else None


@contextmanager
def _staging(bases: Path) -> Iterator[Path]:
    try:
        directory = Path(tempfile.mkdtemp(prefix=".tmp-import-", dir=bases))
    except OSError as error:
        raise storage_error("write in", bases, error) from error
    try:
        yield directory
    finally:
        shutil.rmtree(directory)


def _build(source: BaseSource, staging: Path, project_root: Path) -> None:
    if isinstance(source, FolderBase):
        folder = _folder(source, project_root)
        check_model_folder(folder)
        for path in sorted(folder.iterdir()):
            if MODEL_FILES.fullmatch(path.name):
                _copy(path, staging / path.name)
    elif isinstance(source, TinyBase):
        _build_in_child(
            {"kind": "tiny", "source": source.model_dump(), "target": str(staging)}, what="building the tiny base model"
        )
    elif isinstance(source, HubBase):
        _fetch(source, staging)
    else:
        with _staging(staging.parent) as parts:
            gguf = assemble_gguf(source, parts)
            _build_in_child(
                {"kind": "gguf", "gguf": str(gguf), "target": str(staging)}, what="converting the GGUF file"
            )
    check_model_folder(staging)


def _fetch(source: HubBase, staging: Path) -> None:
    """Fetch into a folder that outlives a kill, so that no file is fetched twice; then move the files to `staging`."""
    folder = staging.parent / "hub" / digest_of([source.id, source.revision])[:16]
    log.info("  fetching %s at %s from the hub; large models take minutes", source.id, source.revision)
    repository = Repository("model", source.id, source.revision, "base")
    commit = fetch_files(repository, {"base.id": MODEL_FILES.pattern}, folder)
    log.info("  fetched %s at commit %s", source.id, commit)
    for path in sorted((folder / commit).iterdir()):
        if MODEL_FILES.fullmatch(path.name):
            path.rename(staging / path.name)
    shutil.rmtree(folder)


def _copy(source: Path, target: Path) -> None:
    try:
        shutil.copyfile(source, target)
    except OSError as error:
        raise BaseModelError(
            f"can't copy {source}: {error.strerror or error}; check permissions and free space"
        ) from error


def _build_in_child(request: dict[str, Any], *, what: str) -> None:
    """Run the import process, so that torch and the weights never enter this one."""
    log.info("  %s", what)
    command = python_command("tasks.models.import_process", json.dumps(request))
    exit_code, said = run_to_end(command, environment=child_environment(_IMPORT_THREADS))
    if exit_code:
        raise BaseModelError(f"{what} failed with exit status {exit_code}: {said}; check free memory and disk space")


def _adopt(staging: Path, bases: Path) -> str:
    """Move the staged files to `bases/<digest>`."""
    digest = _content_digest(staging)
    with new_directory(bases / digest) as directory:
        for path in sorted(staging.iterdir()):
            path.rename(directory / path.name)
    return digest


def _content_digest(directory: Path, digest_file: Callable[[Path], str] = file_digest) -> str:
    return digest_of({path.name: digest_file(path) for path in sorted(directory.iterdir()) if path.name != MANIFEST})
