"""Make a version the champion because a person says so."""

from __future__ import annotations

from pathlib import Path

from prefect import flow

from configs.requests import PromoteRequest
from configs.settings import nearest_project_root
from tasks.promotion.tasks import promote_on_request


@flow(name="promote-by-hand", flow_run_name="promote {request.model}/{request.version}")
def promote_by_hand(request: PromoteRequest) -> str:
    """Move the alias, with the reason on record; returns the history's sentence."""
    return promote_on_request(nearest_project_root(Path.cwd(), must_exist=True), request)
