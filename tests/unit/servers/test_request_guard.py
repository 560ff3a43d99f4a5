from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tasks.servers.request_guard import RequestGuard, refusal

NAMES = ("localhost", "127.0.0.1", "::1", "models.example")


@pytest.mark.parametrize(
    ("host", "origin"),
    [
        ("127.0.0.1:4200", None),
        ("localhost:4200", "http://localhost:4200"),
        ("127.0.0.1:4200", "http://localhost:4200"),  # the UI calls its API by the other name
        ("[::1]:4200", "http://[::1]:4200"),
        ("LOCALHOST:9000", "http://localhost:9000"),  # through a tunnel
        ("models.example", "https://models.example"),  # behind a proxy
    ],
)
def test_programs_and_own_pages_are_let_in(host: str, origin: str | None) -> None:
    assert refusal(host, origin, names=NAMES) is None


@pytest.mark.parametrize(
    ("host", "origin"),
    [
        ("", None),
        ("evil.example:4200", None),  # DNS rebinding
        ("evil.example:4200", "http://evil.example:4200"),
        ("localhost:4200", "http://evil.example:4200"),
        ("localhost:4200", "http://localhost:8000"),  # another server's page on the same machine
        ("localhost:4200", "http://localhost"),
        ("localhost:4200", "null"),
        ("localhost:4200", "http://localhost:99999"),
        ("localhost.evil.example:4200", None),
    ],
)
def test_foreign_names_and_pages_are_refused(host: str, origin: str | None) -> None:
    assert refusal(host, origin, names=NAMES)


def sent_for(kind: str, path: str = "/", **headers: str) -> list[dict[str, Any]]:
    """What the guard answers; `passed` stands for the server behind it."""
    sent: list[dict[str, Any]] = []

    async def server(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            await send({"type": "http.response.start", "status": 200, "headers": [(b"x", b"y")]})
        else:
            sent.append({"type": "passed"})

    async def send(message: Any) -> None:
        sent.append(dict(message))

    async def receive() -> Any:
        raise AssertionError("a refused request is not read")

    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    guard = RequestGuard(server, names=NAMES, closed_paths=["/closed"])
    asyncio.run(guard({"type": kind, "path": path, "headers": raw}, receive, send))
    return sent


def test_a_refused_request_gets_403_and_a_refused_websocket_is_closed() -> None:
    assert sent_for("http", host="evil.example")[0]["status"] == 403
    assert sent_for("websocket", host="localhost", origin="http://evil.example")[0]["type"] == "websocket.close"


def test_a_closed_path_is_nobodys() -> None:
    assert sent_for("http", "/a/closed/door", host="localhost")[0]["status"] == 403


def test_everything_else_is_passed_on() -> None:
    assert sent_for("http", host="localhost:4200")[0]["status"] == 200
    assert sent_for("websocket", host="localhost:4200") == [{"type": "passed"}]
    assert sent_for("lifespan") == [{"type": "passed"}]


def test_a_page_may_reach_its_own_servers_only_and_stands_in_no_foreign_frame() -> None:
    headers = dict(sent_for("http", host="localhost:4200")[0]["headers"])

    policy = headers[b"content-security-policy"].decode()
    default, frames = policy.split("; ")
    assert headers[b"x"] == b"y"
    assert {"'self'", "http://localhost:*", "ws://127.0.0.1:*", "https://models.example:*"} <= set(default.split())
    assert not {"*", "http:", "https:", "ws:", "wss:"} & set(default.split())
    assert frames == "frame-ancestors 'self'"
