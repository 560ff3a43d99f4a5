"""The temporary Prefect server of a command."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import psutil
import pytest

from configs.errors import ServerError
from tasks.tracking import prefect_server as module
from tasks.tracking.prefect_server import _without_heartbeats, prefect_server
from tasks.tracking.running_servers import health


class _Busy(BaseHTTPRequestHandler):
    """Answers its first request too late, the next at once."""

    asked = 0

    def do_GET(self) -> None:
        _Busy.asked += 1
        if _Busy.asked == 1:
            time.sleep(3)
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def busy_url(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A running server that is slow to answer."""
    monkeypatch.setattr(_Busy, "asked", 0)
    monkeypatch.setattr(module, "_ATTEMPT_SECONDS", 1.0)
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Busy)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}/api"
    server.shutdown()
    server.server_close()


def test_a_running_server_that_is_slow_to_answer_is_waited_for(tmp_path: Path, busy_url: str) -> None:
    with prefect_server(tmp_path, busy_url) as url:
        assert url == busy_url
    assert _Busy.asked >= 2


def test_one_that_stays_silent_is_told(tmp_path: Path, busy_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PATIENCE_SECONDS", 0.0)

    with pytest.raises(ServerError, match="has not answered for 0 s"), prefect_server(tmp_path, busy_url):
        pass


def test_one_that_takes_no_connection_is_told_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    attempts = []

    def count(url: str, *, within_seconds: float) -> str:
        attempts.append(url)
        return health(url, within_seconds=within_seconds)

    monkeypatch.setattr(module, "health", count)

    with pytest.raises(ServerError, match="no Prefect server answers"), prefect_server(tmp_path, "http://127.0.0.1:9"):
        pass

    assert len(attempts) == 1


def test_what_fails_while_a_server_starts_leaves_none_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "prefect"))
    before = psutil.Process().children(recursive=True)

    with pytest.raises(ModuleNotFoundError), prefect_server(tmp_path, None, meanwhile="no_such_module"):
        pass

    assert psutil.Process().children(recursive=True) == before
    assert "PREFECT_API_URL" not in os.environ


def test_flows_on_a_temporary_server_have_no_heartbeat_to_wait_for() -> None:
    from prefect.settings import get_current_settings

    usual = get_current_settings().flows.heartbeat_frequency
    with _without_heartbeats():
        assert get_current_settings().flows.heartbeat_frequency is None

    assert get_current_settings().flows.heartbeat_frequency == usual
