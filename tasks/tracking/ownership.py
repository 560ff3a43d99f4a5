"""Whose a recipe is on a server that others may use too, where no locks are common to all who do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from configs.errors import ServerError
from tasks.storage.locks import FileLocks
from tasks.tracking.mlflow_database import shown
from tasks.tracking.mlflow_runs import INSTALLATION
from tasks.tracking.running_servers import noted_servers

if TYPE_CHECKING:
    from tasks.tracking.mlflow_runs import Tracker


class NotOurs(ServerError):
    """A recipe is another installation's."""


def claim_recipe(tracker: Tracker, name: str) -> None:
    """Make a recipe's experiment this installation's, before looks are counted or aliases moved.

    Files as locks keep out only processes of the same home. So the first home that works on a recipe keeps it, and
    others are refused; with the locks of a database, and on the home's own server, there is nothing to refuse.

    Raises:
        NotOurs: another installation works on it, and no locks are common to both.
    """
    if tracker.is_local or not tracker.installation:
        return
    with tracker.explained(f"read the experiment {name!r}"):
        experiment = tracker.client.get_experiment_by_name(name)
    if experiment is None:
        return
    owner = experiment.tags.get(INSTALLATION)
    if owner is None or (owner != tracker.installation and _has_common_locks(tracker)):
        tracker.tag_experiment(experiment.experiment_id, {INSTALLATION: tracker.installation})
        with tracker.explained(f"read the experiment {name!r}"):  # another one may have claimed it at the same time
            owner = tracker.client.get_experiment(experiment.experiment_id).tags.get(INSTALLATION)
    if owner != tracker.installation:
        raise NotOurs(
            f"recipe {name!r} belongs to another installation ({owner}) in MLflow at {shown(tracker.tracking_uri)}, "
            "and without common locks two would undo each other's work; set BURNISH_POSTGRES_URL on every machine, or "
            f"give the recipe another name (or, if nobody works there any more, delete the experiment's tag "
            f"{INSTALLATION} in MLflow)"
        )


def _has_common_locks(tracker: Tracker) -> bool:
    """Whether whoever else writes to this MLflow takes the same locks."""
    if not isinstance(tracker.locks, FileLocks):
        return True
    own = noted_servers(tracker.home)
    return own is not None and own.mlflow_url.rstrip("/") == tracker.tracking_uri.rstrip("/")
