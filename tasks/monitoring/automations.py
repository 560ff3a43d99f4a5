"""The automations of an installation, as code: values for whoever installs them. Nothing is sent from here."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Any
from uuid import UUID

from prefect.client.schemas.objects import StateType
from prefect.events.actions import ChangeFlowRunState, RunDeployment
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture

from tasks.tracking.prefect_events import DATA_CHANGED, RECIPE_RESOURCE, RETRAIN_REQUESTED
from tasks.tracking.prefect_heartbeats import SILENT_MESSAGE, SILENT_SECONDS
from tasks.tracking.prefect_server import INSTALLATION_TAG

_RECIPE = "event.payload.recipe | default(event.resource.id | replace('" + RECIPE_RESOURCE + "', ''))"
_OVERRIDES = "event.payload.overrides | default([])"
_ENDED_BADLY = ("Failed", "Crashed", "Rejected")
"""Names of the retrain's final states that somebody should hear of."""

HEARTBEAT = "prefect.flow-run.heartbeat"
FINAL_STATES = (
    "Completed", "Failed", "Crashed", "Cancelled", "TimedOut",
    "Skipped", "Rejected", "Promoted", "Unchanged", "Changed", "First look",
)  # fmt: skip
"""Names of every state in which a flow run ends, our flows' own among them: Prefect names the event after the state."""


def crash_automation(deployments: Iterable[UUID]) -> AutomationCore:
    """A run whose process was killed, or whose machine went down, ends as Crashed instead of running for ever.

    Only ours are looked at: other flows on the server beat as rarely as Prefect's default says, or not at all.

    Args:
        deployments: ids of our deployments; runs from the command line are known by their tags.
    """
    return AutomationCore(
        name="burnish: a run that fell silent has crashed",
        description=f"No heartbeat for {SILENT_SECONDS} s and no final state: the process is gone.",
        trigger=EventTrigger(
            after={HEARTBEAT},
            expect={HEARTBEAT, *(f"prefect.flow-run.{state}" for state in FINAL_STATES)},
            match={"prefect.resource.id": "prefect.flow-run.*"},
            match_related={
                "prefect.resource.id": [
                    f"prefect.tag.{INSTALLATION_TAG}*",
                    *(f"prefect.deployment.{each}" for each in deployments),
                ]
            },
            for_each={"prefect.resource.id"},
            posture=Posture.Proactive,
            within=timedelta(seconds=SILENT_SECONDS),
        ),
        actions=[ChangeFlowRunState(state=StateType.CRASHED, message=SILENT_MESSAGE)],
    )


def retrain_automations(*, retrain: UUID, on_event: UUID, notify: UUID) -> list[AutomationCore]:
    """Changed data and whoever asks start `retrain`; a retrain that failed, crashed or was rejected starts `notify`.

    Install by name: an automation of the same name is replaced.

    Args:
        retrain: id of the deployment of `flows.retrain.retrain` for schedules and people.
        on_event: id of its deployment for events.
        notify: id of the deployment of `flows.notify.notify`.
    """
    return [
        AutomationCore(
            name="burnish: changed data starts a retrain",
            description="Each change that the watcher sees asks for one retrain; the retrain decides whether it goes.",
            trigger=_on_recipe_event(DATA_CHANGED),
            actions=[_run(on_event, recipe=_RECIPE, overrides=_OVERRIDES, source="event.payload.source")],
        ),
        AutomationCore(
            name="burnish: a request starts a retrain",
            description="Any system may emit burnish.retrain.requested with a reason.",
            trigger=_on_recipe_event(RETRAIN_REQUESTED),
            actions=[
                _run(
                    on_event,
                    recipe=_RECIPE,
                    overrides=_OVERRIDES,
                    reason="(event.payload.reason | default('an event asks') | string)[:1000]",
                )
            ],
        ),
        AutomationCore(
            name="burnish: a retrain without a new champion is told",
            description="Posts to the webhook that the recipe names in retraining.webhook, if it names one.",
            trigger=EventTrigger(
                expect={f"prefect.flow-run.{state}" for state in _ENDED_BADLY},
                match={"prefect.resource.id": "prefect.flow-run.*"},
                match_related={
                    "prefect.resource.role": "deployment",
                    "prefect.resource.id": [f"prefect.deployment.{each}" for each in (retrain, on_event)],
                },
                posture=Posture.Reactive,
            ),
            actions=[
                _run(
                    notify,
                    recipe="flow_run.parameters.request.recipe",
                    overrides="flow_run.parameters.request.overrides | default([])",
                    outcome="event.resource['prefect.state-name'] | lower",
                    flow_run="flow_run.id | string",
                    flow_run_name="flow_run.name",
                )
            ],
        ),
    ]


def _on_recipe_event(event: str) -> EventTrigger:
    return EventTrigger(expect={event}, match={"prefect.resource.id": f"{RECIPE_RESOURCE}*"}, posture=Posture.Reactive)


def _run(deployment: UUID, **fields: str) -> RunDeployment:
    """Run a deployment whose one parameter `request` is made from the event: a Jinja expression for each field."""
    pairs = ", ".join(f'"{name}": {{{{ ({expression}) | tojson }}}}' for name, expression in fields.items())
    template = {"__prefect_kind": "jinja", "template": f"{{{pairs}}}"}
    request: dict[str, Any] = {"__prefect_kind": "json", "value": template}
    return RunDeployment(source="selected", deployment_id=deployment, parameters={"request": request})
