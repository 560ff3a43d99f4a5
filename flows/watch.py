"""Look whether a recipe's data changed, or a retrain is due that nobody does; events tell whoever listens."""

from __future__ import annotations

from prefect import flow
from prefect.states import Completed, State

from configs.requests import WatchRequest
from tasks.monitoring.tasks import look_and_tell
from tasks.tracking.tasks import read_recipe


@flow(name="watch", flow_run_name="watch {request.recipe}")
def watch(request: WatchRequest) -> State[str]:
    """Compare the source with the last look; the first one only remembers. Ask for a retrain that got lost."""
    recipe, project_root = read_recipe(request)
    seen = look_and_tell(recipe, project_root, request)
    return Completed(
        name=seen.outcome.capitalize(), message=f"the data of {recipe.name}: {seen.sentence}", data=seen.sentence
    )
