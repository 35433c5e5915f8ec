"""What a run shows in the Prefect UI: the plan, the metrics, and the way to the report."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from infra.plan import Plan
from tasks.planning import summary_line, table_rows


def markdown_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A GitHub-flavoured table; pipes in cells are escaped."""
    lines = [list(columns), ["---"] * len(columns), *[[cell.replace("|", "\\|") for cell in row] for row in rows]]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def plan_markdown(plan: Plan) -> str:
    """The plan as a heading and a table."""
    columns = ("stage", "action", "time", "why")
    rows = [[row[column] for column in columns] for row in table_rows(plan)]
    return f"## {summary_line(plan)}\n\n{markdown_table(columns, rows)}"


def metric_rows(summary: Mapping[str, Any]) -> list[dict[str, str]]:
    """One row per method, one column per headline metric, from the ``summary.json`` of the score stage."""
    columns = {metric["name"]: metric["label"] for metric in summary["metrics"] if metric["group"] == "headline"}
    rows: dict[str, dict[str, str]] = {}
    for cell in summary["results"]:
        row = rows.setdefault(cell["method"], {"method": cell["method"]})
        if cell["metric"] in columns:
            row[columns[cell["metric"]]] = _figure(cell)
    return list(rows.values())


def _figure(cell: Mapping[str, Any]) -> str:
    if cell["value"] is None:
        return str(cell["state"])
    interval = "" if cell["low"] is None else f" [{cell['low']:.3g}, {cell['high']:.3g}]"
    return f"{cell['value']:.3g}{interval} (n={cell['n_used']})"


async def show_plan(plan: Plan) -> None:
    """The plan as a markdown artifact of the current run."""
    from prefect.artifacts import acreate_markdown_artifact

    await acreate_markdown_artifact(plan_markdown(plan), key="plan", description="What this run does, and why")


async def show_metrics(score: Path, key: str = "metrics") -> None:
    """A benchmark's table as artifact ``key`` of the current run; ``score`` is the folder of a score stage's result."""
    from prefect.artifacts import acreate_table_artifact

    summary = json.loads((score / "summary.json").read_text())
    await acreate_table_artifact(metric_rows(summary), key=key, description="Value [interval] (n)")


async def show_report(page: Path) -> None:
    """A link to the report as an artifact of the current run."""
    from prefect.artifacts import acreate_link_artifact

    await acreate_link_artifact(page.as_uri(), link_text=str(page), key="report", description="The benchmark report")


async def show_lines(lines: Sequence[str], key: str, description: str) -> None:
    """Lines of text as a list in an artifact of the current run; none of it is read as markup."""
    from prefect.artifacts import acreate_markdown_artifact

    text = "\n".join(f"    {line}" for line in lines)
    await acreate_markdown_artifact(text, key=key, description=description)
