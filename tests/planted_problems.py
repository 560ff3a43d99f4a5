"""Snapshots with planted problems: what a suite must find, and what it must leave alone."""

from __future__ import annotations

import unicodedata
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

from tasks.data.records import Record, SplitName, Turn
from tasks.data.splitting import prompt_group
from tests import planted_values as values

LABELS = ("billing", "delivery", "account", "returns", "other")

_SUBJECTS = (
    "the patient", "my neighbour", "a customer", "our technician", "the new driver", "her supervisor",
    "the pharmacist",
)  # fmt: skip
_VERBS = (
    "reports", "describes", "mentions", "asks about", "complains of", "writes about", "explains", "notices",
)  # fmt: skip
_OBJECTS = (
    "a swollen ankle after the long walk", "kinking of the ureter on the left side",
    "an invoice with a wrong total", "a parcel that came two days late", "a fracture of the femoral neck",
    "the broken lock of the garage", "an old password reset form", "high blood pressure of 140/90 mmHg",
    "a dose of 2.5 mg twice a day", "pain since 12.03.2021", "a café near the Müller building",
    "the resumé of Zoë Ångström", "section 4.2.1.3 of the manual", "version 10.2.33.1 of the app",
    "order 4512-889-1200 from last week", "code S72.001A in the chart", "ICD-10 code E11.9",
    "the meeting at 14:30 on 2024-05-17", "ISBN 978-3-16-148410-0", "a price of 1 299,50 €", "lot 20231104-77",
    "SNOMED 73211009", "the ratio 3:2:1 in the mix", "an area of 12,500 square metres", "a 5×3 µm section",
    "lines 120-345 of the log", "a BMI of 31.4 kg/m²", "NDC 0002-8215-01",
)  # fmt: skip
_TAILS = (
    "and wants to know what to do next", "but does not remember when it began", "which is new this year",
    "and asks for a call back", "after a visit to the city", "although nothing was changed",
    "since the last check in spring", "because the form was unclear", "while travelling through three countries",
    "and has no further questions", "for the second time this month",
)  # fmt: skip
_FILLERS = (
    "amber", "basin", "candle", "dune", "ember", "fjord", "glacier", "harbour", "island", "jungle", "kettle",
    "lantern", "meadow", "nectar", "orchard", "pebble", "quarry", "river", "saddle", "timber", "umbrella", "valley",
    "willow", "yonder", "zephyr", "anchor", "bridge", "cobalt", "desert", "engine", "forest", "garden", "hollow",
)  # fmt: skip


@dataclass
class Planted:
    """Records with, by rule, the ids at fault; all other ids are clean."""

    records: list[Record] = field(default_factory=list)
    faults: defaultdict[str, set[str]] = field(default_factory=lambda: defaultdict(set))

    @property
    def clean(self) -> set[str]:
        return {record.record_id for record in self.records} - set().union(*self.faults.values())

    def add(
        self, prompt: str, completion: str, split: SplitName, *, rule: str | None = None, group: str = ""
    ) -> Record:
        turns = (Turn("user", prompt),)
        number = len(self.records)
        record = Record(f"r{number:06d}", split, group or f"g{number}{prompt_group(turns)}", turns, completion)
        self.records.append(record)
        if rule is not None:
            self.faults[rule].add(record.record_id)
        return record


def plant(*, seed: int, clean: int, each: int, closed_labels: bool) -> Planted:
    """Return `clean` good records and `each` records at fault of every kind, shuffled nowhere: splits take turns."""
    random, planted = Random(seed), Planted()
    for _ in range(clean):
        planted.add(_sentence(random), _completion(random, closed_labels), _split(random))
    for rule, make in _BROKEN_VALUES.items():
        for _ in range(each):
            prompt = make(random) if rule in _WHOLE_TEXT else _within(make(random), random)
            planted.add(prompt, _completion(random, closed_labels), _split(random), rule=rule)
    for _ in range(each):
        _plant_relations(planted, random, closed_labels)
    if closed_labels:
        for number in range(each):
            planted.add(_sentence(random), f"bilingg{number}", _split(random), rule="unknown_labels")
    else:
        for _ in range(each):
            answer = values.refusal(random) + " " + _sentence(random)
            planted.add(_sentence(random), answer, _split(random), rule="refusals")
    return planted


_BROKEN_VALUES: dict[str, Callable[[Random], str]] = {
    "email_addresses": values.email_address,
    "phone_numbers": values.phone_number,
    "ibans": values.iban,
    "card_numbers": values.card_number,
    "ip_addresses": values.ip_address,
    "secrets": values.secret,
    "encoding_damage": values.damaged,
    "garbage_text": values.garbage,
    "empty_text": values.empty,
    "special_tokens": lambda random: random.choice(("<|im_start|>", "<|eot_id|>", "<end_of_turn>", "[INST]", "<eos>")),
}
_WHOLE_TEXT = {"garbage_text", "empty_text"}


def _plant_relations(planted: Planted, random: Random, closed_labels: bool) -> None:
    answer = _completion(random, closed_labels)
    original = planted.add(_sentence(random), answer, "train")
    planted.add(original.prompt, answer, "train", rule="exact_duplicates")

    question = _sentence(random)
    conflict = "conflicting_labels" if closed_labels else "conflicting_completions"
    for label in random.sample(LABELS, 2):
        planted.add(question, label if closed_labels else f"{label}: {_sentence(random)}", "train", rule=conflict)

    leaking, protected = random.choice((("train", "test"), ("train", "validation"), ("validation", "test")))
    leaked = _sentence(random)
    planted.add(_same_to_a_reader(leaked, random), answer, leaking, rule="inputs_across_splits")
    planted.add(leaked, answer, protected)

    group = f"patient-{len(planted.records)}"
    planted.add(_sentence(random), answer, leaking, rule="groups_across_splits", group=group)
    planted.add(_sentence(random), answer, protected, group=group)

    copied = random.choice((_sentence, _letter))(random)
    planted.add(_almost(copied, random), answer, leaking, rule="near_copies_across_splits")
    planted.add(copied, answer, protected)


def _split(random: Random) -> SplitName:
    return random.choices(("train", "validation", "test"), (7, 1, 2))[0]


def _completion(random: Random, closed_labels: bool) -> str:
    return random.choice(LABELS) if closed_labels else f"Answer: {_sentence(random)}"


def _sentence(random: Random) -> str:
    middle = " ".join(random.sample(_FILLERS, 4))
    parts = (_SUBJECTS, _VERBS, _OBJECTS)
    return f"{' '.join(random.choice(part) for part in parts)} near {middle} {random.choice(_TAILS)}"


def _letter(random: Random) -> str:
    """About a hundred words."""
    return ". ".join(_sentence(random).capitalize() for _ in range(5)) + "."


def _within(value: str, random: Random) -> str:
    forms = ("Please note {} for later", "{}", "{} is what she wrote", "see: {}", "({})", "my contact: {}, thanks.")
    return f"{_sentence(random)}. {random.choice(forms).format(value)} {' '.join(random.sample(_FILLERS, 2))}"


def _same_to_a_reader(text: str, random: Random) -> str:
    wide = "".join(chr(ord(c) + 0xFEE0) if c.isascii() and c.isalpha() else c for c in text)
    return random.choice((text, text.upper(), text.replace(" ", "  "), f" {text}\n", wide, text.title()))


def _almost(text: str, random: Random) -> str:
    """Change what a person would call the same text: signs, accents, a joined word, one typing error."""
    words = text.split()
    places = [index for index, word in enumerate(words) if word.isascii() and word.isalpha() and len(word) >= 6]
    place = random.choice(places)
    word, cut = words[place], random.randint(1, len(words[place]) - 2)
    changed = {
        "swap": word[:cut] + word[cut + 1] + word[cut] + word[cut + 2 :],
        "drop": word[:cut] + word[cut + 1 :],
        "double": word[:cut] + word[cut] + word[cut:],
        "replace": word[:cut] + random.choice("jkqxz") + word[cut + 1 :],
    }
    way = random.choice((*changed, "signs", "accent", "comma", "quotes"))
    if way in changed and changed[way] != word:
        return " ".join([*words[:place], changed[way], *words[place + 1 :]])
    if way == "accent" and any(vowel in text for vowel in "aeou"):
        vowel = next(vowel for vowel in "aeou" if vowel in text)
        return text.replace(vowel, unicodedata.normalize("NFC", vowel + "\u0301"), 1)
    if way == "comma":
        return " ".join([*words[:place], words[place] + ",", *words[place + 1 :]])
    return f"“{text}”" if way == "quotes" else f"{text}!"
