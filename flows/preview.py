"""Rendered records with the trained tokens marked: a look before compute is spent. Not a flow, nothing is stored."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from configs.schema import Recipe
from configs.settings import Settings

if TYPE_CHECKING:
    from rich.console import Console


def preview(
    recipe: Recipe,
    settings: Settings,
    project_root: Path,
    *,
    count: int,
    record_ids: Sequence[str],
    console: Console,
) -> None:
    """Print records as the model will see them, each with its row in the source.

    Args:
        recipe: whose records.
        settings: where base models and fetched data are.
        project_root: what relative paths are read from.
        count: so many training records, of as many completions as there are.
        record_ids: these instead, of any split, where some are named.
        console: where to print.

    Raises:
        DataError: there is no record of such an id.
    """
    from rich.text import Text

    from tasks.data.hub_source import with_files_here
    from tasks.data.mapping import to_records
    from tasks.data.preview import preview as rendered_previews
    from tasks.data.preview import records_named, varied
    from tasks.data.sources import load_rows
    from tasks.data.splitting import assign_splits, within_limits
    from tasks.models.base_models import import_base
    from tasks.models.tokenizer import load_tokenizer
    from tasks.tracking.shown_text import printable

    data = with_files_here(recipe.data, settings)
    loaded = load_rows(data, project_root)
    found = to_records(loaded, data)
    places = {record.record_id: place for record, place in zip(found, loaded.places, strict=True)}
    if record_ids:
        chosen = records_named(record_ids, found)
    else:
        kept = within_limits(assign_splits(found, data), data)
        train = [record for record in kept if record.split == "train"]
        chosen = varied(train, count)
    base = import_base(recipe.base, bases=settings.bases, project_root=project_root, hub_allowed=settings.hub_allowed)
    tokenizer = load_tokenizer(settings.bases / base)
    for shown in rendered_previews(chosen, recipe.template, tokenizer, recipe.template.max_tokens):
        cut = ", cut to fit" if shown.truncated else ""
        tokens = f"{shown.prompt_tokens} prompt tokens, {shown.trained_tokens} trained{cut}"
        console.rule(f"{shown.record_id} ({places[shown.record_id]}): {tokens}")
        pieces = (_marked(printable(span.text)) if span.trained else printable(span.text) for span in shown.spans)
        console.print(Text.assemble(*pieces))
    console.print("\n⟦…⟧ is trained, the rest is only read.", style="dim")


def _marked(text: str) -> tuple[str, str]:
    """Marked by signs as well as by colour, which a pipe or a colour-blind reader would lose."""
    return f"⟦{text}⟧", "bold green"
