"""What `burnish init` writes is a recipe that `burnish preview` can work with, on a base model in a folder."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from configs.loading import load_recipe
from configs.schema import TinyBase
from configs.settings import settings_from
from flows.check import check
from flows.preview import preview
from tasks.data.starter_file import write_starter


def test_a_starter_recipe_can_be_previewed(tmp_path: Path) -> None:
    from tasks.models.tiny_base import build_tiny_base

    (tmp_path / "base").mkdir()
    build_tiny_base(TinyBase(hidden_size=16, layers=1, vocabulary=300), tmp_path / "base")
    data = tmp_path / "terms: #1.csv"
    rows = "".join(f"term {number},chapter {number % 3}\n" for number in range(90))
    data.write_text(f'"term: # ""a""\n",chapter\n{rows}')
    recipe = load_recipe(write_starter(data, output=None, base=tmp_path / "base", force=False).path)
    console = Console(record=True, width=200, quiet=False)

    check(recipe, tmp_path)
    settings = settings_from({"BURNISH_HOME": str(tmp_path / "home")}, project_root=tmp_path)
    preview(recipe, settings, tmp_path, count=1, record_ids=(), console=console)

    assert recipe.data.columns.prompt == 'term: # "a"\n'
    assert "⟦chapter" in console.export_text()
