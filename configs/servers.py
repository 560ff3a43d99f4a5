"""Where the servers of an installation listen: read once from the environment."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

from configs.errors import RecipeError

HOST, MLFLOW_PORT, PREFECT_PORT, ALLOWED_HOSTS = (
    "BURNISH_HOST",
    "BURNISH_MLFLOW_PORT",
    "BURNISH_PREFECT_PORT",
    "BURNISH_ALLOWED_HOSTS",
)
LOOPBACK_NAMES = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True)
class ServerSettings:
    """Addresses of the servers that `burnish up` starts."""

    host: str
    """Address to listen at; beyond loopback anybody who reaches it is let in, unless authentication is on."""
    mlflow_port: int
    prefect_port: int
    allowed_hosts: tuple[str, ...]
    """Names, besides loopback's own, by which a browser may reach the servers."""

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach the servers."""
        if self.host in LOOPBACK_NAMES:
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def mlflow_url(self) -> str:
        """Address of the MLflow UI and API, as this machine reaches it."""
        return f"http://{self._own_name}:{self.mlflow_port}"

    @property
    def prefect_url(self) -> str:
        """Address of the Prefect UI, as this machine reaches it."""
        return f"http://{self._own_name}:{self.prefect_port}"

    @property
    def prefect_api_url(self) -> str:
        """Address of the Prefect API, as this machine reaches it."""
        return f"{self.prefect_url}/api"

    def at_ports_of(self, mlflow_url: str, prefect_url: str) -> ServerSettings:
        """These settings with the ports of two addresses: those that the servers were started with."""
        ports = [urlsplit(url).port or 80 for url in (mlflow_url, prefect_url)]
        return replace(self, mlflow_port=ports[0], prefect_port=ports[1])

    @property
    def _own_name(self) -> str:
        if self.host in ("0.0.0.0", "::", ""):
            return "127.0.0.1"
        return f"[{self.host}]" if ":" in self.host else self.host


def server_settings_from(environment: Mapping[str, str] | None = None) -> ServerSettings:
    """Read the addresses; the defaults are the tools' own ports on loopback.

    Raises:
        RecipeError: a port that is no number between 1 and 65535, or one port for both servers.
    """
    environment = os.environ if environment is None else environment
    mlflow_port = _port(environment, MLFLOW_PORT, default=5000)
    prefect_port = _port(environment, PREFECT_PORT, default=4200)
    if mlflow_port == prefect_port:
        raise RecipeError(f"{MLFLOW_PORT} and {PREFECT_PORT} are both {mlflow_port}; give each server its own port")
    names = [name.strip() for name in environment.get(ALLOWED_HOSTS, "").split(",")]
    return ServerSettings(
        host=environment.get(HOST) or "127.0.0.1",
        mlflow_port=mlflow_port,
        prefect_port=prefect_port,
        allowed_hosts=tuple(name for name in names if name),
    )


def _port(environment: Mapping[str, str], name: str, *, default: int) -> int:
    text = environment.get(name) or str(default)
    if not text.isdecimal() or not 0 < int(text) < 65536:
        raise RecipeError(f"{name} must be a port between 1 and 65535, got {text!r}")
    return int(text)
