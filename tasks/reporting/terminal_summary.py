"""The summary at the end of a run: options with intervals, the verdict, the cost, what to try next."""

from __future__ import annotations

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from tasks.reporting.summary import OptionRow, RunSummary
from tasks.tracking.shown_text import printable, shortened

_BAR_WIDTH = 32


def print_summary(summary: RunSummary, console: Console) -> None:
    """Print the whole summary."""
    console.print(render_summary(summary))


def render_summary(summary: RunSummary) -> RenderableType:
    """The summary as one rich renderable."""
    parts: list[RenderableType] = [_options_table(summary), Text()]
    parts.append(Text.assemble(("Verdict   ", "bold"), printable(str(summary.verdict.get("sentence", "none yet")))))
    parts.append(Text.assemble(("Rule      ", "bold"), printable(str(summary.verdict.get("rule", "")))))
    parts.append(Text.assemble(("Decision  ", "bold"), printable(_decision_line(summary))))
    for reason in summary.decision.get("reasons", []):
        parts.append(Text(f"          {printable(str(reason))}"))
    parts.append(Text.assemble(("Cost      ", "bold"), _cost_line(summary)))
    parts.append(Text.assemble(("Stages    ", "bold"), _stage_line(summary)))
    parts.append(Text.assemble(("Report    ", "bold"), summary.report))
    parts.append(Text.assemble(("\nTry next\n", "bold"), "\n".join(f"  {line}" for line in next_commands(summary))))
    return Group(*parts)


def next_commands(summary: RunSummary) -> list[str]:
    """Three commands worth trying after this run."""
    name, version = summary.model.get("name", summary.recipe), summary.model.get("version")
    aliases = summary.model.get("aliases", [])
    # a version without an alias is not offered for promotion: it was refused
    target = f"{name}@{aliases[0]}" if aliases else f"{name}/{version}"
    predict = f'burnish predict --model {target} "your text"' if version else f"burnish preview --recipe {name}"
    return [
        predict,
        f"burnish show {summary.recipe} --json",
        f"burnish history {summary.recipe}"
        if aliases
        else f"burnish finetune --recipe {summary.recipe} search.trials=20",
    ]


def _options_table(summary: RunSummary) -> Table:
    table = Table(title=f"{summary.recipe}: every option on the same test records", title_justify="left")
    table.add_column("option")
    table.add_column(summary.options[0].metric if summary.options else "metric", justify="right")
    table.add_column("interval", justify="right")
    table.add_column("n", justify="right")
    table.add_column("0" + " " * (_BAR_WIDTH - 2) + "1")
    for row in sorted(summary.options, key=lambda option: option.value, reverse=True):
        style = "bold" if row.kind in ("candidate", "champion") else ""
        cells = (f"{row.value:.3f}", f"{row.low:.3f} – {row.high:.3f}", str(row.n), _bar(row))
        table.add_row(Text(shortened(row.name, 40)), *cells, style=style)
    return table


def _bar(row: OptionRow) -> str:
    """The interval on a line from 0 to 1, the value as a dot."""
    cells = [" "] * _BAR_WIDTH
    first, last, middle = (min(int(value * _BAR_WIDTH), _BAR_WIDTH - 1) for value in (row.low, row.high, row.value))
    for position in range(max(first, 0), last + 1):
        cells[position] = "─"
    cells[max(middle, 0)] = "●"
    return "".join(cells)


def _decision_line(summary: RunSummary) -> str:
    version = f"{summary.model.get('name')}/{summary.model.get('version')}"
    if summary.decision.get("promote"):
        aliases = ", ".join(summary.model.get("aliases", [])) or "no alias now"
        return f"{version} cleared every gate: {aliases}"
    return f"{version} gets no alias"


def _cost_line(summary: RunSummary) -> str:
    cost = summary.cost
    currency = cost.get("currency", "")
    saved = cost.get("saved_by_pruning", 0.0)
    text = f"training {cost.get('training', 0.0):.2f} {currency}"
    text += f" (pruning saved {saved:.2f})" if saved else ""
    break_even = cost.get("break_even_requests_per_month")
    text += f"; candidate {cost.get('per_1000_requests', 0.0):.3f} {currency} per 1,000 requests, hosting included"
    text += f"; breaks even at {break_even:,.0f} requests a month" if break_even is not None else ""
    return text


def _stage_line(summary: RunSummary) -> str:
    return " · ".join(
        f"{stage.name} {'reused' if stage.reused else f'{stage.seconds:.0f} s'}" for stage in summary.stages
    )
