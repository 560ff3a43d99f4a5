"""What images and compose say is what the project has. They can't be built or run here."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from configs.environment import SERVER_SWITCHES, SWITCHES

PROJECT = Path(__file__).resolve().parents[3]
DOCKERFILE = (PROJECT / "infra" / "Dockerfile").read_text()
COMPOSE_TEXT = (PROJECT / "infra" / "compose.yaml").read_text()
COMPOSE: dict[str, Any] = yaml.safe_load(COMPOSE_TEXT)
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
SERVICE_KEYS = {
    "image", "build", "restart", "init", "read_only", "tmpfs", "cap_drop", "security_opt", "environment", "volumes",
    "healthcheck", "entrypoint", "command", "depends_on", "ports", "stop_grace_period",
}  # fmt: skip
"""Of the compose specification, those that are used; a misspelt one would be ignored in silence."""


def test_the_image_sets_every_private_switch() -> None:
    said = dict(re.findall(r"^\s+(?:ENV )?([A-Z_]+)=(\S+)(?: \\)?$", DOCKERFILE, flags=re.MULTILINE))

    assert said.items() >= SWITCHES.items()


def test_the_image_holds_every_package_and_an_extra_that_exists() -> None:
    import tomllib

    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())
    packages = project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    copied = re.findall(r"^COPY (\w+) (\w+)$", DOCKERFILE, flags=re.MULTILINE)
    [extras] = re.findall(r"--editable '\.\[([\w,]+)\]'", DOCKERFILE)

    assert sorted(copied) == sorted((package, package) for package in packages)
    assert "\nCOPY prefect.yaml prefect.yaml\n" in DOCKERFILE, "`burnish provision`, `up` and the worker read it"
    assert set(extras.split(",")) <= set(project["project"]["optional-dependencies"])
    assert re.search(r"^USER 10001", DOCKERFILE, flags=re.MULTILINE)


@pytest.mark.parametrize("name", SERVICES)
def test_every_service_says_only_what_compose_knows(name: str) -> None:
    service = SERVICES[name]

    assert set(service) <= SERVICE_KEYS
    assert "image" in service
    assert service["restart"] in ("unless-stopped", "on-failure")
    assert set(service.get("depends_on", {})) <= set(SERVICES)


def test_whoever_is_waited_for_can_be() -> None:
    for service in SERVICES.values():
        for other, how in service.get("depends_on", {}).items():
            if how["condition"] == "service_healthy":
                assert "healthcheck" in SERVICES[other]
            else:
                assert how["condition"] == "service_completed_successfully"
                assert SERVICES[other]["restart"] == "on-failure"


def test_every_volume_is_declared_or_a_path() -> None:
    for service in SERVICES.values():
        for volume in service.get("volumes", []):
            source = volume.partition(":")[0]
            assert source in COMPOSE["volumes"] or source.startswith(("./", "${"))


def test_ports_are_on_loopback() -> None:
    ports = [port for service in SERVICES.values() for port in service.get("ports", [])]

    assert len(ports) == 2
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_every_secret_comes_from_the_environment_and_is_in_the_example_without_a_value() -> None:
    example = dict(
        line.split("=", 1)
        for line in (PROJECT / "infra" / ".env.example").read_text().splitlines()
        if line and not line.startswith("#")
    )
    required = set(re.findall(r"\$\{([A-Z_]+):\?", COMPOSE_TEXT))
    used = required | set(re.findall(r"\$\{([A-Z_]+):-", COMPOSE_TEXT))

    assert used == set(example)
    assert {name for name, value in example.items() if not value} == required
    for service in SERVICES.values():
        for key, value in service.get("environment", {}).items():
            if re.search(r"PASSWORD|SECRET|AUTH_STRING|POSTGRES_URL|CONNECTION_URL", key):
                assert "${" in value, key


def test_the_servers_are_hardened_and_ask_for_passwords() -> None:
    mlflow, prefect = SERVICES["mlflow"], SERVICES["prefect"]

    assert {**mlflow["environment"], **prefect["environment"]}.items() >= SERVER_SWITCHES.items()
    assert "--app-name=basic-auth" in mlflow["command"]
    assert "PREFECT_SERVER_API_AUTH_STRING" in prefect["environment"]
    for name in ("mlflow", "prefect", "worker", "provision"):
        assert SERVICES[name]["read_only"] is True
        assert SERVICES[name]["cap_drop"] == ["ALL"]


def test_compose_installs_deployments_before_its_confined_worker_starts() -> None:
    install, worker = SERVICES["install"], SERVICES["worker"]

    assert SERVICES["provision"]["command"] == install["command"] == ["burnish", "provision"]
    assert {"PREFECT_API_URL", "PREFECT_API_AUTH_STRING", "BURNISH_ROOTS"} <= set(install["environment"])
    assert {"mlflow", "prefect"} <= set(install["depends_on"])
    assert worker["command"][:2] == ["burnish", "worker"]
    assert worker["depends_on"]["install"] == {"condition": "service_completed_successfully"}
    assert worker["environment"]["BURNISH_ROOTS"] == install["environment"]["BURNISH_ROOTS"]


def test_no_set_up_and_no_guide_starts_a_worker_of_prefect_s_own() -> None:
    files = [*(PROJECT / "infra").rglob("*.yaml"), *(PROJECT / "docs" / "guides").glob("*.md"), PROJECT / "README.md"]

    assert len(files) > 10
    for file in files:
        assert not re.search(r"prefect,? worker,? start|--type[= ](process|kubernetes)", file.read_text()), file
