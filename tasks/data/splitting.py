"""Which records train, choose and test: by hash of the group, so that rows never move as data grows."""

from __future__ import annotations

import dataclasses
import hashlib
import unicodedata
from collections.abc import Sequence

from configs.errors import RecipeError
from configs.schema import Data, DataFiles, Split
from tasks.data.records import SPLITS, Record, SplitName, Turn


def assign_splits(records: Sequence[Record], data: Data) -> list[Record]:
    """Give each record its split; the order stays.

    Splits that the user brought (a column or three files) are kept as they are. Otherwise every group goes where its
    hash falls, whatever else is in the data: a test record stays a test record as data grows.
    """
    if has_own_split(data):
        return list(records)
    return [dataclasses.replace(record, split=split_of_group(record.group, split=data.split)) for record in records]


def within_limits(records: Sequence[Record], data: Data) -> list[Record]:
    """Keep at most `data.max_*_records` of each split, chosen by the hash of the record; the order stays."""
    limits: dict[SplitName, int | None] = {
        "train": data.max_train_records,
        "validation": data.max_validation_records,
        "test": data.max_test_records,
    }
    kept: set[str] = set()
    for name in SPLITS:
        ids = [record.record_id for record in records if record.split == name]
        kept.update(sorted(ids, key=lambda record_id: _hash(data.split.salt, record_id))[: limits[name]])
    return [record for record in records if record.record_id in kept]


def split_of_group(group: str, *, split: Split) -> SplitName:
    """Return the split of a group: a pure function of its name, the fractions and the salt."""
    position = int.from_bytes(_hash(split.salt, group)[:8]) / 2**64
    if position < split.test_fraction:
        return "test"
    if position < split.test_fraction + split.validation_fraction:
        return "validation"
    return "train"


def has_own_split(data: Data) -> bool:
    """Whether the user brings the split: by `data.split.column` or by three files.

    Raises:
        RecipeError: the recipe says both.
    """
    three_files = isinstance(data.source, DataFiles) and data.source.path is None
    if three_files and data.split.column is not None:
        raise RecipeError(
            "data.split.column and three files in data.source both say what the split is; remove one of them"
        )
    return three_files or data.split.column is not None


def prompt_group(turns: Sequence[Turn]) -> str:
    """Return the group of a record without `group_by`: the hash of its prompt, apart from case, width and spacing."""
    text = "\0".join(f"{turn.role}\0{normalised(turn.text)}" for turn in turns)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def normalised(text: str) -> str:
    """Fold what makes no difference to a reader: Unicode compatibility forms (NFKC), case, runs of white space."""
    return " ".join(unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold()).split())


def _hash(salt: str, key: str) -> bytes:
    return hashlib.sha256(f"{salt}\0{key}".encode()).digest()
