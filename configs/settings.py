"""Where state lives and which servers are used: read once from the environment, then passed along."""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple
from urllib.parse import SplitResult, parse_qsl, urlencode, urlsplit

from configs.errors import RecipeError, ServerError

POSTGRES = "BURNISH_POSTGRES_URL"
"""Environment variable: one Postgres server for all three databases; each can be given on its own instead."""
ARTIFACT_ROOT = "BURNISH_ARTIFACT_ROOT"
"""Environment variable: `s3://bucket/prefix`, where a team's machines find each other's directories."""


@dataclass(frozen=True)
class Settings:
    """The places of one installation. `home` holds private data: mode 0700, files 0600.

    URLs may hold passwords: they are not shown when a `Settings` is printed, and are never a flow's parameter.
    """

    home: Path
    tracking_uri: str = field(repr=False)
    """MLflow tracking and registry."""
    study_url: str = field(repr=False)
    """SQLAlchemy URL of the Optuna database."""
    prefect_api_url: str | None
    """A running Prefect server; None starts a temporary one."""
    training_slots: int = 1
    """How many fine-tunes may run at once in this home: one for each GPU, or they fight for one."""
    prefect_database_url: str | None = field(default=None, repr=False)
    """SQLAlchemy URL of the database of a Prefect server that is started here; None: SQLite in `home`."""
    postgres_url: str | None = field(default=None, repr=False)
    """The server on which the databases are made where they are missing; None: they were given one by one."""
    artifact_root: str | None = None
    """`s3://bucket/prefix` that a team's machines share; None: this home alone."""
    keep_days: float = 30.0
    """`burnish clean` removes what nothing needs and nobody made or used for so long, and flow runs that ended before;
    the Prefect server of `burnish up` removes such flow runs by itself."""
    hub_allowed: bool = False
    """Whether base models and datasets may be fetched from a hub; otherwise nothing here ever asks the network."""
    max_home_gib: float | None = None
    """`burnish clean` removes more of what nothing needs, the oldest first, until the whole home is no larger or only
    what is needed is left, and says what that is; None: any size."""

    @property
    def lock_database(self) -> str | None:
        """The Postgres database whose locks a team's machines share, which is Optuna's; None: files in `home`."""
        return self.study_url if urlsplit(self.study_url).scheme.startswith("postgresql") else None

    @property
    def installation(self) -> str:
        """What is shared by all who work together, in 12 hex digits: the database of the locks, else the home."""
        shared = str(self.home)
        if self.lock_database is not None:
            url = urlsplit(self.lock_database)
            host = dict(parse_qsl(url.query)).get("host", "")
            shared = f"postgresql {url.hostname or host}:{url.port or 5432}{url.path}"
        return hashlib.sha256(shared.encode()).hexdigest()[:12]

    @property
    def snapshots(self) -> Path:
        """`<digest>/`: records.parquet and manifest."""
        return self.home / "snapshots"

    @property
    def datasets(self) -> Path:
        """`<digest of what was asked for>/`: files fetched from a hub, and manifest."""
        return self.home / "datasets"

    @property
    def bases(self) -> Path:
        """`<digest>/`: base models in Hugging Face layout."""
        return self.home / "bases"

    @property
    def adapters(self) -> Path:
        """`<digest>/`: adapter_model.safetensors and adapter_config.json."""
        return self.home / "adapters"

    @property
    def checkpoints(self) -> Path:
        """`<training key>/step-<n>/`: resumable training state."""
        return self.home / "checkpoints"

    @property
    def micro_batches(self) -> Path:
        """`<digest>.json`: the micro-batch that fitted a fine-tune on this hardware."""
        return self.home / "micro-batches"

    @property
    def answers(self) -> Path:
        """`<digest>/`: answers.parquet of one option on one split."""
        return self.home / "answers"

    @property
    def references(self) -> Path:
        """`<digest>/`: what the trainer's own model says to the records of a parity check."""
        return self.home / "references"

    @property
    def quarantine(self) -> Path:
        """`<snapshot digest>-<suite>/`: rows that a rule stopped or dropped."""
        return self.home / "quarantine"

    @property
    def watched(self) -> Path:
        """`<recipe>.json`: what the watcher saw of a recipe's source when it last looked."""
        return self.home / "watch"

    @property
    def file_digests(self) -> Path:
        """Digests of source files and base models, remembered by size and times: one untouched is not read again."""
        return self.home / "file-digests"

    @property
    def reports(self) -> Path:
        """`<recipe>.html`: the latest report of each recipe."""
        return self.home / "reports"


class Databases(NamedTuple):
    """SQLAlchemy URLs of the three databases; their migration tables clash in one."""

    mlflow: str
    prefect: str
    optuna: str


def settings_from(environment: Mapping[str, str] | None = None, *, project_root: Path) -> Settings:
    """Read the settings; `BURNISH_HOME` defaults to `.burnish/` in the recipe's project root.

    Raises:
        ServerError: a URL can't be used, or holds a password where it would be shown.
    """
    environment = os.environ if environment is None else environment
    home = Path(environment.get("BURNISH_HOME") or project_root / ".burnish").expanduser().absolute()
    team = databases_on(environment[POSTGRES]) if environment.get(POSTGRES) else None
    for name in ("MLFLOW_TRACKING_URI", "PREFECT_API_URL"):
        _refuse_password(name, environment.get(name, ""))
    artifact_root = environment.get(ARTIFACT_ROOT) or None
    if artifact_root is not None and not (artifact_root.startswith("s3://") and urlsplit(artifact_root).netloc):
        raise ServerError(f"{ARTIFACT_ROOT} must be s3://bucket/prefix, got {artifact_root!r}")
    return Settings(
        home=home,
        tracking_uri=_with_driver(environment.get("MLFLOW_TRACKING_URI", ""))
        or (team.mlflow if team else f"sqlite:///{home / 'mlflow.db'}"),
        study_url=_with_driver(environment.get("BURNISH_STUDY_URL", ""))
        or (team.optuna if team else f"sqlite:///{home / 'optuna.db'}"),
        prefect_api_url=environment.get("PREFECT_API_URL") or None,
        training_slots=_training_slots(environment.get("BURNISH_TRAINING_SLOTS") or "1"),
        prefect_database_url=environment.get("PREFECT_API_DATABASE_CONNECTION_URL") or (team.prefect if team else None),
        postgres_url=environment.get(POSTGRES) or None,
        artifact_root=artifact_root and artifact_root.rstrip("/"),
        hub_allowed=environment.get("BURNISH_HUB") == "1",
        keep_days=_number(environment, "BURNISH_KEEP_DAYS") or Settings.keep_days,
        max_home_gib=_number(environment, "BURNISH_MAX_GIB"),
    )


def databases_on(server: str) -> Databases:
    """Return the URLs of the three databases on a Postgres server: `burnish_mlflow`, `_prefect` and `_optuna`.

    Args:
        server: `postgresql://user:password@host:port/database`; the database is only used to make the three.

    Raises:
        ServerError: it is no such URL. What it holds is not shown.
    """
    url = urlsplit(server)
    if url.scheme.partition("+")[0] not in ("postgresql", "postgres") or not (url.netloc or url.query):
        raise ServerError(f"{POSTGRES} must be postgresql://user:password@host:port/database")
    synchronous, asynchronous = "postgresql+psycopg", "postgresql+asyncpg"
    return Databases(
        mlflow=_joined(url, scheme=synchronous, database="burnish_mlflow"),
        prefect=_joined(url, scheme=asynchronous, database="burnish_prefect"),
        optuna=_joined(url, scheme=synchronous, database="burnish_optuna"),
    )


def _number(environment: Mapping[str, str], name: str) -> float | None:
    text = environment.get(name)
    if not text:
        return None
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < math.inf:
        raise RecipeError(f"{name} must be a number above 0, got {text!r}")
    return number


def _joined(url: SplitResult, *, scheme: str, database: str) -> str:
    """The URL with another driver and database; asyncpg calls `sslmode` by another name."""
    query = url.query
    if scheme.endswith("asyncpg"):
        query = urlencode([("ssl" if key == "sslmode" else key, value) for key, value in parse_qsl(url.query)])
    return f"{scheme}://{url.netloc}/{database}" + (f"?{query}" if query else "")


def _with_driver(database_url: str) -> str:
    """The driver that is installed where the URL names none."""
    return database_url.replace("postgresql://", "postgresql+psycopg://", 1)


def _refuse_password(name: str, url: str) -> None:
    if not url.startswith(("http://", "https://")) or "@" not in urlsplit(url).netloc:
        return
    instead = {
        "MLFLOW_TRACKING_URI": "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD",
        "PREFECT_API_URL": "PREFECT_API_AUTH_STRING",
    }
    raise ServerError(f"{name} must not hold a password, since addresses are shown; set {instead[name]} instead")


def check_home(settings: Settings) -> None:
    """Refuse a home that isn't there, for commands that only read; a server elsewhere needs none.

    Raises:
        RecipeError: it isn't there, so its path is mistyped, or nothing was run in it yet.
    """
    if settings.tracking_uri.startswith("sqlite:") and not settings.home.is_dir():
        raise RecipeError(
            f"no Burnish home at {settings.home}; correct BURNISH_HOME, or run `burnish finetune --recipe FILE` first"
        )


def _training_slots(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) <= 64:
        raise RecipeError(f"BURNISH_TRAINING_SLOTS must be a whole number from 1 to 64, got {text!r}")
    return int(text)


def nearest_project_root(folder: Path, *, must_exist: bool) -> Path:
    """The folder at or above `folder` that holds `.burnish/`; BURNISH_HOME makes the answer unimportant.

    Raises:
        RecipeError: there is none, and one must exist.
    """
    for candidate in (folder, *folder.parents):
        if (candidate / ".burnish").is_dir():
            return candidate
    if must_exist and not os.environ.get("BURNISH_HOME"):
        raise RecipeError(
            f"no .burnish folder in {folder} or above; go to the project of the recipe, or set BURNISH_HOME"
        )
    return folder
