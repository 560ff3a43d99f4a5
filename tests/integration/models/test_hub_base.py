"""A base model on a hub: fetched once, whole and harmless, and only where that is allowed."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from configs.errors import BaseModelError, HubError
from configs.schema import FolderBase, HubBase
from tasks.models.base_models import import_base, verify_base
from tasks.storage.durable import MANIFEST
from tests.fake_hub import COMMIT, FakeHub, fake_hub

SOURCE = HubBase(id="acme/tiny")


@pytest.fixture
def hub(tiny_base: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    """A hub with a model, beside whose files lie others, and one that wants to run code."""
    files = {path.name: path.read_bytes() for path in tiny_base.iterdir() if path.name != MANIFEST}
    others = {"pytorch_model.bin": b"pickle", "modeling.py": b"raise SystemExit", "original/model.safetensors": b"x"}
    evil = {**files, "config.json": files["config.json"].replace(b"{", b'{"auto_map": {"AutoModel": "m.M"},', 1)}
    with fake_hub({"acme/tiny": {**files, **others}, "acme/evil": evil}) as running:
        monkeypatch.setenv("HF_ENDPOINT", running.url)
        monkeypatch.setenv("HF_HOME", str(tiny_base.parent / "cache"))
        yield running


def fetch(source: HubBase, home: Path, *, hub_allowed: bool = True) -> str:
    return import_base(source, bases=home / "bases", project_root=home, hub_allowed=hub_allowed)


def test_a_fetched_base_is_the_one_that_a_folder_of_its_files_would_be(
    hub: FakeHub, tiny_base: Path, tmp_path: Path
) -> None:
    digest = fetch(SOURCE, tmp_path)

    folder = shutil.copytree(tiny_base, tmp_path / "model", ignore=shutil.ignore_patterns(MANIFEST))
    assert digest == import_base(FolderBase(path=str(folder)), bases=tmp_path / "other", project_root=tmp_path)
    verify_base(tmp_path / "bases", digest)
    assert set(hub.asked) == {path.name for path in folder.iterdir()}


def test_what_was_fetched_asks_neither_the_network_nor_for_leave(hub: FakeHub, tmp_path: Path) -> None:
    digest = fetch(SOURCE, tmp_path)
    before = hub.requests

    assert fetch(SOURCE, tmp_path, hub_allowed=False) == digest
    assert hub.requests == before > 0


def test_without_leave_nothing_is_asked(hub: FakeHub, tmp_path: Path) -> None:
    with pytest.raises(BaseModelError, match="BURNISH_HUB=1"):
        fetch(SOURCE, tmp_path, hub_allowed=False)

    assert hub.requests == 0


def test_a_broken_connection_is_one_message_and_the_next_attempt_goes_on(hub: FakeHub, tmp_path: Path) -> None:
    hub.cut_after = 40_000
    with pytest.raises(HubError, match="the same command goes on"):
        fetch(SOURCE, tmp_path)
    hub.cut_after = None
    hub.asked.clear()

    digest = fetch(SOURCE, tmp_path)

    verify_base(tmp_path / "bases", digest)
    asked = set(hub.asked)
    assert "model.safetensors" in asked
    assert "config.json" not in asked  # it had arrived
    assert list((tmp_path / "bases" / "hub").iterdir()) == []


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (HubBase(id="acme/nothing"), "no such model"),
        (HubBase(id="acme/tiny", revision="v9"), "no revision v9"),
        (HubBase(id="acme/evil"), "auto_map"),
        (HubBase(id="acme/tiny", revision=COMMIT, digest="0" * 64), r"base\.digest pins 000"),
    ],
)
def test_a_base_that_can_not_be_had_is_one_clear_error(
    hub: FakeHub, tmp_path: Path, source: HubBase, expected: str
) -> None:
    with pytest.raises((BaseModelError, HubError), match=expected) as raised:
        fetch(source, tmp_path)

    assert "Traceback" not in str(raised.value)


def test_terms_that_nobody_accepted_are_told(hub: FakeHub, tmp_path: Path) -> None:
    hub.gated.add("acme/tiny")

    with pytest.raises(HubError, match="terms must be accepted"):
        fetch(SOURCE, tmp_path)


def test_a_hub_that_is_not_there_is_told(hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")

    with pytest.raises(HubError, match="check the network"):
        fetch(SOURCE, tmp_path)
