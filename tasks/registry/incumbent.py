"""The champion as an option, so that it is scored on the same records as its challenger."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from configs.errors import RegistryError
from tasks.registry.mlflow_versions import (
    ADAPTER,
    BASE,
    aliases_of,
    digest_tag,
    find_version,
    get_version,
    read_spec,
    restore_adapter,
    version_exists,
)

if TYPE_CHECKING:
    from tasks.tracking.mlflow_runs import Tracker

OPTION = "burnish.option"
"""JSON form of the version's option."""
COMPARED_WITH = "burnish.compared_with"
"""Version of the champion that a candidate was compared with; empty where there was none."""


@dataclass(frozen=True)
class Incumbent:
    """The champion that a candidate must beat."""

    version: str
    option: dict[str, Any]
    """JSON form of its option, with the conditions that it is served under."""
    base: str
    """Digest of its base model."""


def find_incumbent(tracker: Tracker, name: str, *, candidate_identity: str, adapters: Path) -> Incumbent | None:
    """Return the champion to beat, or None.

    A candidate that is the champion itself keeps the champion of its own decision: the same command must find the same
    decision again and not a contest with itself. The champion's adapter is fetched where it isn't there.

    Raises:
        RegistryError: the champion wasn't registered by Burnish, so it can't be scored; or its tags were changed.
    """
    reigning = aliases_of(tracker, name).get("champion", "")
    known = find_version(tracker, name, identity=candidate_identity)
    version = reigning
    if known is not None and known == reigning:
        version = get_version(tracker, name, version=known).tags.get(COMPARED_WITH, "")
    if not version or not version_exists(tracker, name, version=version):
        return None
    champion = get_version(tracker, name, version=version)
    if OPTION not in champion.tags:
        raise RegistryError(
            f"version {version} of {name!r} is the champion, but Burnish did not register it and can't score it; "
            f"take the alias away, or give it to a version that Burnish registered (`burnish history {name}`)"
        )
    option = {**json.loads(champion.tags[OPTION]), "kind": "champion", "name": f"champion (version {version})"}
    if option.get("adapter") != digest_tag(champion, ADAPTER):
        raise RegistryError(
            f"the tags {OPTION!r} and {ADAPTER!r} of version {version} of {name!r} name two adapters: somebody changed "
            "them; restore them in the MLflow UI, or take the alias away"
        )
    base = digest_tag(champion, BASE)
    restore_adapter(tracker, champion, adapters=adapters)
    spec = read_spec(tracker, champion)
    option["conditions"] = {key: spec[key] for key in ("labels", "max_new_tokens", "precision")}
    return Incumbent(version, option, base)
