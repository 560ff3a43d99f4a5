"""Credentials in text: keys by the form their issuer gives them, and values assigned to a telling name."""

from __future__ import annotations

import math
import re
from collections import Counter

_ISSUED = re.compile(
    r"-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----"
    r"|AGE-SECRET-KEY-1[0-9A-Z]{58}"
    r"|(?<![A-Za-z0-9])(?:"
    r"(?:AKIA|ASIA|ABIA|ACCA)[0-9A-Z]{16}"  # Amazon Web Services
    r"|gh[pousr]_[A-Za-z0-9]{36,255}|github_pat_[A-Za-z0-9_]{40,255}"
    r"|gl(?:pat|rt|dt|ptt|cbt)-[A-Za-z0-9_-]{20,}"
    r"|xox[abeoprs]-[A-Za-z0-9-]{10,}|xapp-\d-[A-Za-z0-9-]{20,}"  # Slack
    r"|AIza[0-9A-Za-z_-]{35}|ya29\.[0-9A-Za-z_-]{20,}|GOCSPX-[A-Za-z0-9_-]{28}"  # Google
    r"|[sr]k_(?:live|test)_[0-9A-Za-z]{16,}|whsec_[A-Za-z0-9+/]{24,}"  # Stripe
    r"|sk-(?:proj-|ant-|or-|svcacct-)?[A-Za-z0-9_-]{24,}"  # OpenAI, Anthropic, OpenRouter
    r"|hf_[A-Za-z0-9]{30,}|npm_[A-Za-z0-9]{36}|pypi-AgE[A-Za-z0-9_-]{40,}"
    r"|SG\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,}|key-[0-9a-f]{32}"  # SendGrid, Mailgun
    r"|S[KI][0-9a-f]{32}|AC[0-9a-f]{32}"  # Twilio
    r"|do[opr]_v1_[0-9a-f]{64}|dapi[0-9a-f]{32}|shp(?:at|ca|pa|ss)_[0-9a-fA-F]{32}"
    r"|\d{8,10}:AA[A-Za-z0-9_-]{33}"  # Telegram
    r"|eyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}"  # JSON web token
    r")"
    r"|hooks\.slack\.com/services/T[A-Z0-9]+/B[A-Z0-9]+/[A-Za-z0-9]{16,}"
    r"|(?:AccountKey|SharedAccessKey)=[A-Za-z0-9+/]{32,}={0,2}"
)
_IN_ADDRESS = re.compile(r"\b[a-z][a-z0-9+.-]{1,20}://[^\s:/@]{1,64}:(?P<value>[^\s:/@]{4,128})@[\w.-]+", re.IGNORECASE)
_BEARER = re.compile(r"\b(?:bearer|basic)\s+(?P<value>[A-Za-z0-9._~+/-]{16,}=*)", re.IGNORECASE)
_ASSIGNED = re.compile(
    r"(?:pass(?:word|wd|phrase|code)|pwd|secret|api[ _-]?key|access[ _-]?key|private[ _-]?key|auth[ _-]?token|token"
    r"|client[ _-]?secret|credentials?|passwort|kennwort|mot de passe|contraseña)"
    r"(?:[_-]?\w{0,16})[\"'`]?\s*(?P<sign>[:=]{1,2}>?|\bis\b|\bist\b)\s*[\"'`]?(?P<value>[^\s\"'`,;]{8,200})",
    re.IGNORECASE,
)
_STAND_IN = re.compile(
    r"^(?:[<${%\[(]|\*+$|x+$|\.+$|your|my[_-]?|example|placeholder|redacted|os\.|env\.|process\.|self\.|https?://)"
    r"|[(\[{]|\.(?:get|env|environ)\b",
    re.IGNORECASE,
)


def has_secret(text: str) -> bool:
    """Whether the text holds a credential: an issued key, a login in an address, or an assigned random value."""
    return (
        _ISSUED.search(text) is not None
        or any(not _STAND_IN.search(match["value"]) for match in _IN_ADDRESS.finditer(text))
        or any(_looks_random(match["value"], kinds=2) for match in _BEARER.finditer(text))
        or any(
            _looks_random(match["value"], kinds=3 if match["sign"].isalpha() else 2)
            for match in _ASSIGNED.finditer(text)
        )
    )


def _looks_random(value: str, *, kinds: int) -> bool:
    """At least `kinds` of lower case, upper case, digits and signs; varied; no stand-in such as `<password>`."""
    value = value.rstrip(".!?)")
    if len(value) < 8 or _STAND_IN.search(value):
        return False
    found = sum(re.search(kind, value) is not None for kind in ("[a-z]", "[A-Z]", "[0-9]", r"[!@#$%^&*+=~?]"))
    return found >= kinds and _entropy(value) >= (4 if value.isalpha() else 2.5)


def _entropy(value: str) -> float:
    """Shannon entropy of the characters, in bits per character."""
    counts = Counter(value).values()
    return -sum(count / len(value) * math.log2(count / len(value)) for count in counts)
