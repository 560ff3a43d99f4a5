"""What a flow run leaves to look at in the Prefect UI besides its report: progress, and links into MLflow."""

from __future__ import annotations

import logging
from uuid import UUID

import httpx
from prefect.artifacts import create_link_artifact, create_progress_artifact, update_progress_artifact
from prefect.exceptions import PrefectHTTPStatusError

log = logging.getLogger("burnish")


def artifact_key(*parts: str) -> str:
    """Return a key that Prefect takes: lower-case letters, digits and dashes."""
    return "-".join(parts).replace("_", "-").lower()


class ProgressBar:
    """A bar on the flow run's page. Make it in the task; any thread may move it."""

    def __init__(self, key: str, description: str) -> None:
        self._artifact: UUID = create_progress_artifact(progress=0.0, key=key, description=description)

    def show(self, share: float, description: str) -> None:
        """Move the bar to a share between 0 and 1; work goes on where the server can't be reached."""
        try:
            update_progress_artifact(self._artifact, progress=100 * min(max(share, 0.0), 1.0), description=description)
        except (httpx.HTTPError, PrefectHTTPStatusError) as error:
            log.debug("the progress bar could not be moved: %s", error)


def link_to_page(tracking_uri: str, page: str, *, text: str, key: str) -> None:
    """Leave a link to a page of the MLflow UI; without an MLflow server there is no page."""
    if tracking_uri.startswith(("http://", "https://")):
        create_link_artifact(link=f"{tracking_uri.rstrip('/')}/{page}", link_text=text, key=key)
