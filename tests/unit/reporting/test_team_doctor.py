from collections.abc import Mapping

import pytest

from tasks.reporting.doctor import Finding
from tasks.reporting.team_doctor import Answer, check_mlflow, check_prefect

US = {"MLFLOW_TRACKING_USERNAME": "w", "MLFLOW_TRACKING_PASSWORD": "own", "PREFECT_API_AUTH_STRING": "w:own"}


class FakeServer:
    """Lets in who is on its list, and tells its version to them."""

    def __init__(self, *, lets_in: set[str | None], version: str) -> None:
        self._lets_in, self._version = lets_in, version

    def __call__(self, url: str, who: str | None) -> Answer:
        return Answer(200, self._version) if who in self._lets_in else Answer(401, "")


def failures(findings: list[Finding]) -> str:
    return "; ".join(finding.found for finding in findings if not finding.healthy)


def mlflow(server: FakeServer, *, url: str = "https://mlflow.example", who: Mapping[str, str] = US) -> str:
    return failures(list(check_mlflow(url, who, server)))


def prefect(server: FakeServer, *, url: str = "https://prefect.example/api") -> str:
    return failures(list(check_prefect(url, US, server)))


def test_a_server_with_a_password_of_its_own_behind_tls_is_healthy() -> None:
    assert mlflow(FakeServer(lets_in={"w:own"}, version="3.17.2")) == ""
    assert prefect(FakeServer(lets_in={"w:own"}, version='"3.8.8"')) == ""


def test_a_server_that_asks_nobody_fails() -> None:
    everybody = {None, "w:own", "admin:password1234", "admin:pass"}

    assert "lets in whoever reaches it" in mlflow(FakeServer(lets_in=everybody, version="3.17.2"))
    assert "lets in whoever reaches it" in prefect(FakeServer(lets_in=everybody, version="3.8.8"))


def test_a_password_out_of_the_manual_fails() -> None:
    assert "in its manual" in mlflow(FakeServer(lets_in={"w:own", "admin:password1234"}, version="3.17.2"))
    assert "in its manual" in prefect(FakeServer(lets_in={"w:own", "admin:pass"}, version="3.8.8"))


def test_a_version_with_known_holes_fails() -> None:
    assert "mlflow 3.14.0" in mlflow(FakeServer(lets_in={"w:own"}, version="3.14.0"))
    assert "prefect 3.8.2" in prefect(FakeServer(lets_in={"w:own"}, version='"3.8.2"'))


def test_passwords_in_the_clear_fail_unless_they_stay_on_this_machine() -> None:
    server = FakeServer(lets_in={"w:own"}, version="3.17.2")

    assert "in the clear" in mlflow(server, url="http://mlflow.example")
    assert mlflow(server, url="http://127.0.0.1:5000") == ""


def test_our_own_password_must_be_the_right_one() -> None:
    assert "refuses us" in mlflow(FakeServer(lets_in={"other:own"}, version="3.17.2"))


@pytest.mark.parametrize("answer", [Answer(0, "connection refused")])
def test_a_server_that_does_not_answer_is_said_to_be_down(answer: Answer) -> None:
    findings = list(check_mlflow("https://mlflow.example", US, lambda url, who: answer))

    assert any("doesn't answer: connection refused" in finding.found for finding in findings)
