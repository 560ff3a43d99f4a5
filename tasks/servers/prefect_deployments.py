"""Bring what `prefect.yaml` says, the work pool and the automations to a Prefect server. Done again, nothing changes.

`prefect deploy --all` does a part of this, and forgets each time which schedules a person switched on in the UI. Here
the schedules that a deployment has already belong to whoever uses the server; only missing ones are added.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import yaml
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import (
    DeploymentScheduleCreate,
    DeploymentUpdate,
    WorkPoolCreate,
    WorkPoolUpdate,
)
from prefect.client.schemas.objects import ConcurrencyOptions
from prefect.client.schemas.responses import DeploymentResponse
from prefect.client.schemas.schedules import CronSchedule
from prefect.events.schemas.automations import AutomationCore
from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError
from prefect.flows import Flow, load_flow_from_entrypoint
from prefect.settings import PREFECT_API_AUTH_STRING

from configs.errors import ServerError
from tasks.monitoring.automations import crash_automation, retrain_automations
from tasks.servers.services import POOL_TYPE
from tasks.storage.durable import digest_of

_DIGEST_LENGTH = 16


def install(api_url: str, prefect_yaml: Path) -> list[str]:
    """Install everything and return what was new or changed, by name.

    Args:
        api_url: of the Prefect server.
        prefect_yaml: the project's deployments.

    Raises:
        ServerError: the server refuses something.
    """
    entries = yaml.safe_load(prefect_yaml.read_text(encoding="utf-8"))["deployments"]
    with prefect_client(api_url) as client, _explained(api_url):
        changed = []
        ids: dict[str, UUID] = {}
        for entry in entries:
            ids[entry["name"]], is_new = _deploy(client, entry)
            changed += [f"deployment {entry['name']}"] if is_new else []
        automations = [
            *retrain_automations(retrain=ids["retrain"], on_event=ids["retrain-on-event"], notify=ids["notify"]),
            crash_automation(ids.values()),
        ]
        return [*changed, *_install_automations(client, automations)]


def prefect_client(api_url: str) -> SyncPrefectClient:
    """Return a client of the server, with `PREFECT_API_AUTH_STRING` where it is set."""
    return SyncPrefectClient(api=api_url, auth_string=PREFECT_API_AUTH_STRING.value())


def ensure_pool(
    api_url: str, pool: str, *, pool_type: str = POOL_TYPE, job_template: dict[str, Any] | None = None
) -> bool:
    """Make sure that the work pool is there, or its worker would ask how to make it; return whether that changed it.

    Args:
        api_url: of the Prefect server.
        pool: its name.
        pool_type: the kind of worker that may serve it.
        job_template: what its workers' jobs look like, for forms and the server's checks; None: Prefect's own.

    Raises:
        ServerError: a pool of that name is served by other workers, who run whatever the server says.
    """
    with prefect_client(api_url) as client, _explained(api_url):
        try:
            found = client.read_work_pool(pool)
        except ObjectNotFound:
            wanted = WorkPoolCreate(name=pool, type=pool_type, description="Runs our flows, and nothing else")
            client.create_work_pool(wanted.model_copy(update={"base_job_template": job_template or {}}))
            return True
        require_pool_type(found.type, api_url=api_url, pool=pool, pool_type=pool_type)
        if job_template is None or found.base_job_template == job_template:
            return False
        client.update_work_pool(pool, WorkPoolUpdate(base_job_template=job_template))
        return True


def require_pool_type(found: str, *, api_url: str, pool: str, pool_type: str) -> None:
    """Refuse a pool for another kind of worker.

    Raises:
        ServerError: it is one.
    """
    if found != pool_type:
        raise ServerError(
            f"the work pool {pool!r} of the Prefect server at {api_url} must be of type {pool_type!r}, got {found!r}, "
            "whose workers run any command that a deployment names; stop its workers, "
            f"`prefect work-pool delete {pool}`, and run `burnish provision` (or `burnish up`) again"
        )


def _deploy(client: SyncPrefectClient, entry: dict[str, Any]) -> tuple[UUID, bool]:
    flow: Flow[..., Any] = load_flow_from_entrypoint(entry["entrypoint"], use_placeholder_flow=False)
    schema = flow.parameters.model_dump_for_openapi()
    version = digest_of([entry, schema])[:_DIGEST_LENGTH]
    try:
        existing = client.read_deployment_by_name(f"{flow.name}/{entry['name']}")
    except ObjectNotFound:
        return _create(client, flow, entry, schema=schema, version=version), True
    if existing.version == version:
        return existing.id, False
    _update(client, existing, entry, schema=schema, version=version)
    return existing.id, True


def _create(
    client: SyncPrefectClient, flow: Flow[..., Any], entry: dict[str, Any], *, schema: Any, version: str
) -> UUID:
    limit = entry.get("concurrency_limit") or {}
    created: UUID = client.create_deployment(
        client.create_flow(flow),
        entry["name"],
        version=version,
        description=entry["description"].strip(),
        entrypoint=entry["entrypoint"],
        parameters=entry.get("parameters"),
        parameter_openapi_schema=schema,
        enforce_parameter_schema=True,
        schedules=_schedules(entry),
        tags=entry.get("tags"),
        work_pool_name=entry["work_pool"]["name"],
        concurrency_limit=limit.get("limit"),
        concurrency_options=_options(limit),
    )
    return created


def _update(
    client: SyncPrefectClient,
    existing: DeploymentResponse,
    entry: dict[str, Any],
    *,
    schema: Any,
    version: str,
) -> None:
    limit = entry.get("concurrency_limit") or {}
    changes: dict[str, Any] = {
        "version": version,
        "description": entry["description"].strip(),
        "entrypoint": entry["entrypoint"],
        "parameter_openapi_schema": schema,
        "enforce_parameter_schema": True,
        "tags": entry.get("tags") or [],
        "work_pool_name": entry["work_pool"]["name"],
        "concurrency_limit": limit.get("limit"),
        "concurrency_options": _options(limit),
    }
    there = [schedule.slug for schedule in existing.schedules]
    missing = [schedule for schedule in _schedules(entry) if schedule.slug not in there]
    if missing and None not in there:  # where one has no slug, Prefect would replace them all
        changes["schedules"] = [schedule.model_dump(exclude_unset=True) for schedule in missing]
    client.update_deployment(existing.id, DeploymentUpdate(**changes))


def _schedules(entry: dict[str, Any]) -> list[DeploymentScheduleCreate]:
    return [
        DeploymentScheduleCreate(
            schedule=CronSchedule(cron=each["cron"], timezone=each["timezone"]),
            active=each["active"],
            slug=each["slug"],
            parameters=each.get("parameters") or {},
        )
        for each in entry.get("schedules") or []
    ]


def _options(limit: dict[str, Any]) -> ConcurrencyOptions | None:
    return ConcurrencyOptions(collision_strategy=limit["collision_strategy"]) if limit else None


def _install_automations(client: SyncPrefectClient, automations: Sequence[AutomationCore]) -> list[str]:
    """Create or replace automations by name; one that a person disabled stays disabled."""
    changed = []
    for wanted in automations:
        existing = client.read_automations_by_name(wanted.name)
        if not existing:
            client.create_automation(wanted)
        elif _essence(existing[0]) != _essence(wanted):
            client.update_automation(existing[0].id, wanted.model_copy(update={"enabled": existing[0].enabled}))
        else:
            continue
        changed.append(f"automation {wanted.name!r}")
    return changed


def _essence(automation: AutomationCore) -> str:
    """What makes two automations equal: all but ids and whether they are enabled."""
    values = AutomationCore.model_validate(automation.model_dump(exclude={"id", "created", "updated"})).model_dump(
        mode="json", exclude={"enabled": True, "trigger": {"id"}}
    )
    return json.dumps(_sorted(values), sort_keys=True)


def _sorted(value: Any) -> Any:
    """The value with its lists in one order: Prefect's sets come back in any."""
    if isinstance(value, dict):
        return {key: _sorted(each) for key, each in value.items()}
    if isinstance(value, list):
        return sorted((_sorted(each) for each in value), key=lambda each: json.dumps(each, sort_keys=True))
    return value


@contextmanager
def _explained(api_url: str) -> Iterator[None]:
    try:
        yield
    except (httpx.HTTPError, PrefectHTTPStatusError) as error:
        raise ServerError(f"the Prefect server at {api_url} does not take the deployments: {error}") from error
