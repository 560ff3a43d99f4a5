"""Everything that `expect_text_to_be_free_of` can look for, by the name a suite uses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, get_args

from expectations.account_numbers import has_card_number, has_iban
from expectations.personal_data import has_email, has_ip_address, has_phone_number
from expectations.refusals import is_refusal
from expectations.secret_patterns import has_secret
from expectations.text_damage import has_encoding_damage, is_empty, is_garbage, is_missing_value, is_placeholder

Finding = Literal[
    "other_types",
    "empty_text",
    "missing_values",
    "placeholders",
    "garbage",
    "encoding_damage",
    "email_addresses",
    "phone_numbers",
    "ip_addresses",
    "ibans",
    "card_numbers",
    "secrets",
    "refusals",
]

_DETECTORS: dict[str, Callable[[str], bool]] = {
    "empty_text": is_empty,
    "missing_values": is_missing_value,
    "placeholders": is_placeholder,
    "garbage": is_garbage,
    "encoding_damage": has_encoding_damage,
    "email_addresses": has_email,
    "phone_numbers": has_phone_number,
    "ip_addresses": has_ip_address,
    "ibans": has_iban,
    "card_numbers": has_card_number,
    "secrets": has_secret,
    "refusals": is_refusal,
}

FINDINGS: tuple[str, ...] = get_args(Finding)


def has_finding(value: Any, finding: str) -> bool:
    """Whether a cell holds what `finding` names; only `other_types` is found in a cell that isn't text."""
    if finding == "other_types":
        return not isinstance(value, str)
    return isinstance(value, str) and _DETECTORS[finding](value)
