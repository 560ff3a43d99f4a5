from __future__ import annotations

from pathlib import Path

import pytest

from configs.errors import ServerError
from configs.servers import server_settings_from
from configs.settings import settings_from
from tasks.servers.exposure import exposure_warnings
from tasks.servers.services import planned_services

PREFECT_PASSWORD = {"PREFECT_SERVER_API_AUTH_STRING": "me:secret"}
MLFLOW_PASSWORD = {
    "MLFLOW_AUTH_CONFIG_PATH": "/auth.ini", "MLFLOW_FLASK_SERVER_SECRET_KEY": "key",
    "MLFLOW_TRACKING_USERNAME": "me", "MLFLOW_TRACKING_PASSWORD": "secret",
}  # fmt: skip


def warnings(host: str, **environment: str) -> list[str]:
    given = {"BURNISH_HOST": host, "BURNISH_HOME": "/home", **environment}
    servers = server_settings_from(given)
    services = planned_services(settings_from(given, project_root=Path("/p")), servers, project=Path("/burnish"))
    return exposure_warnings(services, servers, given)


def test_on_loopback_nobody_is_warned() -> None:
    assert warnings("127.0.0.1") == []


def test_prefects_password_alone_does_not_open_mlflow_to_the_network() -> None:
    with pytest.raises(ServerError, match="MLflow asks nobody") as refused:
        warnings("0.0.0.0", **PREFECT_PASSWORD)

    assert "MLFLOW_AUTH_CONFIG_PATH" in str(refused.value)
    assert "Prefect asks nobody" not in str(refused.value)


def test_mlflows_password_alone_does_not_open_prefect_to_the_network() -> None:
    with pytest.raises(ServerError, match="Prefect asks nobody"):
        warnings("0.0.0.0", **MLFLOW_PASSWORD)


def test_servers_that_both_ask_may_be_reached() -> None:
    assert warnings("0.0.0.0", **PREFECT_PASSWORD, **MLFLOW_PASSWORD) == []


def test_a_server_that_somebody_else_runs_is_not_ours_to_judge() -> None:
    assert warnings("0.0.0.0", MLFLOW_TRACKING_URI="https://mlflow.example", **PREFECT_PASSWORD) == []


def test_who_asks_for_it_is_warned_of_each_server() -> None:
    told = warnings("0.0.0.0", BURNISH_UNPROTECTED="allow")

    assert [("MLflow" in line, "Prefect" in line) for line in told] == [(True, False), (False, True)]


def test_a_password_that_the_worker_does_not_know_is_told_at_once() -> None:
    with pytest.raises(ServerError, match="MLFLOW_TRACKING_PASSWORD"):
        warnings("127.0.0.1", **{**MLFLOW_PASSWORD, "MLFLOW_TRACKING_PASSWORD": ""})
