"""Users of an MLflow server with passwords: the one that a team's machines work as."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from base64 import b64encode
from urllib.parse import quote

from configs.errors import ServerError
from tasks.tracking.mlflow_database import shown

_TIMEOUT_SECONDS = 30.0


def ensure_user(tracking_uri: str, *, user: str, password: str, admin: str, admin_password: str) -> bool:
    """Make a user who is no administrator, unless it is there; return whether it was made.

    An existing user's password is left alone.

    Raises:
        ServerError: the user has no name or password, or the server can't be reached, has no users (it was started
            without `--app-name basic-auth`), or does not take the administrator's password or the new one.
    """
    for name, value in (("MLFLOW_TRACKING_USERNAME", user), ("MLFLOW_TRACKING_PASSWORD", password)):
        if not value:
            raise ServerError(
                f"{name} is not set; it says whom to make on the MLflow server; set it, or unset the "
                "administrator's password to make nobody"
            )
    url = f"{tracking_uri.rstrip('/')}/api/2.0/mlflow/users"
    status, _ = _ask(f"{url}/get?username={quote(user, safe='')}", None, admin=f"{admin}:{admin_password}")
    if status == 200:
        return False
    body = json.dumps({"username": user, "password": password}).encode()
    status, reason = _ask(f"{url}/create", body, admin=f"{admin}:{admin_password}")
    if status != 200:
        raise ServerError(
            f"the user {user!r} can't be made on the MLflow server at {shown(tracking_uri)}: {reason or status}; it "
            "must run with --app-name basic-auth, and MLFLOW_AUTH_ADMIN_PASSWORD must be its administrator's password"
        )
    return True


def _ask(url: str, body: bytes | None, *, admin: str) -> tuple[int, str]:
    credentials = b64encode(admin.encode()).decode()
    headers = {"Authorization": f"Basic {credentials}", "Content-Type": "application/json"}
    try:
        request = urllib.request.Request(url, data=body, headers=headers)
        with urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS) as answer:
            return int(answer.status), ""
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read(300).decode(errors="replace").strip()
    except (urllib.error.URLError, OSError) as error:
        return 0, str(getattr(error, "reason", error))
