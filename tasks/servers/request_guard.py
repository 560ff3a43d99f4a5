"""Refuse what a foreign web page sends to a server on this machine, and keep its own pages from calling others.

Wrong names (DNS rebinding) and wrong origins are refused: MLflow lets every page of localhost in, whatever its port,
and Prefect checks no name at all. A program (no `Origin`) is let in; a browser only from the server's own pages.
Prefect's page asks amplitude.com for its configuration at each visit, whatever its settings say: the policy sent with
each answer makes browsers refuse that, and any frame of a foreign page around ours.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Container, Iterable, MutableMapping
from typing import Any
from urllib.parse import urlsplit

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

_POLICY_VIOLATION = 1008


class RequestGuard:
    """An ASGI application that passes on only requests which name this server and come from its own pages."""

    def __init__(self, application: Application, *, names: Iterable[str], closed_paths: Iterable[str] = ()) -> None:
        """Guard `application`.

        Args:
            application: the server.
            names: host names, without ports, by which it may be addressed.
            closed_paths: parts of paths that nobody may ask for.
        """
        self._application = application
        self._names: frozenset[str | None] = frozenset(name.lower() for name in names)
        self._closed_paths = tuple(closed_paths)
        self._policy = page_policy(sorted(name for name in self._names if name)).encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer 403."""
        if scope["type"] not in ("http", "websocket"):
            await self._application(scope, receive, send)
            return
        headers = {key.decode("latin-1").lower(): value.decode("latin-1") for key, value in scope["headers"]}
        reason = refusal(headers.get("host", ""), headers.get("origin"), names=self._names)
        if any(part in scope["path"] for part in self._closed_paths):
            reason = "this part of the server is closed"
        if reason is None:
            await self._application(scope, receive, self._with_policy(send))
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": _POLICY_VIOLATION, "reason": reason})
        else:
            text = [(b"content-type", b"text/plain; charset=utf-8")]
            await send({"type": "http.response.start", "status": 403, "headers": text})
            await send({"type": "http.response.body", "body": f"{reason}\n".encode()})

    def _with_policy(self, send: Send) -> Send:
        """Add the policy to an answer's headers; one that the server sends itself holds as well."""

        async def send_with_policy(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                policy = (b"content-security-policy", self._policy)
                message = {**message, "headers": [*message.get("headers", ()), policy]}
            await send(message)

        return send_with_policy


def page_policy(names: Iterable[str]) -> str:
    """The content security policy of a server's pages: they reach the servers of these names, and are framed by none.

    Prefect's page calls its API by one name wherever it was opened by another. A policy can't name IPv6 addresses.
    """
    reachable = [
        f"{scheme}://{name}:*" for name in names if ":" not in name for scheme in ("http", "https", "ws", "wss")
    ]
    sources = " ".join(["'self'", "data:", "blob:", "'unsafe-inline'", "'unsafe-eval'", *reachable])
    return f"default-src {sources}; frame-ancestors 'self'"


def refusal(host: str, origin: str | None, *, names: Container[str | None]) -> str | None:
    """Return why a request is refused, None if it isn't.

    Args:
        host: the `Host` header, such as `localhost:5000`.
        origin: the `Origin` header; None where a program asks.
        names: host names by which the server may be addressed.
    """
    name, port = _name_and_port(f"//{host}")
    if name not in names:
        return "this server is not known by that name; BURNISH_ALLOWED_HOSTS adds names"
    if origin is None:
        return None
    asking, asking_port = _name_and_port(origin)
    standard = port is None and asking_port in (80, 443)  # behind a proxy the Host header names no port
    if asking in names and (asking_port == port or standard):
        return None
    return "pages of other servers may not use this one"


def _name_and_port(address: str) -> tuple[str | None, int | None]:
    try:
        parts = urlsplit(address)
        standard = {"http": 80, "https": 443}.get(parts.scheme)
        return parts.hostname, parts.port or standard
    except ValueError:
        return None, None
