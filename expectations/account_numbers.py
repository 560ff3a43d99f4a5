"""Bank account and payment card numbers, told from other numbers by their checksums."""

from __future__ import annotations

import re
from collections.abc import Iterator

IBAN_LENGTHS = {
    "AD": 24, "AE": 23, "AL": 28, "AT": 20, "AZ": 28, "BA": 20, "BE": 16, "BG": 22, "BH": 22, "BI": 27, "BR": 29,
    "BY": 28, "CH": 21, "CR": 22, "CY": 28, "CZ": 24, "DE": 22, "DJ": 27, "DK": 18, "DO": 28, "EE": 20, "EG": 29,
    "ES": 24, "FI": 18, "FK": 18, "FO": 18, "FR": 27, "GB": 22, "GE": 22, "GI": 23, "GL": 18, "GR": 27, "GT": 28,
    "HN": 28, "HR": 21, "HU": 28, "IE": 22, "IL": 23, "IQ": 23, "IS": 26, "IT": 27, "JO": 30, "KW": 30, "KZ": 20,
    "LB": 28, "LC": 32, "LI": 21, "LT": 20, "LU": 20, "LV": 21, "LY": 25, "MC": 27, "MD": 24, "ME": 22, "MK": 19,
    "MN": 20, "MR": 27, "MT": 31, "MU": 30, "NI": 28, "NL": 18, "NO": 15, "OM": 23, "PK": 24, "PL": 28, "PS": 29,
    "PT": 25, "QA": 29, "RO": 24, "RS": 22, "RU": 33, "SA": 24, "SC": 31, "SD": 18, "SE": 24, "SI": 19, "SK": 24,
    "SM": 27, "SO": 23, "ST": 25, "SV": 28, "TL": 23, "TN": 24, "TR": 26, "UA": 29, "VA": 22, "VG": 24, "XK": 20,
    "YE": 30,
}  # fmt: skip
"""Characters in an IBAN by country: SWIFT IBAN registry."""

_IBAN_START = re.compile(r"(?<![A-Za-z0-9])[A-Za-z]{2}[ -]?\d{2}(?=[ -]?[A-Za-z0-9])")
_CARD = re.compile(
    r"(?<![\d.,])(?:\d{14,19}"
    r"|\d{4}([ \u00a0-])\d{4}\1\d{4}\1\d{4}(?:\1\d{1,3})?"
    r"|\d{4}([ \u00a0-])\d{6}\2\d{4,5})(?![.,]?\d)"
)


def has_iban(text: str) -> bool:
    """Whether the text holds an IBAN: known country, its length, and ISO 7064 mod 97-10."""
    return any(_passes_mod97(candidate) for candidate in _iban_candidates(text))


def has_card_number(text: str) -> bool:
    """Whether the text holds a payment card number: a known issuer, its length, and the Luhn checksum."""
    return any(_is_card(re.sub(r"\D", "", match[0])) for match in _CARD.finditer(text))


def _iban_candidates(text: str) -> Iterator[str]:
    """Yield as many letters and digits from each possible start as the country's IBAN has."""
    for match in _IBAN_START.finditer(text):
        length = IBAN_LENGTHS.get(match[0][:2].upper())
        if length is None:
            continue
        pattern = re.compile(rf"(?:[A-Za-z0-9][ \u00a0-]?){{{length - 1}}}[A-Za-z0-9](?![A-Za-z0-9])")
        candidate = pattern.match(text, match.start())
        if candidate:
            yield re.sub(r"[^A-Za-z0-9]", "", candidate[0]).upper()


def _passes_mod97(iban: str) -> bool:
    rearranged = iban[4:] + iban[:4]
    return int("".join(str(int(character, 36)) for character in rearranged)) % 97 == 1


def _is_card(digits: str) -> bool:
    return _is_issued(digits) and _passes_luhn(digits)


def _is_issued(digits: str) -> bool:
    """Issuer by leading digits and the lengths it uses: ISO/IEC 7812 ranges of the large networks."""
    two, three, four, length = int(digits[:2]), int(digits[:3]), int(digits[:4]), len(digits)
    if digits[0] == "4":
        return length in (16, 19)
    if 51 <= two <= 55 or 2221 <= four <= 2720 or 3528 <= four <= 3589:
        return length == 16
    if two in (34, 37):
        return length == 15
    if two in (36, 38, 39) or 300 <= three <= 305:
        return length == 14
    if four == 6011 or 644 <= three <= 659 or two in (50, 56, 57, 58, 62, 63, 67):
        return length in (16, 19)
    return False


def _passes_luhn(digits: str) -> bool:
    doubled = [int(digit) * (1 + index % 2) for index, digit in enumerate(reversed(digits))]
    return sum(value // 10 + value % 10 for value in doubled) % 10 == 0
