"""Events for Prefect: what other automations may hang on. The only module that emits them.

The names are a contract (docs/guides/retrain.md). A payload holds names, digests and numbers, never a record.
"""

from __future__ import annotations

import logging
import os
import threading
import uuid
from collections.abc import Mapping
from typing import Any

log = logging.getLogger("burnish")

DATA_CHANGED = "burnish.data.changed"
RETRAIN_REQUESTED = "burnish.retrain.requested"
MODEL_PROMOTED = "burnish.model.promoted"
MODEL_REJECTED = "burnish.model.rejected"
RECIPE_RESOURCE = "burnish.recipe."
MODEL_RESOURCE = "burnish.model."

_NAMESPACE = uuid.UUID("6b0f1d0e-5d0c-5c0f-9a54-7d3a3f0f6f52")
_SEND_SECONDS = 10.0
"""Longest wait for the server to take an event; a run does not end over a server that is gone."""


def emit_recipe_event(event: str, recipe_name: str, *, occasion: str, payload: Mapping[str, Any]) -> uuid.UUID | None:
    """Emit an event about a recipe; see `_emit`."""
    return _emit(event, f"{RECIPE_RESOURCE}{recipe_name}", recipe_name, occasion=occasion, payload=payload)


def emit_model_event(event: str, model_name: str, *, occasion: str, payload: Mapping[str, Any]) -> uuid.UUID | None:
    """Emit an event about a registered model; see `_emit`."""
    return _emit(event, f"{MODEL_RESOURCE}{model_name}", model_name, occasion=occasion, payload=payload)


def event_id(event: str, resource: str, occasion: str) -> uuid.UUID:
    """The id of an event: equal for equal occasions, so that emitting again after a kill is the same event."""
    return uuid.uuid5(_NAMESPACE, f"{event}\0{resource}\0{occasion}")


def _emit(event: str, resource: str, name: str, *, occasion: str, payload: Mapping[str, Any]) -> uuid.UUID | None:
    """Hand an event to the Prefect server and wait until it is sent.

    Without a server (no `PREFECT_API_URL`) nothing is emitted: Prefect would start one of its own for it. An event that
    a server did not take is told in the log, and the work goes on.

    Args:
        event: its name.
        resource: id of what it is about.
        name: of the resource, for people.
        occasion: identity of what happened, such as that of a decision.
        payload: small JSON values.

    Returns:
        The event's id; None where nothing was emitted.
    """
    if not os.environ.get("PREFECT_API_URL"):
        return None
    from prefect.events import emit_event
    from prefect.events.worker import EventsWorker

    identity = event_id(event, resource, occasion)
    about = {"prefect.resource.id": resource, "prefect.resource.name": name}
    emitted = emit_event(event, about, payload=dict(payload), id=identity)
    sent = threading.Thread(target=EventsWorker.instance().wait_until_empty, daemon=True)
    sent.start()
    sent.join(_SEND_SECONDS)
    if emitted is None or sent.is_alive():
        log.warning("the Prefect server did not take the event %s; automations will not hear of it", event)
        return None
    return identity
