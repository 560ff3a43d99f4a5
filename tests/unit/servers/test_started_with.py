from __future__ import annotations

import pytest

from tasks.servers.services import Service
from tasks.servers.started_with import changed_settings, digests_of_settings

SERVICES = [Service("mlflow", ("uvicorn", "--port", "5000"))]
GIVEN = {"BURNISH_TRAINING_SLOTS": "1", "AWS_SECRET_ACCESS_KEY": "planted-secret", "PATH": "/bin"}


def changed(**other: str | None) -> list[str]:
    now = {key: value for key, value in {**GIVEN, **other}.items() if value is not None}
    return changed_settings(digests_of_settings(SERVICES, GIVEN), SERVICES, now)


def test_equal_settings_are_equal_whatever_the_salt() -> None:
    assert changed() == []
    assert digests_of_settings(SERVICES, GIVEN) != digests_of_settings(SERVICES, GIVEN)


@pytest.mark.parametrize(
    "name",
    [
        "BURNISH_TRAINING_SLOTS", "BURNISH_STUDY_URL", "BURNISH_WEBHOOK", "BURNISH_WEBHOOK_TICKETS", "BURNISH_ROOTS",
        "BURNISH_KEEP_DAYS", "BURNISH_POSTGRES_URL", "BURNISH_ARTIFACT_ROOT", "AWS_SECRET_ACCESS_KEY",
        "AWS_ENDPOINT_URL", "MLFLOW_TRACKING_PASSWORD", "PREFECT_API_AUTH_STRING", "PGPASSWORD", "CUDA_VISIBLE_DEVICES",
        "BURNISH_HUB", "HF_TOKEN", "HF_ENDPOINT",
    ],
)  # fmt: skip
def test_what_services_read_is_noticed_when_it_changes(name: str) -> None:
    assert changed(**{name: "other"}) == [name]


def test_a_setting_that_is_gone_is_noticed() -> None:
    assert changed(AWS_SECRET_ACCESS_KEY=None) == ["AWS_SECRET_ACCESS_KEY"]


def test_other_ports_are_noticed() -> None:
    noted = digests_of_settings(SERVICES, GIVEN)

    assert changed_settings(noted, [Service("mlflow", ("uvicorn", "--port", "5001"))], GIVEN) == ["commands"]


@pytest.mark.parametrize("name", ["PWD", "SHLVL", "BURNISH_MAX_GIB", "BURNISH_KILL_PID"])
def test_what_no_service_reads_changes_nothing(name: str) -> None:
    assert changed(**{name: "other"}) == []


def test_no_value_is_kept() -> None:
    assert "planted-secret" not in str(digests_of_settings(SERVICES, GIVEN))
