from __future__ import annotations

import dataclasses
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from configs.errors import RecipeError
from configs.schema import Data, Split
from tasks.data.records import Record, Turn
from tasks.data.splitting import assign_splits, normalised, prompt_group, split_of_group, within_limits


def data(**fields: object) -> Data:
    return Data.model_validate({"source": {"kind": "file", "path": "x.jsonl"}, **fields})


def record(number: int, *, group: str | None = None) -> Record:
    turns = (Turn("user", f"prompt {number}"),)
    return Record(f"id-{number}", "train", group or f"group-{number}", turns, "answer")


def kept_of(count: int, recipe: Data) -> list[Record]:
    return within_limits(assign_splits([record(number) for number in range(count)], recipe), recipe)


def splits_by_id(records: list[Record]) -> dict[str, str]:
    return {item.record_id: item.split for item in records}


@given(st.integers(1, 200), st.integers(1, 200), st.text(max_size=5))
def test_growth_never_moves_a_record_to_another_split(before: int, more: int, salt: str) -> None:
    recipe = data(split={"salt": salt})

    small = splits_by_id(assign_splits([record(number) for number in range(before)], recipe))
    large = splits_by_id(assign_splits([record(number) for number in range(before + more)], recipe))

    assert small.items() <= large.items()


def test_growth_under_limits_never_moves_a_record_to_another_split() -> None:
    recipe = data(max_train_records=40, max_validation_records=10, max_test_records=20)

    small = splits_by_id(kept_of(300, recipe))
    large = splits_by_id(kept_of(900, recipe))

    common = small.keys() & large.keys()
    assert common
    assert all(small[record_id] == large[record_id] for record_id in common)


def test_limits_keep_that_many_records_of_each_split_in_source_order() -> None:
    recipe = data(max_train_records=40, max_validation_records=10, max_test_records=20)

    kept = kept_of(900, recipe)

    assert Counter(item.split for item in kept) == {"train": 40, "validation": 10, "test": 20}
    numbers = [int(item.record_id.removeprefix("id-")) for item in kept]
    assert numbers == sorted(numbers)


def test_a_limit_keeps_a_sample_of_the_whole_data_and_not_its_beginning() -> None:
    recipe = data(max_train_records=50)

    kept = kept_of(1000, recipe)

    numbers = [int(item.record_id.removeprefix("id-")) for item in kept if item.split == "train"]
    assert 350 < sum(numbers) / len(numbers) < 650


def test_a_group_stands_on_one_side_only() -> None:
    records = [record(number, group=f"patient-{number % 100}") for number in range(1000)]

    split = assign_splits(records, data())

    sides: dict[str, set[str]] = {}
    for item in split:
        sides.setdefault(item.group, set()).add(item.split)
    assert all(len(side) == 1 for side in sides.values())
    assert len({item.split for item in split}) == 3


def test_shares_of_groups_follow_the_recipe() -> None:
    split = Split(validation_fraction=0.1, test_fraction=0.2)

    counts = Counter(split_of_group(f"group {number}", split=split) for number in range(20_000))

    assert counts["test"] / 20_000 == pytest.approx(0.2, abs=0.02)
    assert counts["validation"] / 20_000 == pytest.approx(0.1, abs=0.02)


def test_another_validation_fraction_moves_no_test_group() -> None:
    groups = [f"group {number}" for number in range(2000)]

    narrow, wide = (
        {g for g in groups if split_of_group(g, split=Split(validation_fraction=f)) == "test"} for f in (0.05, 0.4)
    )

    assert narrow == wide


def test_another_salt_is_another_test_set() -> None:
    groups = [f"group {number}" for number in range(2000)]

    first, second = ({g for g in groups if split_of_group(g, split=Split(salt=salt)) == "test"} for salt in ("", "b"))

    assert len(first & second) < len(first) / 2


def test_the_users_own_split_is_kept() -> None:
    given_split = [dataclasses.replace(record(number), split="test") for number in range(50)]

    kept = assign_splits(given_split, data(split={"column": "part"}))

    assert {item.split for item in kept} == {"test"}


def test_a_split_column_and_three_files_contradict_each_other() -> None:
    files = {"kind": "file", "train": "a.csv", "validation": "b.csv", "test": "c.csv"}
    recipe = data(source=files, split={"column": "part"})

    with pytest.raises(RecipeError, match=r"data\.split\.column and three files"):
        assign_splits([record(1)], recipe)


@pytest.mark.parametrize(
    "other",
    ["kinking of ureter", "  Kinking\tof\n ureter ", "ＫＩＮＫＩＮＧ of ureter", "Kinking of\u00a0ureter"],
)
def test_prompts_that_read_alike_are_one_group(other: str) -> None:
    assert prompt_group((Turn("user", "Kinking of ureter"),)) == prompt_group((Turn("user", other),))


@pytest.mark.parametrize(
    "other",
    [
        (Turn("user", "a"), Turn("user", "c")),
        (Turn("system", "a"), Turn("user", "b")),
        (Turn("user", "a b"),),
        (Turn("user", "a"), Turn("user", "b"), Turn("user", "")),
    ],
)
def test_other_turns_are_another_group(other: tuple[Turn, ...]) -> None:
    assert prompt_group((Turn("user", "a"), Turn("user", "b"))) != prompt_group(other)


@given(st.text())
def test_normalising_twice_changes_nothing_more(text: str) -> None:
    assert normalised(normalised(text)) == normalised(text)
