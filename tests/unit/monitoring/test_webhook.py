"""A real server on loopback answers what the test asks for."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from configs.errors import ServerError
from configs.schema import Retraining
from tasks.monitoring.webhook import post_to_webhook

POLICY = Retraining(webhook="BURNISH_WEBHOOK", webhook_timeout_seconds=5, webhook_attempts=3)
SECRET = "T0K3N"


class Receiver(ThreadingHTTPServer):
    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers: list[int] = []
        self.messages: list[dict[str, Any]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/{SECRET}"


class Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        self.server.messages.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        status = self.server.answers.pop(0) if self.server.answers else 200
        self.send_response(status)
        if status in (301, 302):
            self.send_header("Location", "/elsewhere")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    server = Receiver()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def post(receiver: Receiver, **changed: Any) -> tuple[bool, list[float]]:
    pauses: list[float] = []
    policy = POLICY.model_copy(update=changed)
    told = post_to_webhook(policy, {"text": "x"}, environment={"BURNISH_WEBHOOK": receiver.url}, pause=pauses.append)
    return told, pauses


def test_a_message_is_posted_as_json(receiver: Receiver) -> None:
    assert post(receiver) == (True, [])
    assert receiver.messages == [{"text": "x"}]


def test_without_a_webhook_nobody_is_told(receiver: Receiver) -> None:
    assert post(receiver, webhook=None) == (False, [])
    assert receiver.messages == []


def test_a_failing_server_is_asked_again_with_growing_pauses(receiver: Receiver) -> None:
    receiver.answers = [500, 429]

    assert post(receiver) == (True, [1.0, 2.0])
    assert len(receiver.messages) == 3


@pytest.mark.parametrize(("status", "tries"), [(500, 3), (404, 1), (302, 1)])
def test_a_refusal_is_final_and_an_error_is_bounded(receiver: Receiver, status: int, tries: int) -> None:
    receiver.answers = [status] * 5

    with pytest.raises(ServerError, match=f"BURNISH_WEBHOOK .*HTTP status {status}") as caught:
        post(receiver)

    assert len(receiver.messages) == tries
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("value", [None, "", "file:///etc/passwd", "https://", "no url", "http://[" + SECRET])
def test_the_variable_must_hold_a_web_address(value: str | None) -> None:
    environment = {} if value is None else {"BURNISH_WEBHOOK": value}

    with pytest.raises(ServerError, match="BURNISH_WEBHOOK") as caught:
        post_to_webhook(POLICY, {}, environment=environment)

    assert SECRET not in str(caught.value)


def test_nobody_there_is_told_without_the_address() -> None:
    environment = {"BURNISH_WEBHOOK": f"http://127.0.0.1:9/{SECRET}"}

    with pytest.raises(ServerError, match="no connection") as caught:
        post_to_webhook(POLICY, {}, environment=environment, pause=lambda seconds: None)

    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("name", ["AWS_SECRET_ACCESS_KEY", "https://hooks.example/T0K3N", "BURNISH_HOME"])
def test_a_recipe_can_name_only_a_webhook_variable(name: str) -> None:
    with pytest.raises(ValueError, match="webhook"):
        Retraining(webhook=name)
