"""Figures to take along: the tables as LaTeX, Markdown, CSV and JSON, the measurements as Parquet and CSV.

Every table states its intervals and how many measurements each figure rests on; what was not computed says why.
"""

import gzip
import io
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from diffsensei.evaluation.results import MetricDefinition, MetricResult, Summary
from reports.paper import FID_CAVEAT
from reports.provenance import size_text
from reports.results_table import ABSENT, figure_text
from reports.versions import EvaluationSet

LATEX_SPECIAL = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "\N{MINUS SIGN}": "$-$",
    "\N{EN DASH}": "--",
}
MARKDOWN_SPECIAL = r"\`*_{}[]<>|#"


@dataclass(frozen=True)
class Download:
    """A file to take along. ``address`` is relative to the version's folder."""

    label: str
    address: str
    size_text: str


def write_downloads(found: EvaluationSet, score: Path, output: Path) -> list[Download]:
    """Write every format of one evaluation set into ``output/downloads``; ``score`` is its score stage's folder."""
    folder = output / "downloads"
    folder.mkdir(exist_ok=True)
    shutil.copyfile(score / "items.parquet", output / found.items)
    items = pd.read_parquet(score / "items.parquet")
    name = found.name
    # The time in the header would make equal reports differ.
    packed = gzip.compress(items.to_csv(index=False).encode(), compresslevel=6, mtime=0)
    (folder / f"items-{name}.csv.gz").write_bytes(packed)
    for suffix, write in TABLE_FORMATS.values():
        (folder / f"table-{name}.{suffix}").write_text(write(found.summary), encoding="utf-8")
    files = [("Measurements, Parquet", f"items-{name}.parquet"), ("Measurements, CSV (gzip)", f"items-{name}.csv.gz")]
    files += [(LABELS[kind], f"table-{name}.{suffix}") for kind, (suffix, _) in TABLE_FORMATS.items()]
    return [Download(label, f"downloads/{file}", size_text((folder / file).stat().st_size)) for label, file in files]


def latex_table(summary: Summary) -> str:
    """A ``tabular`` (booktabs) of the headline metrics."""
    metrics = _headline(summary)
    lines = [
        f"% {_percent(summary)} % intervals below the figures; {_provenance(summary)}",
        f"% FID in the paper: {FID_CAVEAT}.",
        r"\begin{tabular}{l" + "r" * len(metrics) + "}",
        r"\toprule",
        " & ".join(["Method", *(f"{_latex(m.label)} {_latex_arrow(m)}" for m in metrics)]) + r" \\",
        r"\midrule",
    ]
    for info in summary.methods:
        cells = [summary.result(info.name, metric.name) for metric in metrics]
        lines.append(" & ".join([_latex(info.label), *(_latex(_figure(cell)) for cell in cells)]) + r" \\")
        beneath = [f"{{\\scriptsize {_latex(_beneath(cell))}}}" for cell in cells]
        lines.append(" & ".join(["", *beneath]) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", ""])


def markdown_table(summary: Summary) -> str:
    """A GitHub-flavoured table of the headline metrics."""
    metrics = _headline(summary)
    head = ["Method", *(f"{_markdown(m.label)} {'↑' if m.higher_is_better else '↓'}" for m in metrics)]
    rows = [head, ["---", *("---:" for _ in metrics)]]
    for info in summary.methods:
        cells = [summary.result(info.name, metric.name) for metric in metrics]
        rows.append([_markdown(info.label), *(_markdown(f"{_figure(c)} {_beneath(c)}".strip()) for c in cells)])
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    return (
        f"{table}\n\nFigures [{_percent(summary)} % interval] (n). {_provenance(summary)}. Paper's FID: {FID_CAVEAT}.\n"
    )


def csv_table(summary: Summary) -> str:
    """One line for every method and metric, all groups of metrics."""
    columns = ("method", "metric", "value", "low", "high", "n_used", "n_total", "seed_sd", "state", "interval", "unit")
    digests = {metric.name: metric.digest for metric in summary.metrics}
    rows = [{column: getattr(row, column) for column in columns} for row in summary.results]
    frame = pd.DataFrame(rows, columns=list(columns))
    frame["definition_digest"] = [digests[row.metric] for row in summary.results]
    buffer = io.StringIO()
    frame.to_csv(buffer, index=False)
    return buffer.getvalue()


def json_table(summary: Summary) -> str:
    """The whole `Summary`."""
    return summary.model_dump_json(indent=1) + "\n"


TABLE_FORMATS: dict[str, tuple[str, Callable[[Summary], str]]] = {
    "latex": ("tex", latex_table),
    "markdown": ("md", markdown_table),
    "csv": ("csv", csv_table),
    "json": ("json", json_table),
}
"""Format -> suffix and writer."""
LABELS = {
    "latex": "Table, LaTeX",
    "markdown": "Table, Markdown",
    "csv": "All figures, CSV",
    "json": "Summary, JSON",
}


def _headline(summary: Summary) -> Sequence[MetricDefinition]:
    return [metric for metric in summary.metrics if metric.group == "headline"]


def _figure(cell: MetricResult | None) -> str:
    return ABSENT if cell is None or cell.value is None else figure_text(cell.value)


def _beneath(cell: MetricResult | None) -> str:
    """Interval and n, or why there is no figure."""
    if cell is None:
        return "not measured"
    if cell.value is None:
        return cell.state
    interval = "" if cell.low is None or cell.high is None else f"[{figure_text(cell.low)}, {figure_text(cell.high)}] "
    return f"{interval}({cell.n_used})"


def _percent(summary: Summary) -> str:
    return f"{100 * summary.confidence:g}"


def _provenance(summary: Summary) -> str:
    return f"{summary.num_panels} panels on {summary.num_pages} pages, benchmark {summary.benchmark_digest[:12]}"


def _latex_arrow(metric: MetricDefinition) -> str:
    return r"$\uparrow$" if metric.higher_is_better else r"$\downarrow$"


def _latex(text: str) -> str:
    return "".join(LATEX_SPECIAL.get(letter, letter) for letter in " ".join(text.split()))


def _markdown(text: str) -> str:
    return "".join(f"\\{letter}" if letter in MARKDOWN_SPECIAL else letter for letter in " ".join(text.split()))
