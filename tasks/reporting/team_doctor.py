"""What `burnish doctor --team` checks of a team's servers: passwords, TLS, versions with known holes, locks, store."""

from __future__ import annotations

import ipaddress
import ssl
import urllib.error
import urllib.request
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import version
from typing import NamedTuple
from urllib.parse import urlsplit

from packaging.version import InvalidVersion, Version

from configs.errors import BurnishError
from configs.settings import Settings
from tasks.reporting.doctor import Finding

FLOORS = {"mlflow": "3.15", "prefect": "3.8.3", "transformers": "5.3", "datasets": "5.0.1"}
"""Below these are holes that are known: running pickles, open event endpoints, code out of config.json, symlinks."""
_WELL_KNOWN = {"mlflow": ("admin", "password1234"), "prefect": ("admin", "pass")}
_POSTGRES_WELL_KNOWN = ("", "postgres", "password", "burnish", "changeme", "change-me")
_TIMEOUT_SECONDS = 10.0
_MLFLOW_PROTECTED = "/api/2.0/mlflow/experiments/search?max_results=1"


class Answer(NamedTuple):
    """What a server said."""

    status: int
    """0: it can't be reached."""
    text: str


Ask = Callable[[str, str | None], Answer]
"""Takes a URL and `user:password` (None: nobody)."""


def examine_team(settings: Settings, environment: Mapping[str, str], *, ask: Ask | None = None) -> list[Finding]:
    """Run every check of the servers that the environment names."""
    ask = ask or ask_over_http
    return [
        *check_versions(),
        *check_mlflow(settings.tracking_uri, environment, ask),
        *check_prefect(settings.prefect_api_url, environment, ask),
        *check_locks(settings),
        *check_store(settings, environment),
    ]


def check_versions() -> Iterator[Finding]:
    """The libraries of this machine."""
    for name in FLOORS:
        yield _floor("versions", name, version(name))


def check_mlflow(tracking_uri: str, environment: Mapping[str, str], ask: Ask) -> Iterator[Finding]:
    """The MLflow server: is there one, does it ask who you are, over TLS, and not for a password all know."""
    if not tracking_uri.startswith(("http://", "https://")):
        yield Finding(
            "mlflow", False, "no server: each machine works on the database itself",
            "start one with --app-name basic-auth (infra/compose.yaml), and set MLFLOW_TRACKING_URI",
        )  # fmt: skip
        return
    url = tracking_uri.rstrip("/")
    yield _tls("mlflow", url)
    protected = f"{url}{_MLFLOW_PROTECTED}"
    yield from _passwords(
        "mlflow", ask,
        anonymous=lambda who: ask(protected, who),
        given=_pair(environment, "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"),
        remedy="start it with --app-name basic-auth and set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD",
    )  # fmt: skip
    given = _pair(environment, "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD")
    yield _floor("mlflow", "mlflow", ask(f"{url}/version", given).text)


def check_prefect(api_url: str | None, environment: Mapping[str, str], ask: Ask) -> Iterator[Finding]:
    """The Prefect server, likewise: without a password it lets anybody start flows."""
    if api_url is None:
        yield Finding(
            "prefect", False, "no server: schedules, events and workers need one",
            "start one (infra/compose.yaml), and set PREFECT_API_URL",
        )  # fmt: skip
        return
    url = api_url.rstrip("/")
    yield _tls("prefect", url)
    given = environment.get("PREFECT_API_AUTH_STRING")
    yield from _passwords(
        "prefect", ask,
        anonymous=lambda who: ask(f"{url}/admin/version", who),
        given=given,
        remedy="set PREFECT_SERVER_API_AUTH_STRING where it runs and PREFECT_API_AUTH_STRING here",
    )  # fmt: skip
    yield _floor("prefect", "prefect", ask(f"{url}/admin/version", given).text)


def check_locks(settings: Settings) -> Iterator[Finding]:
    """The Postgres database of the locks: reachable, with a password, over TLS, and its locks hold."""
    from tasks.storage.locks import locks_of

    if settings.lock_database is None:
        yield Finding(
            "postgres", False, "no Postgres: locks are files, which other machines don't see",
            "set BURNISH_POSTGRES_URL on every machine",
        )  # fmt: skip
        return
    locks = locks_of(settings)
    url = urlsplit(settings.lock_database)
    known = (url.password or "") in _POSTGRES_WELL_KNOWN and not url.query.startswith("host=/")
    yield Finding(
        "postgres", not known, "a password that all know" if known else "its password is its own",
        "change it (ALTER ROLE … PASSWORD …) and BURNISH_POSTGRES_URL",
    )  # fmt: skip
    secure = _is_near(url.hostname or "localhost") or any(
        f"sslmode={mode}" in url.query for mode in ("require", "verify-ca", "verify-full")
    )
    yield Finding(
        "postgres", secure, "TLS or loopback" if secure else "the password goes over the network in the clear",
        "add ?sslmode=verify-full (or require) to BURNISH_POSTGRES_URL",
    )  # fmt: skip
    try:
        with locks.held("doctor-team", wait_seconds=5):
            holds = locks.is_held("doctor-team")
    except BurnishError as error:
        yield Finding("locks", False, str(error), "see there")
        return
    yield Finding(
        "locks", holds, "held and seen by another session" if holds else "a lock is not seen by another session",
        "give Postgres's own address: a pooler that shares sessions can't carry locks",
    )  # fmt: skip


def check_store(settings: Settings, environment: Mapping[str, str]) -> Iterator[Finding]:
    """The object store: over TLS, and it answers to our keys."""
    from tasks.storage.shared_directories import store_of

    store = store_of(settings)
    if store is None:
        yield Finding(
            "store", False, "none: what one machine makes, others make again",
            "set BURNISH_ARTIFACT_ROOT=s3://bucket/prefix on every machine",
        )  # fmt: skip
        return
    endpoint = environment.get("AWS_ENDPOINT_URL_S3") or environment.get("AWS_ENDPOINT_URL") or "https://s3"
    yield _tls("store", endpoint)
    try:
        names = store.names("snapshots")
    except BurnishError as error:
        yield Finding("store", False, str(error), "see there")
        return
    yield Finding("store", True, f"{settings.artifact_root}, {len(names)} snapshots")


def ask_over_http(url: str, who: str | None) -> Answer:
    """Ask a server; see `Ask`."""
    headers = {} if who is None else {"Authorization": f"Basic {b64encode(who.encode()).decode()}"}
    try:
        request = urllib.request.Request(url, headers=headers)
        with urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS) as answer:
            return Answer(answer.status, answer.read(10_000).decode(errors="replace"))
    except urllib.error.HTTPError as error:
        error.close()
        return Answer(error.code, "")
    except (urllib.error.URLError, ssl.SSLError, OSError, ValueError) as error:
        return Answer(0, str(getattr(error, "reason", error)))


def _passwords(
    name: str, ask: Ask, *, anonymous: Callable[[str | None], Answer], given: str | None, remedy: str
) -> Iterator[Finding]:
    nobody = anonymous(None)
    if nobody.status == 0:
        yield Finding(name, False, f"doesn't answer: {nobody.text}", "start it, or correct its address")
        return
    asks = nobody.status in (401, 403)
    yield Finding(name, asks, "asks who you are" if asks else "lets in whoever reaches it", remedy)
    if not asks:
        return
    us = anonymous(given) if given else nobody
    yield Finding(name, us.status < 400, "lets us in" if us.status < 400 else f"refuses us ({us.status})", remedy)
    known = ":".join(_WELL_KNOWN[name])
    open_to_all = anonymous(known).status < 400
    found = "takes a password that is in its manual" if open_to_all else "takes no password that is in its manual"
    yield Finding(name, not open_to_all, found, "change that password")


def _tls(name: str, url: str) -> Finding:
    parts = urlsplit(url)
    secure = parts.scheme == "https" or _is_near(parts.hostname or "")
    found = "TLS or loopback" if secure else f"{parts.scheme}://{parts.hostname}: passwords go in the clear"
    return Finding(name, secure, found, "put it behind TLS (a reverse proxy) and use its https:// address")


def _floor(subject: str, name: str, found: str) -> Finding:
    shown = found.strip().strip('"')
    try:
        healthy = Version(shown) >= Version(FLOORS[name])
    except InvalidVersion:
        return Finding(subject, False, f"does not tell its version ({shown[:40]!r})", "is it what you think it is?")
    remedy = f"update it to {FLOORS[name]} or newer: earlier ones have known holes"
    return Finding(subject, healthy, f"{name} {shown}", remedy)


def _pair(environment: Mapping[str, str], user: str, password: str) -> str | None:
    return f"{environment[user]}:{environment[password]}" if user in environment and password in environment else None


def _is_near(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
