from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from configs.errors import ServerError
from tasks.tracking.mlflow_users import ensure_user


@pytest.fixture
def asked() -> Iterator[tuple[str, list[str]]]:
    """A server that knows every user, and the paths that it was asked for."""
    paths: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            paths.append(self.path)
            self.send_response(200)
            self.end_headers()

        do_POST = do_GET

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", paths
    server.shutdown()
    server.server_close()


def test_a_name_is_one_value_whatever_signs_it_has(asked: tuple[str, list[str]]) -> None:
    url, paths = asked

    made = ensure_user(url, user="a b&c=/#ü", password="p", admin="admin", admin_password="a")

    assert not made
    assert paths == ["/api/2.0/mlflow/users/get?username=a%20b%26c%3D%2F%23%C3%BC"]


@pytest.mark.parametrize(("user", "password", "missing"), [("", "p", "USERNAME"), ("u", "", "PASSWORD")])
def test_nobody_without_a_name_or_a_password_is_made(
    asked: tuple[str, list[str]], user: str, password: str, missing: str
) -> None:
    url, paths = asked

    with pytest.raises(ServerError, match=f"MLFLOW_TRACKING_{missing} is not set"):
        ensure_user(url, user=user, password=password, admin="admin", admin_password="a")

    assert paths == []
