"""A dataset on a hub as files of this installation, fetched once."""

from __future__ import annotations

import logging
import re
import shutil
from pathlib import Path

from configs.errors import HubError
from configs.schema import Data, FileSource, HubSource
from configs.settings import Settings
from tasks.data.records import SPLITS
from tasks.storage.durable import MANIFEST, digest_of, new_directory
from tasks.storage.hub import Repository, fetch_files

log = logging.getLogger("burnish")

_FETCHING, _FILES = "fetching", "files"
_KEYS = ("path", *SPLITS)


def with_files_here(data: Data, settings: Settings) -> Data:
    """Return the section with a dataset on a hub replaced by its files in `home/datasets`; any other as it is.

    Raises:
        HubError: they are not here yet, and this installation may not ask a hub, or it doesn't give them.
    """
    source = data.source
    if not isinstance(source, HubSource):
        return data
    names = {key: name for key in _KEYS if (name := getattr(source, key)) is not None}
    folder = settings.datasets / digest_of([source.id, source.revision, names])
    if not (folder / MANIFEST).is_file():
        _fetch(source, list(names.values()), folder, allowed=settings.hub_allowed)
    here = {key: str(folder / _FILES / name) for key, name in names.items()}
    return data.model_copy(update={"source": FileSource.model_validate({"format": source.format, **here})})


def _fetch(source: HubSource, names: list[str], folder: Path, *, allowed: bool) -> None:
    """Fetch into a folder that outlives a kill, so that no file is fetched twice; then move it into `folder`."""
    if not allowed:
        raise HubError(
            f"data.source {source.id} is on a hub, and this installation may not ask one; set BURNISH_HUB=1 for the "
            "run that fetches it, or bring its files here and name them with data.source.kind file"
        )
    arriving = folder.parent / _FETCHING / folder.name[:16]
    log.info("  fetching %s at %s from the hub", source.id, source.revision)
    repository = Repository("dataset", source.id, source.revision, "data.source")
    commit = fetch_files(repository, "|".join(map(_as_expression, names)), arriving)
    log.info("  fetched %s at commit %s", source.id, commit)
    shutil.rmtree(arriving / ".cache", ignore_errors=True)  # the hub library's own notes
    with new_directory(folder, id=source.id, commit=commit) as directory:
        arriving.rename(directory / _FILES)


def _as_expression(pattern: str) -> str:
    """A name with `*` as a regular expression; no part of a path reaches over a slash."""
    return re.escape(pattern).replace(r"\*", "[^/]*")
