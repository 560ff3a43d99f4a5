"""The summary at the end of a run: options with intervals, the verdict, the cost, what to try next."""

from __future__ import annotations

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from tasks.reporting.next_steps import next_commands, next_step
from tasks.reporting.risk import risk
from tasks.reporting.summary import OptionRow, RunSummary
from tasks.search.space import shown_parameters
from tasks.tracking.shown_text import printable, shortened

_LONGEST_NAME = 26
_GAP = 2
_SHORTEST_BAR, _LONGEST_BAR = 10, 32


def print_summary(summary: RunSummary, console: Console) -> None:
    """Print the whole summary; commands and paths stay whole lines, to be copied."""
    console.print(render_summary(summary, console.width), crop=False)


def render_summary(summary: RunSummary, width: int) -> RenderableType:
    """The summary as one rich renderable for a terminal of `width` columns."""
    facts = {label: text for label, text in _facts(summary).items() if text}
    column = max(map(len, [*facts, "Report"])) + _GAP
    return Group(
        _heading(summary),
        _options_table(summary, width),
        Text(),
        _grid(facts),
        _whole_lines("Report".ljust(column), summary.report),
        _whole_lines("\nTry next\n", "\n".join(f"  {line}" for line in next_commands(summary))),
    )


def _heading(summary: RunSummary) -> Text:
    first = summary.options[0] if summary.options else None
    grouped = f" of {first.groups} groups" if first and 0 < first.groups < first.n else ""
    return Text(f"{summary.recipe}: every option on the same test records{grouped}", style="italic")


def _facts(summary: RunSummary) -> dict[str, str]:
    """What was found, by the word that stands before it; empty where there is nothing to say."""
    return {
        "Verdict": str(summary.verdict.get("sentence", "none yet")),
        "Risk": risk(summary),
        "Next step": next_step(summary),
        "Beware": "; ".join(summary.warnings),
        "Looks worse": str(summary.decision.get("looks_worse", "")),
        "Decision": "\n".join([_decision_line(summary), *map(str, summary.decision.get("reasons", []))]),
        "Trained": shown_parameters(summary.chosen),
        "Differs": ", ".join(summary.overrides),
        "Cost": _cost_line(summary),
        "Stages": _stage_line(summary),
    }


def _grid(facts: dict[str, str]) -> Table:
    """One fact a row; a long one goes on under itself."""
    table = Table.grid(padding=(0, _GAP))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for label, text in facts.items():
        table.add_row(label, Text(printable(text)))
    return table


def _whole_lines(label: str, text: str) -> Text:
    return Text.assemble((label, "bold"), text, no_wrap=True, overflow="ignore")


def _options_table(summary: RunSummary, width: int) -> Table:
    rows = sorted(summary.options, key=lambda option: option.value, reverse=True)
    cells = [
        (shortened(row.name, _LONGEST_NAME), f"{row.value:.3f}", f"{row.low:.3f} – {row.high:.3f}", str(row.n))
        for row in rows
    ]
    heads = ("option", summary.options[0].metric if summary.options else "metric", "interval", "n")
    widths = [max(len(text) for text in column) for column in zip(heads, *cells, strict=True)]
    bar = min(max(width - sum(widths) - _GAP * len(widths), _SHORTEST_BAR), _LONGEST_BAR)
    table = Table(box=None, padding=(0, _GAP, 0, 0), pad_edge=False)
    for head in heads:
        table.add_column(head, justify="left" if head == "option" else "right", no_wrap=True)
    table.add_column("0" + " " * (bar - 2) + "1", no_wrap=True)
    for row, texts in zip(rows, cells, strict=True):
        style = "bold" if row.kind in ("candidate", "champion") else ""
        table.add_row(*map(Text, texts), _bar(row, bar), style=style)
    return table


def _bar(row: OptionRow, width: int) -> str:
    """The interval on a line from 0 to 1, the value as a dot."""
    cells = [" "] * width
    first, last, middle = (min(int(value * width), width - 1) for value in (row.low, row.high, row.value))
    for position in range(max(first, 0), last + 1):
        cells[position] = "─"
    cells[max(middle, 0)] = "●"
    return "".join(cells)


def _decision_line(summary: RunSummary) -> str:
    version = f"{summary.model.get('name')}/{summary.model.get('version')}"
    aliases = ", ".join(summary.model.get("aliases", []))
    if summary.decision.get("promote"):
        return f"{version} cleared every gate: {aliases or 'no alias now'}"
    return f"{version} was refused" + (f", but was made {aliases} by hand since" if aliases else " and gets no alias")


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
