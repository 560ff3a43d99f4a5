"""Make the previous champion the champion again because a person says so."""

from __future__ import annotations

from pathlib import Path

from prefect import flow

from configs.requests import RollbackRequest
from configs.settings import nearest_project_root
from tasks.promotion.tasks import roll_back_on_request


@flow(name="rollback", flow_run_name="rollback {request.model}")
def rollback(request: RollbackRequest) -> str:
    """Move the alias back, with the reason on record; returns the history's sentence."""
    return roll_back_on_request(nearest_project_root(Path.cwd(), must_exist=True), request)
