"""What a team's servers need before the first recipe: databases, a bucket, a user of MLflow. Made where missing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from configs.settings import Settings

ADMIN, ADMIN_PASSWORD = "MLFLOW_AUTH_ADMIN_USERNAME", "MLFLOW_AUTH_ADMIN_PASSWORD"
USER, PASSWORD = "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"


def provision(settings: Settings, environment: Mapping[str, str]) -> Iterator[str]:
    """Make what is missing of all that the environment names, and yield a line for each.

    Raises:
        ServerError: a server can't be reached or refuses.
    """
    from tasks.storage.boto3_directories import ensure_bucket
    from tasks.storage.postgres_databases import prepare_databases
    from tasks.tracking.mlflow_users import ensure_user

    for name in prepare_databases(settings):
        yield f"made the database {name}"
    if settings.artifact_root is not None and ensure_bucket(settings.artifact_root):
        yield f"made the bucket of {settings.artifact_root}"
    if settings.tracking_uri.startswith(("http://", "https://")) and environment.get(ADMIN_PASSWORD):
        made = ensure_user(
            settings.tracking_uri,
            user=environment.get(USER, ""), password=environment.get(PASSWORD, ""),
            admin=environment.get(ADMIN, "admin"), admin_password=environment[ADMIN_PASSWORD],
        )  # fmt: skip
        if made:
            yield f"made the user {environment.get(USER)} of MLflow"
