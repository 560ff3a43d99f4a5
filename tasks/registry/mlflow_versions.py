"""Model versions and aliases in the MLflow registry."""

from __future__ import annotations

import json
import re
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlflow.artifacts import download_artifacts
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import PERMISSION_DENIED, RESOURCE_ALREADY_EXISTS, RESOURCE_DOES_NOT_EXIST, ErrorCode

from configs.errors import RegistryError
from configs.hints import did_you_mean
from tasks.registry.packaging import AdapterPackage, written_package
from tasks.storage.durable import is_digest, is_valid_directory, make_private_directory, new_directory, read_manifest
from tasks.storage.faults import reach

if TYPE_CHECKING:
    from mlflow.entities.model_registry import RegisteredModel

    from tasks.tracking.mlflow_runs import Tracker

IDENTITY = "burnish.identity"
ADAPTER = "burnish.adapter"
BASE = "burnish.base"
REJECTED = "burnish.rejected"
MADE_BY_BURNISH = "burnish.recipe"
"""A tag of every version that Burnish registered: its recipe's name."""
SNAPSHOT = "burnish.snapshot"
_REFERENCE = re.compile(
    r"(?P<name>[a-z0-9][a-z0-9_-]{0,62})(@(?P<alias>[A-Za-z0-9_-]{1,255})|/(?P<version>[0-9]{1,9}))?"
)
_MOST_VERSIONS_SHOWN = 10
_MOST_MODELS_SEARCHED = 1000
_MISSING = ErrorCode.Name(RESOURCE_DOES_NOT_EXIST)
_DENIED = ErrorCode.Name(PERMISSION_DENIED)
_EXISTS = ErrorCode.Name(RESOURCE_ALREADY_EXISTS)


@dataclass(frozen=True)
class ModelVersion:
    """One registered version."""

    name: str
    version: str
    run_id: str
    source: str
    """Where its artifacts lie."""
    tags: Mapping[str, str]
    aliases: tuple[str, ...]
    created_at: datetime
    """When it was registered."""


def register_version(
    tracker: Tracker, name: str, *, run_id: str, package: AdapterPackage, tags: Mapping[str, str]
) -> str:
    """Store a package with a run and register it; the same package is registered once, however often this is killed.

    Args:
        tracker: the door to MLflow.
        name: registered model.
        run_id: the run that the version belongs to.
        package: what the version holds.
        tags: put on the version besides the digests of package, adapter and base.

    Returns:
        The version's number.
    """
    known = find_version(tracker, name, identity=package.identity)
    if known is not None:
        tag_version(tracker, name, version=known, tags=tags)
        return known
    folder = f"model-{package.identity[:12]}"
    with (
        written_package(package, scratch=tracker.home / "packages") as files,
        tracker.explained(f"store the model of {name!r}"),
    ):
        reach("register:before-artifacts")
        tracker.client.log_artifacts(run_id, str(files), folder)
    digests = {IDENTITY: package.identity, ADAPTER: package.adapter.name, BASE: package.base.name}
    source = f"{tracker.run(run_id).info.artifact_uri}/{folder}"
    return _create_version(tracker, name, run_id=run_id, source=source, tags={**tags, **digests})


def _create_version(tracker: Tracker, name: str, *, run_id: str, source: str, tags: Mapping[str, str]) -> str:
    """Create the version and its tags in one write, so that a kill leaves both or none."""
    with tracker.explained(f"register a version of {name!r}"):
        try:
            tracker.client.create_registered_model(name, description=_about(name))
        except MlflowException as error:
            if error.error_code != _EXISTS:
                raise
        reach("register:before-version")
        created = tracker.client.create_model_version(name, source, run_id, tags=dict(tags), await_creation_for=0)
        version = int(created.version)
        if tracker.is_server:  # one that went away may have carried out the same request before it was made again
            same = f"name = '{name}' and tags.`{IDENTITY}` = '{tags[IDENTITY]}'"
            version, *doubles = sorted(int(found.version) for found in tracker.client.search_model_versions(same))
            for double in doubles:
                tracker.client.delete_model_version(name, str(double))
    reach("register:after-version")
    return str(version)


def _about(name: str) -> str:
    """What the MLflow UI says of the model above its versions."""
    return (
        f"Fine-tunes of the recipe {name}, each with what was decided on it. An alias is moved when every gate is "
        f"cleared, or by hand: `burnish promote {name}/1 --reason …` keeps the reason; a move made on this page is "
        f"noticed, and `burnish history {name}` says whether the version ever cleared its gates."
    )


def restore_adapter(tracker: Tracker, version: ModelVersion, *, adapters: Path) -> Path:
    """Return a version's adapter under `adapters`, fetched from the registry where it isn't there (any more).

    Raises:
        RegistryError: Burnish did not register the version, or what it holds is damaged.
    """
    digest = digest_tag(version, ADAPTER)
    if is_valid_directory(adapters / digest):
        return adapters / digest
    make_private_directory(adapters)
    with tempfile.TemporaryDirectory(prefix=".tmp-fetched-", dir=adapters) as scratch:
        with tracker.explained(f"download version {version.version} of {version.name!r}"):
            fetched = Path(
                download_artifacts(
                    f"{version.source}/artifacts/adapter", dst_path=scratch, tracking_uri=tracker.tracking_uri
                )
            )
        if not is_valid_directory(fetched):
            raise RegistryError(f"version {version.version} of {version.name!r} holds a damaged adapter; don't use it")
        about = {key: value for key, value in read_manifest(fetched).items() if key != "files"}
        with new_directory(adapters / digest, **about) as directory:
            for file in read_manifest(fetched)["files"]:
                shutil.copyfile(fetched / file, directory / file)
    return adapters / digest


def digest_tag(version: ModelVersion, key: str) -> str:
    """Return the digest that a version's tag holds; whoever may edit tags in MLflow could have put a path there.

    Raises:
        RegistryError: there is no such tag, so Burnish did not register the version; or it holds no digest.
    """
    digest = version.tags.get(key)
    if digest is None:
        raise RegistryError(f"version {version.version} of {version.name!r} was not registered by Burnish")
    if not is_digest(digest):
        raise RegistryError(
            f"the tag {key!r} of version {version.version} of {version.name!r} must be a digest of 64 hex characters, "
            f"got {digest!r}; somebody changed it: don't use the version, or restore the tag in the MLflow UI"
        )
    return digest


def read_spec(tracker: Tracker, version: ModelVersion) -> dict[str, Any]:
    """Return what `AdapterPackage.spec` wrote into a version: how it answers when it is served."""
    with (
        tempfile.TemporaryDirectory() as scratch,
        tracker.explained(f"read version {version.version} of {version.name!r}"),
    ):
        file = download_artifacts(
            f"{version.source}/artifacts/spec.json", dst_path=scratch, tracking_uri=tracker.tracking_uri
        )
        spec: dict[str, Any] = json.loads(Path(file).read_text(encoding="utf-8"))
        return spec


def find_version(tracker: Tracker, name: str, *, identity: str) -> str | None:
    """Return the newest version whose identity tag is `identity`, if there is one."""
    with tracker.explained(f"search the versions of {name!r}"):
        found = tracker.client.search_model_versions(f"name = '{name}' and tags.`{IDENTITY}` = '{identity}'")
    return str(max(int(version.version) for version in found)) if found else None


def get_version(tracker: Tracker, name: str, *, version: str) -> ModelVersion:
    """Return one version.

    Raises:
        RegistryError: it isn't there.
    """
    if not version_exists(tracker, name, version=version):
        require_model(tracker, name)
        raise RegistryError(f"model {name!r} has no version {version!r}; it has {versions_in_words(tracker, name)}")
    with tracker.explained(f"read version {version} of {name!r}"):
        found = tracker.client.get_model_version(name, version)
    aliases = tuple(sorted(alias for alias, holder in aliases_of(tracker, name).items() if holder == version))
    created_at = datetime.fromtimestamp(found.creation_timestamp / 1000, tz=UTC)
    return ModelVersion(name, version, found.run_id or "", found.source, dict(found.tags), aliases, created_at)


def version_exists(tracker: Tracker, name: str, *, version: str) -> bool:
    """Whether a version is there and was not deleted."""
    if not version.isdecimal():
        return False
    with tracker.explained(f"read version {version} of {name!r}"):
        try:
            tracker.client.get_model_version(name, version)
        except MlflowException as error:
            if error.error_code == _MISSING:
                return False
            raise
    return True


def resolve_version(tracker: Tracker, reference: str) -> ModelVersion:
    """Return the version that `name@alias`, `name/3` or `name` (its champion) means.

    Raises:
        RegistryError: the reference has another form, or there is no such version or alias.
    """
    match = _REFERENCE.fullmatch(reference)
    if match is None:
        raise RegistryError(
            f"a model is given as name@alias or name/version, such as icd10@champion; got {reference!r}"
        )
    name, alias, version = match["name"], match["alias"] or "champion", match["version"]
    if version:
        return get_version(tracker, name, version=version)
    require_model(tracker, name)
    aliases = aliases_of(tracker, name)
    if alias not in aliases:
        has = ", ".join(f"{known} (version {aliases[known]})" for known in sorted(aliases)) or "no alias at all"
        raise RegistryError(f"model {name!r} has no alias {alias!r}; it has {has}")
    return get_version(tracker, name, version=aliases[alias])


def aliases_of(tracker: Tracker, name: str) -> dict[str, str]:
    """Return every alias of a model and the version that it names; empty where there is no such model."""
    model = _registered_model(tracker, name)
    return {alias: str(version) for alias, version in model.aliases.items()} if model else {}


def model_exists(tracker: Tracker, name: str) -> bool:
    """Whether there is a registered model of this name."""
    return _registered_model(tracker, name) is not None


def require_model(tracker: Tracker, name: str) -> None:
    """Refuse a name that no registered model has.

    Raises:
        RegistryError: there is no such model.
    """
    if model_exists(tracker, name):
        return
    with tracker.explained("list the registered models"):
        found = tracker.client.search_registered_models(max_results=_MOST_MODELS_SEARCHED)
    known = did_you_mean(name, sorted(model.name for model in found), otherwise="registered")
    raise RegistryError(
        f"no registered model {name!r}; `burnish finetune` registers one under its recipe's name"
        + (f"; {known}" if known else "")
    )


def versions_in_words(tracker: Tracker, name: str) -> str:
    """Return the newest versions of a model, each with its aliases, for a message."""
    with tracker.explained(f"search the versions of {name!r}"):
        found = tracker.client.search_model_versions(f"name = '{name}'")
    numbers = sorted((int(version.version) for version in found), reverse=True)
    holders = aliases_of(tracker, name)
    shown = []
    for number in numbers[:_MOST_VERSIONS_SHOWN]:
        aliases = ", ".join(sorted(alias for alias, holder in holders.items() if holder == str(number)))
        shown.append(f"{number} ({aliases})" if aliases else str(number))
    older = f" and {len(numbers) - len(shown)} older" if len(numbers) > len(shown) else ""
    return f"version{'s' if len(numbers) > 1 else ''} {', '.join(shown)}{older}" if shown else "no version"


def own_models(tracker: Tracker) -> list[str]:
    """Return the names of the registered models that Burnish made versions of; a server may hold others too."""
    with tracker.explained("list the registered models"):
        names, token = set(), None
        while True:
            page = tracker.client.search_model_versions(f"tags.`{MADE_BY_BURNISH}` != ''", page_token=token)
            names |= {version.name for version in page}
            token = page.token
            if not token:
                return sorted(names)


def model_tags(tracker: Tracker, name: str) -> dict[str, str]:
    """Return the tags of a registered model; empty where there is no such model."""
    model = _registered_model(tracker, name)
    return dict(model.tags) if model else {}


def _registered_model(tracker: Tracker, name: str) -> RegisteredModel | None:
    with tracker.explained(f"read the model {name!r}"):
        try:
            return tracker.client.get_registered_model(name)
        except MlflowException as error:
            if error.error_code == _MISSING or (error.error_code == _DENIED and not _is_listed(tracker, name)):
                return None
            raise


def _is_listed(tracker: Tracker, name: str) -> bool:
    """Whether a model is there for this user: a server with passwords denies what is missing, too."""
    return bool(tracker.client.search_registered_models(f"name = '{name}'"))


def set_alias(tracker: Tracker, name: str, *, alias: str, version: str | None) -> None:
    """Let an alias name a version; None takes the alias away."""
    with tracker.explained(f"move the alias {alias!r} of {name!r}"):
        if version is None:
            tracker.client.delete_registered_model_alias(name, alias)
        else:
            tracker.client.set_registered_model_alias(name, alias, version)


def remove_tag(tracker: Tracker, name: str, *, version: str, key: str) -> None:
    """Take a tag of a version away, if it is there."""
    if key in get_version(tracker, name, version=version).tags:
        with tracker.explained(f"tag version {version} of {name!r}"):
            tracker.client.delete_model_version_tag(name, version, key)


def describe_version(tracker: Tracker, name: str, *, version: str, text: str) -> None:
    """Set what the MLflow UI shows as a version's description."""
    with tracker.explained(f"describe version {version} of {name!r}"):
        tracker.client.update_model_version(name, version, description=text)


def tag_version(tracker: Tracker, name: str, *, version: str, tags: Mapping[str, str]) -> None:
    """Set tags of a version, replacing those of the same key."""
    with tracker.explained(f"tag version {version} of {name!r}"):
        for key, value in tags.items():
            tracker.client.set_model_version_tag(name, version, key, value)
    reach("register:tagged")
