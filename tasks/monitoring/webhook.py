"""Tell a webhook: JSON by POST, with a time limit and few attempts. The URL is a secret: no message shows it."""

from __future__ import annotations

import http.client
import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

from configs.errors import ServerError
from configs.schema import Retraining

_FINAL = frozenset(range(300, 500)) - {408, 425, 429}
"""Status codes after which another try is pointless: redirects and refusals, but not "later"."""


def post_to_webhook(
    policy: Retraining,
    message: Mapping[str, Any],
    *,
    environment: Mapping[str, str],
    pause: Callable[[float], None] = time.sleep,
) -> bool:
    """Post a message to the recipe's webhook; False where the recipe names none.

    A server that fails or doesn't answer is asked `webhook_attempts` times; a refusal (status 4xx) is final, and a
    redirect is not followed, since the message is for this address only.

    Raises:
        ServerError: the variable isn't set or holds no http(s) URL, or nobody took the message. It names the variable.
    """
    if policy.webhook is None:
        return False
    request = urllib.request.Request(
        _url(policy.webhook, environment),
        data=json.dumps(dict(message)).encode(),
        headers={"Content-Type": "application/json", "User-Agent": "burnish"},
        method="POST",
    )
    reason = ""
    for attempt in range(policy.webhook_attempts):
        if attempt:
            pause(2.0 ** (attempt - 1))
        reason, final = _post(request, policy.webhook_timeout_seconds)
        if not reason:
            return True
        if final:
            break
    raise ServerError(
        f"the webhook in {policy.webhook} did not take the message: {reason}; "
        "correct the URL in that variable, or mend what answers there"
    )


def _url(variable: str, environment: Mapping[str, str]) -> str:
    url = environment.get(variable, "")
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:
        usable = False
    if not usable:
        found = "something else" if url else "nothing"
        raise ServerError(
            f"retraining.webhook names the environment variable {variable}, which must hold an http:// or https:// URL "
            f"and holds {found}; set it where the flows run (the worker's environment)"
        )
    return url


def _post(request: urllib.request.Request, timeout_seconds: float) -> tuple[str, bool]:
    """Return why the message was not taken (empty: it was), and whether another try is pointless."""
    try:
        with _OPENER.open(request, timeout=timeout_seconds):
            return "", True
    except urllib.error.HTTPError as error:
        error.close()
        return f"HTTP status {error.code}", error.code in _FINAL
    except urllib.error.URLError as error:
        return f"no connection ({type(error.reason).__name__})", False
    except (OSError, http.client.HTTPException, ValueError) as error:  # their texts may hold the URL
        return f"no answer ({type(error).__name__})", isinstance(error, ValueError)


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Answers a redirect as an error of its status."""

    def redirect_request(self, *_: Any) -> None:
        """Follow nothing."""
        return None


_OPENER = urllib.request.build_opener(_NoRedirect)
