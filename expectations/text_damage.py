"""Text that carries nothing to learn from: empty, a placeholder, garbage, or damaged by a wrong encoding."""

from __future__ import annotations

import operator
import re
import unicodedata
from itertools import pairwise

_INVISIBLE = re.compile(r"[\s\u00ad\u200b-\u200f\u2028-\u202f\u2060-\u2064\ufe0e\ufe0f\ufeff\u115f\u3164]+")

_MISSING_VALUES = frozenset({"nan", "null", "<na>", "nat", "undefined", "nil", "#n/a", "#ref!", "#value!", "#name?",
                             "#div/0!", "[object object]", "<null>", "(null)"})  # fmt: skip
_MISSING_INPUTS = _MISSING_VALUES | {"none", "n/a", "na", "n.a", "tbd", "todo", "lorem ipsum", "test", "xxx", "asdf"}

_CONTROLS = re.compile(r"[\x00-\x08\x0e-\x1f\x7f-\x9f]")
_REPLACED = re.compile("[\ufffd\ufdd0-\ufdef\ufffe\uffff\ud800-\udfff]")

# How bytes 0x80 to 0xBF, the tail of a UTF-8 sequence, look when read as Latin-1 or Windows-1252. `_ODD` leaves out
# the signs that may rightly follow a capital letter: quotes, dashes, dots.
_TAIL = "\u0080-\u00bf€‚ƒ„…†‡ˆ‰Š‹ŒŽ‘’“”•–—˜™š›œžŸ"
_ODD = "\u0080-\u009f¡-ª¬-º¼-¿€‚ƒ„†‡ˆ‰Š‹ŒŽ•˜š›œžŸ"
_MOJIBAKE = re.compile(
    rf"(?<=[a-zß-öø-ÿ])[ÂÃÄÅÐÑÎÏÙ][{_TAIL}]"  # a capital inside a lower-case word: cafÃ©
    rf"|[ÂÃÄÐÑÎÏ][{_ODD}]|Å[\u0080-\u009f¡-¯´-¶¸-º¼-¿€‚ƒ„†‡ˆ‰Š‹ŒŽ•˜š›œžŸ]"  # Ãœber; but Å² and Å³ are units
    r"|[ÂÃÄÅÐÑ][…‘’“”–—™«»](?=[a-zß-öø-ÿ])|[ÂÃ]\u00a0|(?<!\w)Ã (?=[a-z])"  # Ã la carte
    rf"|(?:[ÂÃÄÅÐÑÎÏØÙ×][{_TAIL}]){{2}}"  # Greek, Cyrillic, Hebrew and Arabic words
    rf"|â[€‚„†‡ˆ‰‹š›œžŸ•˜¬\u0080-\u009f][{_TAIL}]|â„¢|á[º»][{_ODD}]"  # â€™ and Vietnamese
    rf"|(?:[ãäåæçèéêëìí][{_TAIL}]{{2}}){{2}}|ðŸ|ï»¿|ï¿½"  # Chinese, Japanese, Korean; emoji; byte-order mark
    "|(?:[РС][Ё-Џђ-џёґҐ°±µ¶·№»«†‡€‰‹›‘’“”•–—™\u00a0-\u00bf]){3}"  # UTF-8 read as Windows-1251
    "|(?<=[A-Za-z])[ВГД][Ђ-Џђ-џ¤¦§©«¬®°±¶·…]"  # the same for a Western word: GrГ¶Гџe
    "|ΓÇ|(?<=[^\\W\\d_])[├┼┬╨╤╬╧╫╪║][^\\s\u2500\u2550]|(?:[╨╤╫╬╧][^\\s\u2500-\u256c]){2}"  # read as a DOS code page
    "|‚Ä[ôúùìî¶]|(?<=[A-Za-z])√[©®†±∂ßº¶ª§]"  # read as Mac Roman
)

_LONGEST_REPEATED_UNIT = 12
_LOOKED_AT = 2000
_BLOB = re.compile(r"[A-Za-z0-9+/_=-]{120,}")
_KEYBOARD_ROWS = ("qwertyuiop", "asdfghjkl", "zxcvbnm", "qwertzuiop", "yxcvbnm", "azertyuiop", "qsdfghjklm", "wxcvbn")
_NEIGHBOURS = frozenset(pair for row in _KEYBOARD_ROWS for a, b in pairwise(row) for pair in (a + b, b + a))


def is_empty(text: str) -> bool:
    """Whether nothing visible is left after removing white space and invisible characters."""
    return not _INVISIBLE.sub("", text)


def is_missing_value(text: str) -> bool:
    """Whether the text is how a program prints a missing value (`nan`, `null`, `#N/A`)."""
    return text.strip().casefold() in _MISSING_VALUES


def is_placeholder(text: str) -> bool:
    """Whether an input stands for a missing one: a missing value, or what people type instead (`n/a`, `todo`)."""
    return text.strip().casefold().strip(" .-!") in _MISSING_INPUTS or is_missing_value(text)


def has_encoding_damage(text: str) -> bool:
    """Whether the text was decoded with the wrong encoding, or holds binary control characters."""
    if text.isascii():
        return bool(_CONTROLS.search(text))
    return bool(_CONTROLS.search(text) or _REPLACED.search(text) or _MOJIBAKE.search(text))


def is_garbage(text: str) -> bool:
    """Whether the text is noise: signs only, one thing repeated, keys hit in rows, or an encoded blob."""
    visible = _INVISIBLE.sub("", text)
    if not visible:
        return False
    return _is_signs_only(visible) or _is_repetition(visible) or _is_keyboard_mash(visible) or _is_blob(text)


def _is_signs_only(visible: str) -> bool:
    """Letters, digits and pictographs below a fifth; short answers such as `+` or `:)` are let through."""
    if len(visible) < 4:
        return set(visible) <= set("?.!,;_")
    if visible.isascii():
        return sum(map(str.isalnum, visible)) < 0.2 * len(visible)
    kinds = (unicodedata.category(character) for character in visible)
    return sum(kind[0] in "LNM" or kind == "So" for kind in kinds) < 0.2 * len(visible)


def _is_repetition(visible: str) -> bool:
    """One unit of up to twelve characters again and again: most characters equal the one a unit later."""
    if len(visible) < 10 or visible.isdecimal():
        return False
    beginning = visible[:_LOOKED_AT]
    longest = min(_LONGEST_REPEATED_UNIT, len(beginning) // 5)
    return any(
        sum(map(operator.eq, beginning, beginning[unit:])) > 0.8 * (len(beginning) - unit)
        for unit in range(1, longest + 1)
    )


def _is_keyboard_mash(visible: str) -> bool:
    letters = visible.casefold()
    if len(letters) < 8 or not letters.isalpha() or not letters.isascii():
        return False
    neighbours = sum(letters[i : i + 2] in _NEIGHBOURS for i in range(len(letters) - 1))
    return neighbours >= 0.75 * (len(letters) - 1)


def _is_blob(text: str) -> bool:
    """Mixed case with digits and no break: Base64, not a gene sequence or a hexadecimal dump."""
    longest = max((match[0] for match in _BLOB.finditer(text)), key=len, default="")
    mixed = all(any(map(kind, longest)) for kind in (str.islower, str.isupper, str.isdigit))
    return mixed and len(longest) > 0.8 * len(text.strip())
