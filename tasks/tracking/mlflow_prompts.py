"""A recipe's prompts in MLflow's prompt registry: their wording, and how examples are chosen; never an example."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tasks.tracking.mlflow_runs import Tracker

BEST = "best"
"""Alias of the version that was best on validation the last time."""
_KEY = "burnish.option"


@dataclass(frozen=True)
class RegistryPrompt:
    """One version in the registry."""

    key: str
    """Digest of all that decides what the prompt says: a version of this key is made once."""
    template: str | list[dict[str, str]]
    """Text, or chat messages; variables in double braces."""
    message: str
    """Says in words what it is, like a commit's message."""
    tags: Mapping[str, str]
    """Of the version; those that have changed are set anew."""


def prompt_name(recipe_name: str) -> str:
    """What the recipe's prompts are called; models share these names in MLflow, and no recipe's has a dot."""
    return f"{recipe_name}.prompt"


def register_prompts(tracker: Tracker, recipe_name: str, prompts: Sequence[RegistryPrompt]) -> list[int]:
    """Make the versions that are missing, and give the first one the alias `best`.

    Args:
        tracker: of the installation.
        recipe_name: whose prompts they are.
        prompts: the best one first; may be empty.

    Returns:
        The version of each.

    Raises:
        ServerError: MLflow can't be reached or refuses.
    """
    name, client = prompt_name(recipe_name), tracker.client
    with tracker.explained(f"register the prompts of {recipe_name!r}"):
        known = _versions_by_key(tracker, name) if prompts else {}
        versions = []
        for prompt in prompts:
            tags = {_KEY: prompt.key, **prompt.tags}
            version = known.get(prompt.key)
            if version is None:
                made = client.register_prompt(name, prompt.template, commit_message=prompt.message, tags=tags)
                version = int(made.version)
            else:
                for key, value in tags.items():
                    client.set_prompt_version_tag(name, version, key, value)
            versions.append(version)
        if versions:
            client.set_prompt_alias(name, BEST, versions[0])
    return versions


def _versions_by_key(tracker: Tracker, name: str) -> dict[str, int]:
    if not any(prompt.name == name for prompt in tracker.client.search_prompts(f"name = '{name}'")):
        return {}
    found = tracker.client.search_prompt_versions(name, max_results=1000)
    return {version.tags[_KEY]: int(version.version) for version in found if _KEY in version.tags}
