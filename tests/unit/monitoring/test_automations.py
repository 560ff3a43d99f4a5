"""What the templates make of an event, as Prefect's server renders them."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from configs.environment import HEARTBEAT_SECONDS
from tasks.monitoring.automations import FINAL_STATES, HEARTBEAT, crash_automation, retrain_automations

RETRAIN, ON_EVENT, NOTIFY = UUID(int=1), UUID(int=2), UUID(int=3)
EVIL = 'a"}, "force": true, {{ 7 * 7 }} \n</script>'


def rendered(position: int, **context: Any) -> dict[str, Any]:
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    automation = retrain_automations(retrain=RETRAIN, on_event=ON_EVENT, notify=NOTIFY)[position]
    parameter = automation.actions[0].parameters["request"]
    assert parameter["__prefect_kind"] == "json"
    assert parameter["value"]["__prefect_kind"] == "jinja"
    text = ImmutableSandboxedEnvironment().from_string(parameter["value"]["template"]).render(**context)
    values: dict[str, Any] = json.loads(text)
    return values


def event(**payload: Any) -> dict[str, Any]:
    return {"payload": payload, "resource": {"id": "burnish.recipe.tickets", "prefect.state-name": "Crashed"}}


def test_changed_data_asks_for_the_recipe_and_names_the_data() -> None:
    request = rendered(0, event=event(recipe="smoke", overrides=["seed=3"], source="ab" * 32))

    assert request == {"recipe": "smoke", "overrides": ["seed=3"], "source": "ab" * 32}


def test_a_bare_request_names_the_recipe_by_its_resource() -> None:
    assert rendered(1, event=event()) == {"recipe": "tickets", "overrides": [], "reason": "an event asks"}


@pytest.mark.parametrize("reason", [EVIL, "x" * 5000, 7])
def test_whatever_a_payload_holds_stays_one_value(reason: Any) -> None:
    from configs.requests import RetrainRequest

    request = rendered(1, event=event(recipe="smoke", reason=reason))

    assert set(request) == {"recipe", "overrides", "reason"}
    assert request["reason"] == str(reason)[:1000]
    assert not RetrainRequest.model_validate(request).force


def test_a_retrain_that_ended_badly_is_told_with_its_own_request() -> None:
    from configs.requests import NotifyRequest

    flow_run = {"id": UUID(int=9), "name": "smoke 1234", "parameters": {"request": {"recipe": "smoke"}}}
    request = rendered(2, event=event(), flow_run=flow_run)

    assert NotifyRequest.model_validate(request).outcome == "crashed"
    assert request["flow_run"] == str(UUID(int=9))


def test_the_names_are_the_automations_identity() -> None:
    names = [automation.name for automation in retrain_automations(retrain=RETRAIN, on_event=ON_EVENT, notify=NOTIFY)]

    assert len(set(names)) == 3


def test_a_silent_run_is_crashed_and_one_that_ended_is_not() -> None:
    trigger = crash_automation([RETRAIN]).trigger

    assert trigger.posture.value == "Proactive"
    assert trigger.after == {"prefect.flow-run.heartbeat"}
    assert trigger.after <= trigger.expect
    assert trigger.within.total_seconds() > 2 * HEARTBEAT_SECONDS


@pytest.mark.parametrize(
    ("related", "is_ours"),
    [
        ({"prefect.resource.id": f"prefect.deployment.{RETRAIN}", "prefect.resource.role": "deployment"}, True),
        ({"prefect.resource.id": "prefect.tag.installation:0ab1", "prefect.resource.role": "tag"}, True),
        ({"prefect.resource.id": f"prefect.deployment.{UUID(int=77)}", "prefect.resource.role": "deployment"}, False),
        ({"prefect.resource.id": "prefect.tag.nightly", "prefect.resource.role": "tag"}, False),
    ],
)
def test_only_our_own_runs_are_crashed_for_being_silent(related: dict[str, str], is_ours: bool) -> None:
    """Others on the server beat every 180 s, as Prefect's default says."""
    from prefect.server.events.schemas.automations import EventTrigger
    from prefect.server.events.schemas.events import Event

    trigger = EventTrigger.model_validate(crash_automation([RETRAIN]).trigger.model_dump(mode="json"))
    run = {"prefect.resource.id": f"prefect.flow-run.{UUID(int=5)}"}
    beat = Event(id=UUID(int=6), event=HEARTBEAT, occurred=datetime.now(UTC), resource=run, related=[related])

    assert trigger.covers(beat.receive()) is is_ours


def test_every_name_of_a_final_state_of_our_flows_is_known() -> None:
    """Prefect names the event after the state: one that is not expected would be taken for silence."""
    import re
    from pathlib import Path
    from typing import get_args, get_type_hints

    from tasks.monitoring.source_watch import Look

    sources = "\n".join(path.read_text() for path in Path("flows").glob("*.py"))
    named = set(re.findall(r'Completed\(name="([^"]+)"', sources))
    looks = {outcome.capitalize() for outcome in get_args(get_type_hints(Look)["outcome"])}

    assert named
    assert looks
    assert named | looks | {"Promoted", "Rejected"} <= set(FINAL_STATES)
