"""Personal data in free text: email addresses, phone numbers, IP addresses."""

from __future__ import annotations

import ipaddress
import re

_EMAIL = re.compile(
    r"(?<![\w.+-])(?P<local>[\w.+%'-]{1,64})(?:@|\s?[\[({]\s?(?:at|@)\s?[\])}]\s?)"
    r"(?P<domain>[\w-]{1,63}(?:(?:\.|\s?[\[({]\s?(?:dot|\.)\s?[\])}]\s?)[\w-]{1,63})*"
    r"(?:\.|\s?[\[({]\s?(?:dot|\.)\s?[\])}]\s?)(?P<ending>[^\W\d_]{2,24}))(?![\w@])",
    re.IGNORECASE,
)
_FILE_ENDINGS = frozenset({"png", "jpg", "jpeg", "gif", "svg", "webp", "js", "css", "py", "service"})
_SOFTWARE_ACCOUNTS = frozenset({"git", "hg", "svn"})

_COUNTRY_CODES = re.compile(
    "1|7|2[07]|3[0-469]|4[013-9]|5[1-8]|6[0-6]|8[1246]|9[0-58]"
    "|2[1-69]\\d|3[578]\\d|42\\d|5[09]\\d|6[789]\\d|8[05789]\\d|9[679]\\d"
)
_GAP = r"[ \u00a0./-]?"
_INTERNATIONAL = re.compile(
    rf"(?:(?<![\w+])\+\s?|(?<![\w+.,/-])00(?=[1-9]))(?P<digits>\d{{1,3}}[ \u00a0./-]{{0,2}}(?:\(\d{{1,5}}\){_GAP})?"
    rf"(?:\d{{1,5}}[ \u00a0./-]{{1,2}}){{0,6}}\d{{2,12}})(?![\w%]|[.,]\d)"
)
_NORTH_AMERICAN = re.compile(
    r"(?<![\w.,/-])(?:1[ .-])?(?:\([2-9]\d{2}\)[ .-]?\d{3}[ .-]\d{4}"
    r"|[2-9]\d{2}(?P<gap>[ .-])\d{3}(?P=gap)\d{4}|[2-9]\d{2}/\d{3}-\d{4})"
    r"(?:\s?(?:x|ext\.?)\s?\d{1,5})?(?![\w%/-]|[.,]\d|\s?(?:[mkµ]?g|mcg|[cmµ]?l|[cm]m|iu)\b)",
    re.IGNORECASE,
)
_WITH_TRUNK_ZERO = re.compile(
    r"(?<![\w.,+/-])(?:\(0\d{1,5}\)[ /-]?(?:\d{2,8}[ .-]?){1,4}\d|\([1-9]\d\)[ -]?\d{4,5}[ -]\d{4}"
    r"|0[1-9]\d{0,4}[ /.-](?:\d{2,8}[ .-]){0,4}\d{2,8})(?![\w%/]|[.,-]\d)"
)
_MOBILE_WITHOUT_GAPS = re.compile(r"(?<![\w.,+/-])0(?:[67]\d{8}|7\d{9}|1[567]\d{8,9})(?![\w%/-]|[.,]\d)")
_ANNOUNCED = re.compile(
    r"\b(?:phone|telephone|tel|mobile|cell|fax|call|dial|text|sms|whatsapp|handy|telefon|mobil|anrufen|tél|téléphone"
    r"|portable|teléfono|móvil|telefono|cellulare)\b[^\d\n+]{0,25}"
    r"(?P<digits>\(?\d[\d ().\u00a0/-]{5,18}\d)(?![\w%]|[.,]\d)",
    re.IGNORECASE,
)
_OTHER_NUMBER = re.compile(
    r"(?:order|invoice|ticket|case|reference|ref|id|isbn|issn|account|code|item|part|serial|version|mrn|npi|patient"
    r"|barcode|sku|batch|lot|article|claim|policy|doi|page|pages|pp|vol|no|nr|#|§|\$|€|£)[\s.:#=]*$",
    re.IGNORECASE,
)
_DATE = re.compile(
    r"(?<!\d)(?:(?:0?[1-9]|[12]\d|3[01])(?P<a>[./ -])(?:0?[1-9]|[12]\d|3[01])(?P=a)(?:19|20)\d{2}(?!\d)"
    r"|(?<!\d[./-])(?:0?[1-9]|[12]\d|3[01])(?P<c>[./-])(?:0?[1-9]|[12]\d|3[01])(?P=c)\d{2}(?!\d|(?P=c)\d)"
    r"|(?:19|20)\d{2}(?P<b>[./ -])(?:0[1-9]|1[0-2])(?P=b)(?:0[1-9]|[12]\d|3[01])(?!\d))"
)
_YEARS = re.compile(r"\((?:1[89]|20)\d{2}\)|(?:1[89]|20)\d{2}\s?[/–-]\s?(?:1[89]|20)\d{2}")

_IPV4 = re.compile(r"(?<![\w.])(?:[0-9]{1,3}\.){3}[0-9]{1,3}(?![\w%]|\.\d)")
_IPV6 = re.compile(r"(?<![\w:.])(?:[0-9A-Fa-f]{1,4}:{1,2}){1,7}[0-9A-Fa-f]{0,4}(?![\w:])")
_LOCAL_IPV6 = re.compile(r"^(?:[23][0-9a-f]{3}|f[cdef][0-9a-f]{2}):", re.IGNORECASE)
_NUMBERED = re.compile(
    r"(?:version|ver|v|release|build|section|sect|sec|chapter|clause|paragraph|table|figure|fig|rule|article|annex"
    r"|firmware|rev|revision|§|[<>=~^]=?)[\s.:]*$",
    re.IGNORECASE,
)
_BEFORE = 24


def has_email(text: str) -> bool:
    """Whether the text holds an email address, `name [at] example [dot] org` included."""
    return any(
        match["ending"].casefold() not in _FILE_ENDINGS and match["local"].casefold() not in _SOFTWARE_ACCOUNTS
        for match in _EMAIL.finditer(text)
    )


def has_phone_number(text: str) -> bool:
    """Whether the text holds a phone number.

    Found by its form (international prefix, North American grouping, a trunk zero with groups, European mobile
    prefixes) or by the word before it. Dates, ranges of years and numbers that are announced as something else
    (order, ISBN, invoice) are not taken for one.
    """
    if _digits(text) < 7:
        return False
    return any(_dials_abroad(match["digits"]) for match in _INTERNATIONAL.finditer(text)) or any(
        7 <= _digits(match[group]) <= 15 and not _is_another_number(text, match, group)
        for pattern, group in _NATIONAL_PATTERNS
        for match in pattern.finditer(text)
    )


def has_ip_address(text: str) -> bool:
    """Whether the text holds an IPv4 or IPv6 address that can belong to someone.

    Loopback, unspecified and mask addresses are not taken; neither are version and section numbers.
    """
    return any(_is_ipv4(text, match) for match in _IPV4.finditer(text)) or any(
        _is_ipv6(match[0]) for match in _IPV6.finditer(text)
    )


_NATIONAL_PATTERNS: tuple[tuple[re.Pattern[str], int | str], ...] = (
    (_NORTH_AMERICAN, 0),
    (_WITH_TRUNK_ZERO, 0),
    (_MOBILE_WITHOUT_GAPS, 0),
    (_ANNOUNCED, "digits"),
)


def _digits(text: str) -> int:
    return len(re.findall(r"\d", text))


def _dials_abroad(number: str) -> bool:
    digits = re.sub(r"\D", "", number)
    is_round_amount = "00000" in digits
    return 8 <= len(digits) <= 15 and not is_round_amount and _COUNTRY_CODES.match(digits) is not None


def _is_another_number(text: str, match: re.Match[str], group: int | str) -> bool:
    number, start = match[group], match.start(group)
    if _DATE.search(number) or _YEARS.search(number):
        return True
    minimum = 9 if group == 0 else 7
    announced = _OTHER_NUMBER.search(text[max(0, start - _BEFORE) : start])
    return _digits(number) < minimum or (announced is not None and group == 0)


def _is_ipv4(text: str, match: re.Match[str]) -> bool:
    octets = match[0].split(".")
    if any((len(octet) > 1 and octet[0] == "0") or int(octet) > 255 for octet in octets):
        return False
    address = ipaddress.IPv4Address(match[0])
    if address.is_loopback or address.is_unspecified or octets[0] in ("0", "255"):
        return False
    numbered = _NUMBERED.search(text[max(0, match.start() - _BEFORE) : match.start()])
    return numbered is None and any(int(octet) > 9 for octet in octets)


def _is_ipv6(candidate: str) -> bool:
    try:
        address = ipaddress.IPv6Address(candidate.rstrip(":") if not candidate.endswith("::") else candidate)
    except ValueError:
        return False
    if address.is_loopback or address.is_unspecified:
        return False
    if "::" in candidate:
        return bool(_LOCAL_IPV6.match(candidate))
    return any(len(part) >= 3 for part in candidate.split(":"))
