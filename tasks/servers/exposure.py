"""Whether the servers ask for a password where other machines can reach them. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from configs.errors import ServerError
from configs.servers import ServerSettings
from tasks.servers.services import MLFLOW, PREFECT, Service

AUTH_CONFIG = "MLFLOW_AUTH_CONFIG_PATH"
"""Environment variable: MLflow's basic-auth configuration. Where it is set, our MLflow server asks for a password."""
UNPROTECTED = "BURNISH_UNPROTECTED"
"""Environment variable: `allow` binds wider without a password, for where something in front asks for one."""
_NEEDED_WITH_AUTH = ("MLFLOW_FLASK_SERVER_SECRET_KEY", "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD")
_OPEN = {
    MLFLOW: (
        "MLflow asks nobody for a password: whoever reaches it reads private rows and moves models; "
        f"set {AUTH_CONFIG}, or use a team's server by MLFLOW_TRACKING_URI"
    ),
    PREFECT: (
        "Prefect asks nobody for a password: whoever reaches it runs flows; "
        "set PREFECT_SERVER_API_AUTH_STRING and PREFECT_API_AUTH_STRING to the same user:password"
    ),
}


def exposure_warnings(
    services: Sequence[Service], servers: ServerSettings, environment: Mapping[str, str]
) -> list[str]:
    """Return what to warn of: each server that other machines reach and that lets everybody in, where that is allowed.

    Raises:
        ServerError: it is not allowed, or a password is asked for that our own worker does not know.
    """
    names = [service.name for service in services]
    missing = [name for name in _NEEDED_WITH_AUTH if not environment.get(name)]
    if MLFLOW in names and environment.get(AUTH_CONFIG) and missing:
        raise ServerError(f"{AUTH_CONFIG} makes MLflow ask for a password; set {', '.join(missing)} too")
    if servers.is_loopback:
        return []
    told = [said for name, said in _OPEN.items() if name in names and not _asks(name, environment)]
    if told and environment.get(UNPROTECTED) != "allow":
        raise ServerError(
            f"other machines can reach BURNISH_HOST={servers.host}, and {'; and '.join(told)}. Or keep to 127.0.0.1; "
            f"{UNPROTECTED}=allow starts them all the same (docs/guides/operate.md)"
        )
    return [f"other machines can reach {servers.host}, and {said}" for said in told]


def _asks(name: str, environment: Mapping[str, str]) -> bool:
    return bool(environment.get(AUTH_CONFIG if name == MLFLOW else "PREFECT_SERVER_API_AUTH_STRING"))
