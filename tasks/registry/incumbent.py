"""The champion as an option, so that it is scored on the same records as its challenger; and who was looked at."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from configs.errors import RegistryError
from tasks.registry.mlflow_versions import BASE, aliases_of, find_version, get_version

if TYPE_CHECKING:
    from tasks.tracking.mlflow_runs import Tracker

OPTION = "burnish.option"
"""JSON form of the version's option."""
COMPARED_WITH = "burnish.compared_with"
"""Version of the champion that a candidate was compared with; empty where there was none."""
LINEAGE = "burnish.test_lineage"
"""Which line of test sets a version was decided on."""
LOOK = "burnish.look"
"""Number of that decision on its line of test sets, from 1."""


@dataclass(frozen=True)
class Incumbent:
    """The champion that a candidate must beat."""

    version: str
    option: dict[str, Any]
    """JSON form of its option."""
    base: str
    """Digest of its base model."""


def find_incumbent(tracker: Tracker, name: str, *, candidate_identity: str) -> Incumbent | None:
    """Return the champion to beat, or None.

    A candidate that was decided on before keeps the champion of that decision: once it is the champion itself, the
    same command must find the same decision again and not a contest with itself.

    Raises:
        RegistryError: the champion wasn't registered by Burnish, so it can't be scored.
    """
    known = find_version(tracker, name, identity=candidate_identity)
    decided = get_version(tracker, name, version=known).tags.get(COMPARED_WITH) if known else None
    version = decided if decided is not None else aliases_of(tracker, name).get("champion", "")
    if not version:
        return None
    champion = get_version(tracker, name, version=version)
    if OPTION not in champion.tags:
        raise RegistryError(
            f"version {version} of {name!r} is the champion, but Burnish did not register it and can't score it; "
            f"take the alias away, or give it to a version that Burnish registered (`burnish history {name}`)"
        )
    option = {**json.loads(champion.tags[OPTION]), "kind": "champion", "name": f"champion (version {version})"}
    return Incumbent(version, option, champion.tags[BASE])


def number_of_look(tracker: Tracker, name: str, *, version: str, lineage: str) -> int:
    """Number of a version's look at a line of test sets: one more than those of the versions decided on before it.

    A version that has its number keeps it, so deciding again on the same one spends nothing.
    """
    with tracker.explained(f"search the versions of {name!r}"):
        found = tracker.client.search_model_versions(f"name = '{name}' and tags.`{LINEAGE}` = '{lineage}'")
    looks = {str(each.version): int(each.tags[LOOK]) for each in found}
    return looks.get(version, 1 + max(looks.values(), default=0))
