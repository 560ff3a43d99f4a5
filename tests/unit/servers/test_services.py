from __future__ import annotations

import configparser
from dataclasses import replace
from pathlib import Path

import pytest

from configs.environment import SWITCHES, set_private_switches
from configs.errors import RecipeError, ServerError
from configs.servers import server_settings_from
from configs.settings import Settings, settings_from
from tasks.servers.services import planned_services, shared_environment
from tasks.servers.supervisor_config import configuration
from tasks.servers.supervisord import socket_path

SERVERS = server_settings_from({})


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return settings_from({"BURNISH_HOME": str(tmp_path / "home")}, project_root=tmp_path)


def environment_of(settings: Settings, **given: str) -> dict[str, str]:
    set_private_switches(given)
    return shared_environment(settings, SERVERS, roots="/data", given=given)


def test_the_defaults_are_the_tools_own_ports_on_loopback() -> None:
    assert (SERVERS.host, SERVERS.mlflow_port, SERVERS.prefect_port) == ("127.0.0.1", 5000, 4200)
    assert SERVERS.is_loopback


def test_the_ports_of_running_servers_win_over_those_of_this_shell(settings: Settings) -> None:
    running = replace(settings, tracking_uri="http://127.0.0.1:5610", prefect_api_url="http://127.0.0.1:4610/api")

    at_their_ports = SERVERS.at_ports_of(running.tracking_uri, "http://127.0.0.1:4610/api")

    assert [each.name for each in planned_services(running, at_their_ports, project=Path())] == [
        "mlflow", "prefect", "worker",
    ]  # fmt: skip


@pytest.mark.parametrize("text", ["0", "65536", "five", "-1", "1.5"])
def test_a_port_is_a_port(text: str) -> None:
    with pytest.raises(RecipeError, match="BURNISH_PREFECT_PORT must be a port"):
        server_settings_from({"BURNISH_PREFECT_PORT": text})


def test_two_servers_need_two_ports() -> None:
    with pytest.raises(RecipeError, match="are both 4200"):
        server_settings_from({"BURNISH_MLFLOW_PORT": "4200"})


@pytest.mark.parametrize(("host", "loopback"), [("::1", True), ("127.0.0.2", True), ("0.0.0.0", False), ("box", False)])
def test_what_reaches_beyond_this_machine_is_known(host: str, loopback: bool) -> None:
    assert server_settings_from({"BURNISH_HOST": host}).is_loopback is loopback


def test_every_switch_is_in_every_services_environment(settings: Settings) -> None:
    environment = environment_of(settings, HF_HUB_OFFLINE="0")

    assert {key: environment[key] for key in SWITCHES} == SWITCHES
    assert environment["BURNISH_ROOTS"] == "/data"
    assert environment["PREFECT_API_URL"] == "http://127.0.0.1:4200/api"
    assert environment["MLFLOW_TRACKING_URI"] == "http://127.0.0.1:5000"
    assert environment["MLFLOW_BACKEND_STORE_URI"] == settings.tracking_uri


def test_three_services_start_the_worker_last(settings: Settings) -> None:
    names = [service.name for service in planned_services(settings, SERVERS, project=Path("/burnish"))]

    assert names == ["mlflow", "prefect", "worker"]


def test_a_server_that_lies_elsewhere_is_used_and_not_started(settings: Settings) -> None:
    elsewhere = replace(settings, tracking_uri="https://mlflow.example", prefect_api_url="https://prefect.example/api")

    names = [service.name for service in planned_services(elsewhere, SERVERS, project=Path("/burnish"))]
    environment = environment_of(elsewhere)

    assert names == ["worker"]
    assert environment["MLFLOW_TRACKING_URI"] == "https://mlflow.example"
    assert environment["PREFECT_API_URL"] == "https://prefect.example/api"


def test_our_own_addresses_in_the_shell_change_nothing(settings: Settings) -> None:
    own = replace(settings, tracking_uri="http://127.0.0.1:5000", prefect_api_url="http://127.0.0.1:4200/api")

    assert len(planned_services(own, SERVERS, project=Path("/burnish"))) == 3
    assert environment_of(own)["MLFLOW_BACKEND_STORE_URI"] == f"sqlite:///{settings.home / 'mlflow.db'}"


def test_a_teams_databases_and_store_are_the_servers_own(tmp_path: Path) -> None:
    team = {
        "BURNISH_POSTGRES_URL": "postgresql://me:secret@db/postgres",
        "BURNISH_ARTIFACT_ROOT": "s3://shared/burnish",
    }
    environment = environment_of(settings_from(team, project_root=tmp_path))

    assert environment["MLFLOW_BACKEND_STORE_URI"] == "postgresql+psycopg://me:secret@db/burnish_mlflow"
    assert environment["PREFECT_API_DATABASE_CONNECTION_URL"] == "postgresql+asyncpg://me:secret@db/burnish_prefect"
    assert environment["MLFLOW_DEFAULT_ARTIFACT_ROOT"] == "s3://shared/burnish/mlflow"
    assert environment["MLFLOW_TRACKING_URI"] == SERVERS.mlflow_url


def test_the_configuration_is_what_supervisord_reads(settings: Settings) -> None:
    services = planned_services(settings, SERVERS, project=Path("/a folder"))

    text = configuration(services, folder=settings.home / "servers", socket=settings.home / "s.sock")

    parsed = configparser.RawConfigParser(inline_comment_prefixes=(";", "#"))
    parsed.read_string(text)
    assert {"program:mlflow", "program:prefect", "program:worker"} <= set(parsed.sections())
    assert "'/a folder'" in parsed["program:mlflow"]["command"]
    assert all(parsed[f"program:{service.name}"]["killasgroup"] == "true" for service in services)
    assert parsed["supervisord"]["umask"] == "077"


def test_a_secret_of_the_shell_is_in_no_file(settings: Settings) -> None:
    text = configuration(
        planned_services(settings, SERVERS, project=Path("/burnish")),
        folder=settings.home, socket=settings.home / "s.sock",
    )  # fmt: skip

    assert "environment" not in text


@pytest.mark.parametrize("name", ["a ;b", "a #b", "100%"])
def test_a_folder_that_the_file_cannot_name_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ServerError, match="choose a BURNISH_HOME"):
        configuration([], folder=tmp_path / name, socket=tmp_path / "s.sock")


def test_a_deep_home_has_its_socket_in_a_short_place(tmp_path: Path) -> None:
    deep = Path("/home") / ("d" * 200)

    assert socket_path(Path("/home/x")) == Path("/home/x/servers/supervisord.sock")
    assert len(str(socket_path(deep, temporary=Path("/tmp")))) < 100
    assert socket_path(deep, temporary=Path("/tmp")) != socket_path(deep / "e", temporary=Path("/tmp"))


def test_our_prefect_server_removes_old_flow_runs_by_itself(
    tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    from prefect.settings.models.server.services import ServerServicesDBVacuumSettings

    monkeypatch.chdir(tmp_path)  # no prefect.toml
    for key, value in environment_of(replace(settings, keep_days=2.0)).items():
        if key.startswith("PREFECT_SERVER_SERVICES_"):
            monkeypatch.setenv(key, value)

    read = ServerServicesDBVacuumSettings()

    assert {"flow_runs", "events"} <= read.enabled_vacuum_types
    assert read.retention_period.total_seconds() == 2 * 86400
