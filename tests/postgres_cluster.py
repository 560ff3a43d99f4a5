"""A real Postgres on a free loopback port, as an unprivileged user, gone with the process that started it."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

_DEBIAN = Path("/usr/lib/postgresql")
_START_SECONDS = 60


class PostgresCluster:
    """One cluster. Its user is `burnish` with the password given, which is asked for on every connection."""

    def __init__(self, folder: Path, password: str) -> None:
        self._data, self._password = folder / "data", password
        self.port = free_port()
        self.log = folder / "postgres.log"
        self._process: subprocess.Popen[bytes] | None = None
        secret = folder / "password"
        secret.write_text(password)
        for path in (folder, secret):
            _give_away(path)
        subprocess.run(
            [binary("initdb"), "--pgdata", str(self._data), "--username=burnish", "--auth=scram-sha-256",
             f"--pwfile={secret}", "--no-sync", "--encoding=UTF8", "--locale=C"],
            check=True, capture_output=True, cwd="/", **_as_nobody(),
        )  # fmt: skip
        secret.unlink()
        self.start()

    @property
    def url(self) -> str:
        return f"postgresql://burnish:{self._password}@127.0.0.1:{self.port}/postgres"

    def start(self) -> None:
        """Start it, or start it again after a kill, and wait until it answers."""
        import psycopg

        deadline = time.monotonic() + _START_SECONDS
        while True:
            if self._process is None or self._process.poll() is not None:  # others of the old one may be left a moment
                with self.log.open("ab") as log:
                    self._process = subprocess.Popen(
                        ["setpriv", "--pdeathsig", "QUIT", binary("postgres"), "-D", str(self._data),
                         "-p", str(self.port), "-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=",
                         "-c", "fsync=off", "-c", "max_connections=200", "-c", "shared_buffers=32MB"],
                        stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/", **_as_nobody(),
                    )  # fmt: skip
            try:
                psycopg.connect(self.url, connect_timeout=2).close()
                return
            except psycopg.OperationalError:
                assert time.monotonic() < deadline, self.log.read_text()
                time.sleep(0.1)

    def wait(self) -> None:
        """It answers once `start` has returned."""

    def kill(self) -> None:
        """Kill the server as a crash does; its sessions end with it."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGQUIT)
            self._process.wait(30)


@contextmanager
def postgres_cluster(password: str = "secret-of-the-cluster") -> Iterator[PostgresCluster]:
    """A cluster for the block; skips the test where Postgres isn't installed."""
    if not _installed() and not os.environ.get("BURNISH_TESTS_NEED_POSTGRES"):
        pytest.skip("needs Postgres's own programs: apt-get install postgresql (.ci/run does)")
    # below /tmp, since the unprivileged user may not enter pytest's folders
    folder = Path(tempfile.mkdtemp(prefix="burnish-postgres-"))
    cluster = None
    try:
        cluster = PostgresCluster(folder, password)
        yield cluster
    finally:
        if cluster is not None:
            cluster.stop()
        shutil.rmtree(folder, ignore_errors=True)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _installed() -> bool:
    return shutil.which("initdb") is not None or any(_DEBIAN.glob("*/bin/initdb"))


def binary(name: str) -> str:
    """The newest installed program of Postgres of this name."""
    newest = sorted(_DEBIAN.glob(f"*/bin/{name}"), key=lambda path: int(path.parts[-3].partition(".")[0]))
    return str(newest[-1]) if newest else str(shutil.which(name))


def _as_nobody() -> dict[str, object]:
    """Postgres refuses to run as root."""
    if os.geteuid() != 0:
        return {}
    user = pwd.getpwnam("nobody")
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


def _give_away(path: Path) -> None:
    if os.geteuid() == 0:
        user = pwd.getpwnam("nobody")
        os.chown(path, user.pw_uid, user.pw_gid)
