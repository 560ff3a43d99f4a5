"""A team's servers, real and with passwords: Postgres, an S3 store, MLflow and Prefect. Each can be killed."""

from __future__ import annotations

import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil

from configs.environment import SERVER_SWITCHES, set_private_switches
from configs.settings import databases_on
from tasks.storage.processes import spawn
from tests.e2e.installation import PROJECT, clean_environment
from tests.object_store import BUCKET, ObjectStore, object_store
from tests.postgres_cluster import PostgresCluster, free_port, postgres_cluster

SECRETS = {
    "postgres": "planted-postgres-password",
    "store": "planted-store-key",
    "mlflow admin": "planted-mlflow-admin-password",
    "mlflow user": "planted-mlflow-user-password",
    "prefect": "planted-prefect-password",
    "webhook": "planted-webhook-token",
}
"""What must be found nowhere in anything that is stored."""
_START_SECONDS = 600


class Server:
    """One server process with its children."""

    def __init__(self, command: list[str], *, environment: Mapping[str, str], log: Path, health: str) -> None:
        self._command, self._environment, self._log, self._health = command, environment, log, health
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it in this thread, with which it ends; `wait` for it to answer."""
        with self._log.open("ab") as log:
            self._process = spawn(self._command, environment=self._environment, stdout=log, stderr=log, cwd="/")

    def wait(self) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while not answers(self._health):
            assert self._process is not None
            assert self._process.poll() is None, self._log.read_text()[-3000:]
            assert time.monotonic() < deadline, self._log.read_text()[-3000:]
            time.sleep(0.1)

    def kill(self) -> None:
        """kill -9 of the server and of all that it started."""
        assert self._process is not None
        kill_tree(self._process)


@dataclass(frozen=True)
class TeamServers:
    folder: Path
    postgres: PostgresCluster
    store: ObjectStore
    mlflow: Server
    prefect: Server
    mlflow_url: str
    environment: Mapping[str, str]
    """What every machine of the team is told."""

    @property
    def logs(self) -> list[Path]:
        return [self.postgres.log, *self.folder.glob("*.log")]


@contextmanager
def team_servers(folder: Path) -> Iterator[TeamServers]:
    """Start all four for the block."""
    with ExitStack() as stack:
        postgres = stack.enter_context(postgres_cluster(SECRETS["postgres"]))
        store = stack.enter_context(object_store(SECRETS["store"]))
        base = {**clean_environment(), **store.environment, "HOME": str(folder), "BURNISH_POSTGRES_URL": postgres.url}
        set_private_switches(base)
        base |= {"BURNISH_ARTIFACT_ROOT": f"s3://{BUCKET}/burnish", "BURNISH_HOME": str(folder / "admin")}
        provision(base)
        mlflow_url, mlflow = _mlflow(folder, base)
        prefect_url, prefect = _prefect(folder, base)
        for server in (mlflow, prefect):
            server.start()
            stack.callback(server.kill)
        for server in (mlflow, prefect):
            server.wait()
        user = {"MLFLOW_TRACKING_USERNAME": "worker", "MLFLOW_TRACKING_PASSWORD": SECRETS["mlflow user"]}
        provision({
            **base, **user, "MLFLOW_TRACKING_URI": mlflow_url, "MLFLOW_AUTH_ADMIN_PASSWORD": SECRETS["mlflow admin"],
            "PREFECT_API_URL": prefect_url, "PREFECT_API_AUTH_STRING": f"team:{SECRETS['prefect']}",
        })  # fmt: skip
        environment = {
            **store.environment,
            "HOME": str(folder),
            "BURNISH_POSTGRES_URL": postgres.url,
            "BURNISH_ARTIFACT_ROOT": f"s3://{BUCKET}/burnish",
            "MLFLOW_TRACKING_URI": mlflow_url,
            **user,
            "PREFECT_API_URL": prefect_url,
            "PREFECT_API_AUTH_STRING": f"team:{SECRETS['prefect']}",
            "BURNISH_WEBHOOK": f"http://127.0.0.1:9/hooks/{SECRETS['webhook']}",
        }
        yield TeamServers(folder, postgres, store, mlflow, prefect, mlflow_url, environment)


def provision(environment: Mapping[str, str]) -> None:
    """`burnish provision`, twice: the second time there is nothing to make."""
    command = [sys.executable, "-m", "flows", "provision"]
    for said in (True, False):
        done = subprocess.run(
            command, env=dict(environment), cwd=PROJECT, check=True, capture_output=True, text=True
        )  # fmt: skip
        assert bool(done.stdout) == said


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2):
            return True
    except (urllib.error.URLError, OSError):
        return False


def kill_tree(process: subprocess.Popen[Any]) -> None:
    """kill -9 of a process and of all that it started."""
    try:
        family = [*psutil.Process(process.pid).children(recursive=True), psutil.Process(process.pid)]
    except psutil.NoSuchProcess:
        family = []
    for member in family:
        try:
            member.kill()
        except psutil.NoSuchProcess:
            continue
    process.wait()


def _mlflow(folder: Path, environment: Mapping[str, str]) -> tuple[str, Server]:
    port = free_port()
    postgres = urlsplit(environment["BURNISH_POSTGRES_URL"])
    command = [
        sys.executable, "-m", "mlflow", "server", "--app-name", "basic-auth", "--host", "127.0.0.1",
        "--port", str(port), "--workers", "1", "--artifacts-destination", f"s3://{BUCKET}/mlflow",
    ]  # fmt: skip
    own = {
        "MLFLOW_BACKEND_STORE_URI": "postgresql+psycopg:///burnish_mlflow",  # the rest from PGHOST and its like
        "PGHOST": str(postgres.hostname),
        "PGPORT": str(postgres.port),
        "PGUSER": str(postgres.username),
        "PGPASSWORD": SECRETS["postgres"],
        "MLFLOW_AUTH_CONFIG_PATH": str(PROJECT / "infra" / "kubernetes" / "basic_auth.ini"),
        "MLFLOW_AUTH_ADMIN_PASSWORD": SECRETS["mlflow admin"],
        "MLFLOW_FLASK_SERVER_SECRET_KEY": "planted-flask-key",
        **SERVER_SWITCHES,
    }
    url = f"http://127.0.0.1:{port}"
    server = Server(
        command, environment={**environment, **own}, log=folder / "mlflow.log", health=f"{url}/health"
    )  # fmt: skip
    return url, server


def _prefect(folder: Path, environment: Mapping[str, str]) -> tuple[str, Server]:
    port = free_port()
    command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    own = {
        "PREFECT_HOME": str(folder / "prefect"),
        "PREFECT_API_DATABASE_CONNECTION_URL": databases_on(environment["BURNISH_POSTGRES_URL"]).prefect,
        "PREFECT_SERVER_API_AUTH_STRING": f"team:{SECRETS['prefect']}",
        "PREFECT_UI_ENABLED": "0",
        **SERVER_SWITCHES,
    }
    url = f"http://127.0.0.1:{port}/api"
    server = Server(
        command, environment={**environment, **own}, log=folder / "prefect.log", health=f"{url}/health"
    )  # fmt: skip
    return url, server
