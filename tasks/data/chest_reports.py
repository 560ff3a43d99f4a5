"""Made-up reports of chest CTs: a radiologist's structured findings, and the concluding text that follows from them.

No reports of patients may be shipped, so these are generated. Indications are the symptoms of ICD-10-CM's R04 to R09
(package `simple-icd-10-cm`); the rest follows this grammar, made for this purpose and nothing to treat people by:

    findings   = "Indication: " symptom, {line}          two to six lines, each place at most once, in any order
    line       = place ": " observation [", " size] [", " change]
    size       = millimetres " mm" | "small" | "large"
    change     = "new" | "unchanged" | "was " millimetres " mm"
    conclusion = {sentence} | "No relevant abnormality of the chest."
    sentence   = [change in words] observation in words [advice] "."

What has to be learned: normal places and lymph nodes below 10 mm are left out; sentences stand by urgency, and in the
order of the lines where it is equal; a nodule is judged by its growth (2 mm or more) and its size (below 6, 6 to 8,
above 8 mm).
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import NamedTuple

from tasks.data.icd10 import DISTRIBUTIONS as DISTRIBUTIONS  # its version is part of the source's digest
from tasks.data.icd10 import classification

_LOBES = ("right upper lobe", "right middle lobe", "right lower lobe", "left upper lobe", "left lower lobe")
_SPACES = ("right pleural space", "left pleural space")
_NODES = ("mediastinum", "right hilum", "left hilum")
_GROWTH_MM, _FOLLOWED_MM, _SUSPECT_MM = 2, 6, 9
"""A nodule is growing, followed up, suspect from so many millimetres on."""
_NODE_MM = 10
_NOTHING = "No relevant abnormality of the chest."


class Finding(NamedTuple):
    """One line of the findings, and the sentence that it adds to the conclusion."""

    line: str
    urgency: int
    """Larger first."""
    sentence: str
    """Empty where the conclusion leaves the finding out."""


def reports(count: int = 3000, seed: int = 0) -> Iterator[dict[str, str]]:
    """Yield `count` rows; the same arguments always give the same rows.

    Yields:
        Rows with `findings` (lines of text), `conclusion`, `patient` (two reports each, to group by) and `abnormal`
        (how many findings the conclusion speaks of).

    Raises:
        DataError: the package isn't installed.
    """
    icd = classification("chest_reports")
    codes = [code for code in icd.get_descendants("R00-R09") if icd.is_leaf(code) and code >= "R04"]
    symptoms = [icd.get_description(code) for code in codes]
    draw = random.Random(seed)
    for number in range(count):
        findings = [_finding(place, draw) for place in draw.sample(_LOBES + _SPACES + _NODES, draw.randint(2, 6))]
        told = sorted((each for each in findings if each.sentence), key=lambda each: -each.urgency)
        yield {
            "findings": "\n".join([f"Indication: {draw.choice(symptoms)}", *(each.line for each in findings)]),
            "conclusion": " ".join(each.sentence for each in told) or _NOTHING,
            "patient": f"patient {number // 2}",
            "abnormal": str(len(told)),
        }


def _finding(place: str, draw: random.Random) -> Finding:
    if draw.random() < 0.35:
        return Finding(f"{place}: normal", 0, "")
    if place in _SPACES:
        return _effusion(place, draw)
    return _node(place, draw) if place in _NODES else draw.choice((_nodule, _consolidation))(place, draw)


def _nodule(place: str, draw: random.Random) -> Finding:
    size = draw.randint(3, 14)
    before = draw.choice((None, size, max(2, size - draw.randint(1, 4))))
    change = "new" if before is None else "unchanged" if before == size else f"was {before} mm"
    line = f"{place}: solid nodule, {size} mm, {change}"
    if before is not None and size - before >= _GROWTH_MM:
        return Finding(line, 90, f"Growing nodule of the {place}, {before} to {size} mm; tissue sampling is advised.")
    word = "New" if before is None else "Known"
    if size < _FOLLOWED_MM:
        return Finding(line, 20, f"{word} small nodule of the {place}; no follow-up needed.")
    if size < _SUSPECT_MM:
        return Finding(line, 50, f"{word} nodule of the {place}, {size} mm; CT in 6 to 12 months is advised.")
    return Finding(line, 80, f"{word} nodule of the {place}, {size} mm; CT in 3 months or PET-CT is advised.")


def _consolidation(place: str, draw: random.Random) -> Finding:
    change = draw.choice(("new", "unchanged"))
    line = f"{place}: consolidation with air bronchograms, {change}"
    if change == "new":
        return Finding(line, 70, f"Pneumonia of the {place}.")
    return Finding(line, 60, f"Persisting consolidation of the {place}; a tumour must be ruled out.")


def _effusion(place: str, draw: random.Random) -> Finding:
    size, change = draw.choice(("small", "large")), draw.choice(("new", "unchanged"))
    side = place.partition(" ")[0]
    line = f"{place}: fluid, {size}, {change}"
    advice = "; drainage is to be considered" if (size, change) == ("large", "new") else ""
    return Finding(line, 65 if advice else 30, f"{change.capitalize()} {size} {side} pleural effusion{advice}.")


def _node(place: str, draw: random.Random) -> Finding:
    size = draw.randint(5, 22)
    line = f"{place}: lymph node, {size} mm"
    if size < _NODE_MM:
        return Finding(line, 0, "")
    return Finding(line, 55, f"Enlarged lymph node of the {place}, {size} mm.")
