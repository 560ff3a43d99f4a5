"""Tell the recipe's webhook of a retrain that failed, or whose candidate was rejected."""

from __future__ import annotations

from prefect import flow

from configs.requests import NotifyRequest
from tasks.monitoring.tasks import tell_webhook
from tasks.tracking.tasks import read_recipe


@flow(name="notify", flow_run_name="notify {request.recipe} {request.outcome}")
def notify(request: NotifyRequest) -> bool:
    """Post the outcome; False where the recipe names no webhook."""
    recipe, _ = read_recipe(request)
    return tell_webhook(recipe, request)
