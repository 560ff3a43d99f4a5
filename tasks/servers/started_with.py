"""What the servers of an installation were started with, so that a changed setting is not ignored. Pure."""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Mapping, Sequence

from tasks.servers.services import Service

_PREFIXES = ("AWS_", "BURNISH_", "MLFLOW_", "PG", "PREFECT_")
_OTHERS = (
    "CUDA_VISIBLE_DEVICES", "HF_ENDPOINT", "HF_TOKEN",
    "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy",
)  # fmt: skip
_OF_COMMANDS_ONLY = ("BURNISH_MAX_GIB", "BURNISH_SCREENSHOTS", "BURNISH_UNPROTECTED")
_OF_TESTS = "BURNISH_KILL_"
_COMMANDS, _SALT = "commands", "salt"
_DIGEST_LENGTH = 16


def digests_of_settings(
    services: Sequence[Service], environment: Mapping[str, str], *, salt: str | None = None
) -> dict[str, str]:
    """Return a digest of every setting that the services read, by name: values may be secrets and are not kept.

    Args:
        services: their commands hold settings too.
        environment: of every service.
        salt: of the digests to compare with; left out, a new one, so that nobody can look up a weak password's digest.
    """
    salt = salt or secrets.token_hex(16)
    read = {key: value for key, value in environment.items() if _is_read(key)}
    read[_COMMANDS] = repr([service.command for service in services])
    return {_SALT: salt, **{key: _digest(f"{key}={value}", salt) for key, value in sorted(read.items())}}


def changed_settings(
    noted: Mapping[str, str], services: Sequence[Service], environment: Mapping[str, str]
) -> list[str]:
    """Return the names of the settings that are no longer those which the servers were started with."""
    wanted = digests_of_settings(services, environment, salt=noted.get(_SALT))
    return sorted(key for key in {*noted, *wanted} if noted.get(key) != wanted.get(key))


def _is_read(key: str) -> bool:
    ours = key.startswith(_PREFIXES) or key in _OTHERS
    return ours and key not in _OF_COMMANDS_ONLY and not key.startswith(_OF_TESTS)


def _digest(text: str, salt: str) -> str:
    return hmac.digest(salt.encode(), text.encode(), "sha256").hex()[:_DIGEST_LENGTH]
