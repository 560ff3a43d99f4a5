"""The switches of a private, air-gapped run: set before any library is imported."""

from __future__ import annotations

import os
from collections.abc import MutableMapping
from pathlib import Path

SWITCHES = {
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW": "ignore",
    "DO_NOT_TRACK": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
    "GX_ANALYTICS_ENABLED": "false",
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "HF_DATASETS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "RAY_USAGE_STATS_ENABLED": "0",
    "VLLM_NO_USAGE_STATS": "1",
}
"""No telemetry, no hub, no pickle. `burnish doctor` reports any that differ."""

SERVER_SWITCHES = {
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # 500 MB more, and a way to run code
    "PREFECT_SERVER_API_CSRF_PROTECTION_ENABLED": "true",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
}
"""Of every MLflow and Prefect server: those of `burnish up`, of infra/compose.yaml and of infra/kubernetes."""

HEARTBEAT_SECONDS = 30
"""How often our flow runs say that they live; one that falls silent is marked Crashed (automations.py)."""

_SPINNING = {
    "OMP_WAIT_POLICY": "PASSIVE",  # spinning threads of two torch processes slow each other five times and more
    "GOMP_SPINCOUNT": "1000",  # so many rounds hardly do, and without any a fine-tune takes a seventh longer; libgomp's
}
"""Where the user asks for neither; GOMP_SPINCOUNT would undo an OMP_WAIT_POLICY of theirs."""

WORKER_DEFAULTS = {
    "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "INFO",  # its log is for whoever runs it
    "PREFECT_RUNNER_POLL_FREQUENCY": "2",  # a run that is cancelled stops soon
    "PREFECT_WORKER_CANCELLATION_POLL_SECONDS": "5",
    "PREFECT_WORKER_QUERY_SECONDS": "2",
}
"""Of every worker, of `burnish up` and of a team, where nothing else is asked."""

_DEFAULTS = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "8",  # an MLflow server that goes away is waited for, for up to 4 minutes
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "PREFECT_CLIENT_MAX_RETRIES": "7",  # and so is a Prefect server
    "PREFECT_CLIENT_RETRY_EXTRA_CODES": "500",  # what it says while its database is away
    "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": str(HEARTBEAT_SECONDS),
    "PREFECT_LOGGING_EXTRA_LOGGERS": "burnish",
    "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",
    "PREFECT_SERVER_LOGGING_LEVEL": "ERROR",
    "TRANSFORMERS_VERBOSITY": "error",
    "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",  # transformers' bar of loaded weights too
    "GIT_PYTHON_REFRESH": "quiet",
}


def set_private_switches(environment: MutableMapping[str, str] | None = None) -> dict[str, str]:
    """Set every switch, over what the user's shell says, and the defaults where nothing else is asked.

    Returns:
        The switches that the shell had set to something else, with what it said.
    """
    environment = os.environ if environment is None else environment
    overridden = {key: environment[key] for key, value in SWITCHES.items() if environment.get(key, value) != value}
    environment.update(SWITCHES)
    if _SPINNING.keys().isdisjoint(environment):
        environment.update(_SPINNING)
    for key, value in _DEFAULTS.items():
        environment.setdefault(key, value)
    for hijacker in ("MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_ID", "MLFLOW_EXPERIMENT_NAME"):
        environment.pop(hijacker, None)
    return overridden


def set_worker_defaults(environment: MutableMapping[str, str]) -> None:
    """Set what a worker needs where nothing else is asked; must come before `set_private_switches` and Prefect."""
    for key, value in WORKER_DEFAULTS.items():
        environment.setdefault(key, value)


def use_home(home: Path, environment: MutableMapping[str, str] | None = None) -> None:
    """Keep what libraries write (Prefect's profile and database, caches) below `home`."""
    environment = os.environ if environment is None else environment
    environment.setdefault("PREFECT_HOME", str(home / "prefect"))
    environment.setdefault("MPLCONFIGDIR", str(home / "cache" / "matplotlib"))
    environment.setdefault("HF_HOME", str(home / "cache" / "huggingface"))
