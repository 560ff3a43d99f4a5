"""Real data of a specialised domain: ICD-10-CM inclusion terms, out of the package `simple-icd-10-cm`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from configs.errors import DataError

DISTRIBUTIONS = ("simple-icd-10-cm",)
"""The installed packages that the rows come from; their versions are part of the source's digest."""

_CODE_RANGE = re.compile(r" \([A-Z0-9]+-[A-Z0-9]+\)$")


def inclusion_terms() -> Iterator[dict[str, str]]:
    """Yield each inclusion term (clinical wording) with its code, in the order of the classification.

    Yields:
        Rows with `term`, `code`, `category` (the code's first three characters), `chapter` (the chapter's title
        without its range of codes) and `description` (the code's official wording).

    Raises:
        DataError: the package isn't installed.
    """
    icd = classification("icd10_inclusion_terms")
    chapter = ""
    for code in icd.get_all_codes(True):
        if icd.is_chapter(code):
            chapter = _CODE_RANGE.sub("", icd.get_description(code))
        elif not icd.is_block(code):
            description = icd.get_description(code)
            for term in icd.get_inclusion_term(code):
                yield {
                    "term": term,
                    "code": code,
                    "category": code[:3],
                    "chapter": chapter,
                    "description": description,
                }


def classification(source: str) -> Any:
    """Return the module that holds ICD-10-CM, for the data source of this name.

    Raises:
        DataError: the package isn't installed.
    """
    try:
        import simple_icd_10_cm
    except ImportError as error:
        raise DataError(
            f"data.source {source} needs the package simple-icd-10-cm, which is not installed; "
            "install the extra: pip install -e '.[demo]'"
        ) from error
    return simple_icd_10_cm
