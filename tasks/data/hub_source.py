"""A dataset on a hub as files of this installation, fetched once."""

from __future__ import annotations

import logging
import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path

from configs.errors import HubError
from configs.schema import Data, FileSource, HubSource
from configs.settings import Settings
from tasks.data.records import SPLITS
from tasks.storage.durable import MANIFEST, digest_of, new_directory
from tasks.storage.hub import Repository, fetch_files
from tasks.storage.locks import FileLocks

log = logging.getLogger("burnish")

FETCHING = "fetching"
"""Folder of `home/datasets` for what is not complete."""
_FILES = "files"
_KEYS = ("path", *SPLITS)
_LONGEST_FETCH_SECONDS = 6 * 3600.0
"""How long to wait for another process of this machine that fetches the same files."""


def with_files_here(data: Data, settings: Settings) -> Data:
    """Return the section with a dataset on a hub replaced by its files in `home/datasets`; any other as it is.

    Raises:
        HubError: they are not here yet, and this installation may not ask a hub, or it doesn't give them.
    """
    source = data.source
    if not isinstance(source, HubSource):
        return data
    names, folder = _names(source), settings.datasets / dataset_key(source)
    if not (folder / MANIFEST).is_file():
        if not settings.hub_allowed:
            raise HubError(
                f"data.source {source.id} is on a hub, and this installation may not ask one; set BURNISH_HUB=1 for "
                "the run that fetches it, or bring its files here and name them with data.source.kind file"
            )
        with FileLocks(settings.home).held(f"dataset-{folder.name[:16]}", wait_seconds=_LONGEST_FETCH_SECONDS):
            if not (folder / MANIFEST).is_file():
                _fetch(source, names, folder)
    here = {key: str(folder / _FILES / name) for key, name in names.items()}
    return data.model_copy(update={"source": FileSource.model_validate({"format": source.format, **here})})


def dataset_key(source: HubSource) -> str:
    """Name of the folder in `home/datasets` where the files go: a digest of what the recipe asks for."""
    return digest_of([source.id, source.revision, _names(source)])


def _names(source: HubSource) -> dict[str, str]:
    return {key: name for key in _KEYS if (name := getattr(source, key)) is not None}


def _fetch(source: HubSource, names: Mapping[str, str], folder: Path) -> None:
    """Fetch into a folder that outlives a kill, so that no file is fetched twice; it goes when `folder` is complete."""
    arriving = folder.parent / FETCHING / folder.name[:16]
    log.info("  fetching %s at %s from the hub", source.id, source.revision)
    repository = Repository("dataset", source.id, source.revision, "data.source")
    wanted = {f"data.source.{key}": _as_expression(name) for key, name in names.items()}
    commit = fetch_files(repository, wanted, arriving)
    log.info("  fetched %s at commit %s", source.id, commit)
    with new_directory(folder, id=source.id, commit=commit) as directory:
        shutil.copytree(arriving / commit, directory / _FILES, copy_function=os.link)
    shutil.rmtree(arriving)


def _as_expression(pattern: str) -> str:
    """A name with `*` as a regular expression; no part of a path reaches over a slash."""
    return re.escape(pattern).replace(r"\*", "[^/]*")
