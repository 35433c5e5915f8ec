"""The rows of the paper's ablations, and the page that shows them."""

import json

import pandas as pd
import pytest

from diffsensei.config import load_preset, override
from diffsensei.evaluation.ablations import VARIANTS, read_ablations
from reports.ablations import ablation_view
from reports.paper import ABLATIONS
from tests.reports.conftest import build_rows
from tests.reports.test_site import EVIL, _read


def test_every_printed_row_has_its_variant_in_the_papers_order():
    for name, table in ABLATIONS.items():
        assert [variant.label for variant in VARIANTS if variant.table == name] == [row.label for row in table.rows]
    assert len({variant.key for variant in VARIANTS}) == len(VARIANTS) == 14


def test_table_3_adds_a_part_a_row():
    rows = [variant for variant in VARIANTS if variant.table == "table_3"]
    assert [len(row.parts) for row in rows] == [0, 1, 2, 3, 4]
    tiny = load_preset("tiny")
    settings = []
    for row in rows:
        model = override(tiny, row.overrides).model
        settings.append((model.layout.characters, model.layout.dialogs, model.resampler.magi, row.method))
    assert settings == [
        ("fourier", "fourier", False, "diffsensei_stage1"),
        ("mask", "fourier", False, "diffsensei_stage1"),
        ("mask", "mask", False, "diffsensei_stage1"),
        ("mask", "mask", True, "diffsensei_stage1"),
        ("mask", "mask", True, "diffsensei"),
    ]


@pytest.mark.parametrize("preset", ["tiny", "small", "paper"])
def test_each_table_has_one_row_that_is_the_preset_itself(preset):
    config = load_preset(preset)
    for name in ABLATIONS:
        same = [v for v in VARIANTS if v.table == name and override(config, v.overrides) == config]
        assert [v.baseline for v in same if v.method == "diffsensei"] == [True]


def test_rows_stand_beside_the_papers_and_against_the_full_method(make_run, tmp_path):
    found = read_ablations(build_rows(make_run(), tmp_path / "rows", failed="table_4a_row_1"))
    assert [metric.name for metric in found.metrics] == ["fid", "clip", "dino_i", "dino_c", "dialog_f1"]
    by_key = {row.variant.key: row for row in found.rows}
    assert by_key["table_3_row_1"].paper == (0.410, 0.230, 0.593, 0.610, 0.361)
    assert by_key["table_3_row_1"].results[4].method == "diffsensei_stage1"
    assert by_key["table_4b_row_6"].results[4].value == 0.836
    assert by_key["table_4a_row_1"].state == "failed: stage stage1: out of memory"
    assert {pair.baseline for pair in found.comparisons["table_4b"]} == {"table_4b_row_3"}
    assert len(found.comparisons["table_4b"]) == 5 * 4
    assert "table_4a_row_1" not in {pair.method for pair in found.comparisons["table_4a"]}
    table = ablation_view(found).tables[1]
    assert (table.num_failed, table.lines[0].cells, table.lines[2].baseline) == (1, (), False)


def test_without_the_full_method_nothing_is_compared(make_run, tmp_path):
    found = read_ablations(build_rows(make_run(), tmp_path / "rows", failed="table_3_row_5"))
    assert "table_3" not in found.comparisons
    assert {"table_4a", "table_4b"} == found.comparisons.keys()


def test_rows_of_different_benchmarks_are_refused(make_run, tmp_path):
    run = make_run()
    build_rows(run, tmp_path / "rows")
    path = tmp_path / "rows" / "table_4b_row_2" / "summary.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"benchmark_digest": "f" * 64}))
    from reports.ablations import build_ablations

    scores = {variant.key: tmp_path / "rows" / variant.key for variant in VARIANTS}
    with pytest.raises(ValueError, match="table_4b_row_2 cannot stand in one table: benchmarks differ"):
        build_ablations(
            config=run.arguments["config"], failures={}, workspace=tmp_path, output=tmp_path / "rows", **scores
        )


def test_the_page_shows_rows_failures_and_the_papers_figures(site):
    text = " ".join(_read(site)["ablations.html"].text.split())
    assert "failed: stage stage1: out of memory" in text
    assert "1 of 5 rows failed" in text
    assert "Table 4(b)" in text
    assert "0.731" in text
    assert "the full method" in text


def test_the_pages_own_flow_writes_it_alone(make_run, tmp_path):
    folder = build_rows(make_run(), tmp_path / "rows", failed="table_3_row_1", reason=EVIL)
    page = (folder / "ablations.html").read_text()
    assert page.count("<script>") == 1
    assert 'href="index.html"' not in page
    assert "&lt;script&gt;window.pwned" in page


def test_the_adapter_alone_is_measured_by_text_and_by_identity(make_run, tmp_path):
    """On the rows of Table 3 that differ in nothing else, in pairs, corrected together."""
    found = read_ablations(build_rows(make_run(), tmp_path / "rows"))
    by_metric = {measure.metric.name: measure for measure in found.adapter}
    assert {name: m.aspect for name, m in by_metric.items()} == {
        "clip": "text match",
        "dino_c": "identity",
        "dino_c_source": "identity",
    }
    dino = by_metric["dino_c"]
    assert (dino.without.value, dino.with_adapter.value) == (0.583, 0.607)
    items = {
        row: pd.read_parquet(tmp_path / "rows" / f"table_3_row_{row}" / "items.parquet").query("metric == 'dino_c'")
        for row in (4, 5)
    }
    off = items[4][items[4]["method"] == "diffsensei_stage1"].dropna(subset="value")
    on = items[5][items[5]["method"] == "diffsensei"].dropna(subset="value")
    both = on.merge(off, on=["panel_id", "character"])
    assert dino.comparison.difference == pytest.approx(float(both["value_x"].mean() - both["value_y"].mean()))
    pairs = [measure.comparison for measure in found.adapter if measure.comparison]
    least = min(pairs, key=lambda pair: pair.p_value)
    assert len(pairs) == 2  # no single measurements of DINO-C (source) in the made-up scores
    assert least.p_holm == pytest.approx(min(2 * least.p_value, 1.0))
    line = ablation_view(found).adapter[0]
    assert (line.aspect, line.metric.name) == ("text match", "clip")


def test_without_one_of_its_rows_nothing_is_said_of_the_adapter(make_run, tmp_path):
    assert read_ablations(build_rows(make_run(), tmp_path / "rows", failed="table_3_row_4")).adapter == ()


def test_the_page_shows_what_the_adapter_changes(make_run, tmp_path):
    folder = build_rows(make_run(), tmp_path / "rows")
    text = " ".join((folder / "ablations.html").read_text().split())
    assert "Figure 12: with and without the MLLM adapter" in text
    assert "text match" in text
