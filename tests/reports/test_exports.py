"""Tables to take along: the figures come back out of every format, and no text breaks its syntax."""

import io

import pandas as pd

from diffsensei.evaluation.results import Summary
from reports.exports import csv_table, json_table, latex_table, markdown_table, write_downloads
from reports.versions import EvaluationSet
from tests.reports.small_versions import measurements, summarise

HOSTILE = "50% & $x_1$ {a}|b\\c <i>"


def _hostile() -> Summary:
    summary = summarise(measurements())
    first, *rest = summary.methods
    return summary.replaced(methods=(first.replaced(label=HOSTILE).model_dump(), *(m.model_dump() for m in rest)))


def test_csv_and_json_hold_every_figure():
    summary = summarise(measurements())
    table = pd.read_csv(io.StringIO(csv_table(summary)))
    for row in summary.results:
        found = table[(table["method"] == row.method) & (table["metric"] == row.metric)].iloc[0]
        assert (found["value"], found["low"], found["n_used"]) == (row.value, row.low, row.n_used)
    assert Summary.model_validate_json(json_table(summary)) == summary


def test_latex_has_one_cell_a_metric_and_escapes_labels():
    lines = latex_table(_hostile()).splitlines()
    rows = [line for line in lines if line.endswith(r"\\")]
    assert {line.replace(r"\&", "").count("&") for line in rows} == {4}
    assert r"50\% \& \$x\_1\$ \{a\}|b\textbackslash{}c \textless{}i\textgreater{}" in "\n".join(lines)
    assert any("[0." in line and "(16)" in line for line in rows)


def test_markdown_has_one_cell_a_metric_and_escapes_labels():
    lines = [line for line in markdown_table(_hostile()).splitlines() if line.startswith("|")]
    assert {line.replace(r"\|", "").count("|") for line in lines} == {6}
    assert r"\<i\>" in "\n".join(lines)


def test_a_missing_figure_says_why():
    summary = summarise(measurements())
    first, *rest = summary.results
    blank = first.replaced(value=None, low=None, high=None, n_used=0, state="not computed: judge missing")
    summary = summary.replaced(results=(blank.model_dump(), *(row.model_dump() for row in rest)))
    for text in (latex_table(summary), markdown_table(summary), csv_table(summary)):
        assert "not computed: judge missing" in text


def test_equal_measurements_give_equal_files(tmp_path):
    found = EvaluationSet(
        name="main",
        label="x",
        summary=summarise(measurements()),
        score="score",
        benchmark="benchmark",
        drawn_by={},
    )
    measurements().to_parquet(tmp_path / "items.parquet")
    contents = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        files = write_downloads(found, tmp_path, tmp_path / name)
        contents.append([(tmp_path / name / file.address).read_bytes() for file in files])
    assert contents[0] == contents[1]
    unpacked = pd.read_csv(tmp_path / "a" / "downloads" / "items-main.csv.gz")
    assert list(unpacked["value"]) == list(measurements()["value"])
