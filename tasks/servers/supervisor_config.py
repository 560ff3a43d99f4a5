"""The text of supervisord's configuration. Pure."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from configs.errors import ServerError
from tasks.servers.services import Service

STOP_SECONDS = 20
"""How long a service may take to end before it is killed."""
_LOG_BYTES = "10MB"
_KEPT_LOGS = 3


def configuration(services: Sequence[Service], *, folder: Path, socket: Path) -> str:
    """Return the configuration.

    Args:
        services: what to supervise; none starts by itself, since the worker needs the Prefect server first.
        folder: where logs and the pid file go.
        socket: the unix socket that answers questions.

    Raises:
        ServerError: a path holds what can't be written in such a file.
    """
    for path in (folder, socket):
        if any(sign in str(path) for sign in (" ;", " #", "\n", "%")):
            raise ServerError(f"can't keep servers below {path}: choose a BURNISH_HOME without '%', ' ;' and ' #'")
    parts = [
        f"""[unix_http_server]
file={socket}
chmod=0600

[supervisord]
logfile={folder}/supervisord.log
logfile_maxbytes={_LOG_BYTES}
logfile_backups={_KEPT_LOGS}
pidfile={folder}/supervisord.pid
directory={folder}
umask=077
identifier=burnish

[rpcinterface:supervisor]
supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface
""",
        *(_program(service, folder) for service in services),
    ]
    return "\n".join(parts)


def log_of(service: str, folder: Path) -> Path:
    """Return where a service writes."""
    return folder / f"{service}.log"


def _program(service: Service, folder: Path) -> str:
    return f"""[program:{service.name}]
command={shlex.join(service.command).replace("%", "%%")}
autostart=false
autorestart=true
startsecs=1
startretries=3
stopsignal=TERM
stopwaitsecs={STOP_SECONDS}
stopasgroup=true
killasgroup=true
redirect_stderr=true
stdout_logfile={log_of(service.name, folder)}
stdout_logfile_maxbytes={_LOG_BYTES}
stdout_logfile_backups={_KEPT_LOGS}
"""
