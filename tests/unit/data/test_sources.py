from __future__ import annotations

import os
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from configs.errors import DataError, RecipeError
from configs.schema import Data
from tasks.data import sources
from tasks.data.sources import installed_sources, load_rows, source_digest

MODULE = '''
"""A source of another package."""
DISTRIBUTIONS = ("pydantic", "not-there")

def rows(count: int = 2, *, word: str = "x"):
    for number in range(count):
        yield {"prompt": f"{word} {number}", "completion": "c"}

def explode():
    raise KeyError("boom")

def pairs():
    return [("prompt", "completion")]

NUMBER = 3
'''


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Entry points as an installed package would bring them."""
    module = tmp_path / "elsewhere_source.py"
    module.write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    values = {name: f"elsewhere_source:{name}" for name in ("rows", "explode", "pairs", "absent")}
    values |= {"number": "elsewhere_source:NUMBER", "broken": "no_such_module_here:rows"}
    group = metadata.EntryPoints(
        metadata.EntryPoint(name=name, value=value, group=sources.ENTRY_POINT_GROUP) for name, value in values.items()
    )
    monkeypatch.setattr(metadata, "entry_points", group.select)
    yield module
    monkeypatch.undo()
    __import__("sys").modules.pop("elsewhere_source", None)


def recipe(name: str, **options: Any) -> Data:
    return Data.model_validate({"source": {"kind": "entry_point", "name": name, "options": options}})


def file_recipe(**source: str) -> Data:
    return Data.model_validate({"source": {"kind": "file", **source}})


@pytest.mark.usefixtures("installed")
def test_an_entry_point_yields_rows_with_its_options(tmp_path: Path) -> None:
    loaded = load_rows(recipe("rows", count=3, word="y"), tmp_path)

    assert [row["prompt"] for row in loaded.rows] == ["y 0", "y 1", "y 2"]
    assert loaded.columns == ("prompt", "completion")
    assert loaded.splits is None


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize(
    ("name", "options", "error", "expected"),
    [
        ("nowhere", {}, RecipeError, "not an installed entry point.*installed: absent, broken, explode"),
        ("os:system", {}, RecipeError, "not an installed entry point"),
        ("rows", {"size": 3}, RecipeError, r"data\.source\.options doesn't fit rows\(count.*'size'"),
        ("explode", {}, DataError, "explode failed with KeyError: 'boom'"),
        ("pairs", {}, DataError, "must yield dicts with text keys; row 1"),
        ("absent", {}, DataError, r"absent \(elsewhere_source:absent\) can't be imported"),
        ("broken", {}, DataError, "can't be imported.*no_such_module_here"),
        ("number", {}, DataError, "is not a function"),
    ],
)
def test_an_entry_point_that_gives_no_rows_is_told(
    tmp_path: Path, name: str, options: dict[str, Any], error: type[Exception], expected: str
) -> None:
    with pytest.raises(error, match=expected):
        load_rows(recipe(name, **options), tmp_path)


@pytest.mark.usefixtures("installed")
def test_the_digest_of_an_entry_point_follows_its_options(tmp_path: Path) -> None:
    first = source_digest(recipe("rows", count=3), tmp_path)

    assert first == source_digest(recipe("rows", count=3), tmp_path)
    assert first != source_digest(recipe("rows", count=4), tmp_path)


def test_the_digest_of_an_entry_point_follows_its_source(installed: Path, tmp_path: Path) -> None:
    before = source_digest(recipe("rows"), tmp_path)

    installed.write_text(MODULE.replace('"c"', '"d"'))

    assert source_digest(recipe("rows"), tmp_path) != before


@pytest.mark.usefixtures("installed")
def test_the_digest_of_an_entry_point_follows_the_packages_that_it_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = source_digest(recipe("rows"), tmp_path)

    monkeypatch.setattr(metadata, "version", lambda name: "99")

    assert source_digest(recipe("rows"), tmp_path) != before


def test_the_digest_of_an_entry_point_follows_the_package_that_brings_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = source_digest(recipe("smoke_records"), tmp_path)

    # a library may have put the backport's finder first, whose distributions are of another class
    monkeypatch.setattr(type(metadata.distribution("burnish")), "version", "99")

    assert source_digest(recipe("smoke_records"), tmp_path) != before


def test_the_digest_of_a_file_follows_its_bytes_and_not_its_time(tmp_path: Path) -> None:
    file = tmp_path / "x.jsonl"
    file.write_text("{}")
    before = source_digest(file_recipe(path="x.jsonl"), tmp_path)

    os.utime(file, (1, 1))
    touched = source_digest(file_recipe(path="x.jsonl"), tmp_path)
    file.write_text("{} ")

    assert touched == before
    assert source_digest(file_recipe(path="x.jsonl"), tmp_path) != before


def test_the_digest_of_a_file_is_the_same_from_another_root(tmp_path: Path) -> None:
    for root in ("a", "b"):
        (tmp_path / root).mkdir()
        (tmp_path / root / "x.jsonl").write_text("{}")

    digests = {source_digest(file_recipe(path="x.jsonl"), tmp_path / root) for root in ("a", "b")}

    assert len(digests) == 1


def test_the_digest_of_three_files_tells_which_is_which(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        (tmp_path / f"{name}.csv").write_text(name)

    straight = source_digest(file_recipe(train="a.csv", validation="b.csv", test="c.csv"), tmp_path)
    crossed = source_digest(file_recipe(train="a.csv", validation="c.csv", test="b.csv"), tmp_path)

    assert straight != crossed


def test_the_digest_of_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"data\.source\.path: there is no file .*x\.jsonl"):
        source_digest(file_recipe(path="x.jsonl"), tmp_path)


def test_burnish_brings_its_own_sources() -> None:
    assert {"icd10_inclusion_terms", "smoke_records"} <= set(installed_sources())


def test_one_name_may_stand_for_many_files_in_the_order_of_their_names(tmp_path: Path) -> None:
    data = file_recipe(path="parts/[a]-*.jsonl")
    (tmp_path / "parts").mkdir()
    for name in ("[a]-2.jsonl", "[a]-1.jsonl", "a-3.jsonl", "[a]-1.csv"):
        (tmp_path / "parts" / name).write_text(f'{{"prompt": "{name}"}}\n')

    before, loaded = source_digest(data, tmp_path), load_rows(data, tmp_path)
    assert [row["prompt"] for row in loaded.rows] == ["[a]-1.jsonl", "[a]-2.jsonl"]
    assert loaded.places == ("[a]-1.jsonl, record 1", "[a]-2.jsonl, record 1")

    (tmp_path / "parts" / "[a]-9.jsonl").write_text('{"prompt": "new"}\n')
    assert source_digest(data, tmp_path) != before
    with pytest.raises(DataError, match=r"data\.source\.path: there is no file .*none-\*\.csv"):
        load_rows(file_recipe(path="none-*.csv"), tmp_path)
