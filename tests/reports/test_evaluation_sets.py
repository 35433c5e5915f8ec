"""Two evaluation sets in one report: each with its own rows of the paper, and neither's panels mixed into the other."""

import json

import pandas as pd
import pytest

from diffsensei.config import load_preset
from diffsensei.evaluation.breakdowns import break_down
from diffsensei.evaluation.item_metrics import item_metrics
from reports.breakdowns import FILE, read_breakdowns
from reports.evaluation_sets import measured_sets
from reports.paper import MANGA109
from reports.results_view import set_view
from reports.site import build_report
from reports.versions import read_version
from tests.reports.conftest import RunFolders, add_second_set
from tests.reports.test_site import _read


@pytest.fixture
def both(make_run, tmp_path) -> RunFolders:
    """A run with a second set."""
    return add_second_set(make_run(), tmp_path)


def _sets(run: RunFolders):
    arguments = dict(run.arguments)
    names = ("config", "score", "benchmark")
    others = {name: path for name, path in arguments.items() if name not in (*names, "workspace", "output")}
    return measured_sets(*(arguments[name] for name in names), others)


def test_each_set_knows_its_own_drawings(both):
    main, second = _sets(both)
    assert (main.found.name, main.found.label) == ("main", "Synthetic world")
    assert (second.found.name, second.found.label, second.found.score) == ("evaluation", "Manga109", "evaluation_score")
    assert second.found.drawn_by["diffsensei"] == "evaluation_generate_diffsensei"
    assert main.found.drawn_by["diffsensei"] == "generate_diffsensei"


def test_scores_without_their_benchmark_are_refused(both):
    both.arguments.pop("evaluation_benchmark")
    with pytest.raises(ValueError, match=r"without data\.evaluation_source or evaluation_benchmark"):
        _sets(both)


def test_the_papers_manga109_rows_stand_beside_the_second_set(both):
    build_report(**both.arguments)
    output = both.arguments["output"]
    version = read_version(output)
    assert [found.name for found in version.sets] == ["main", "evaluation"]
    main, second = (set_view(each, version, ()) for each in _sets(both))
    row = next(row for row in second.table.rows if row.info.name == "diffsensei")
    assert row.paper_reference == "Table 2(b)"
    assert [cell.text for cell in row.paper] == [f"{value:.3f}" for value in MANGA109.rows[5].values]
    assert next(row for row in main.table.rows if row.info.name == "diffsensei").paper_reference == "Table 2(a)"
    ids = [attributes["id"] for _, attributes in _read(output)["index.html"].tags if attributes.get("id")]
    assert len(ids) == len(set(ids))
    assert {"main", "evaluation", "table", "evaluation-table"} <= set(ids)
    assert (output / "downloads" / "items-evaluation.parquet").is_file()


def test_differences_to_the_paper_are_for_real_pages_and_never_of_fid(both):
    build_report(**both.arguments)
    version = read_version(both.arguments["output"])
    main, second = (set_view(each, version, ()) for each in _sets(both))
    assert not any(cell and cell.difference for row in main.table.rows for cell in row.paper)
    row = next(row for row in second.table.rows if row.info.name == "diffsensei")
    cells = dict(zip([metric.name for metric in second.table.paper_metrics], row.paper, strict=True))
    assert cells["fid"].difference == ""
    # Ours 0.251 with 0.240 to 0.262 against 0.237; 0.607 with 0.572 to 0.642 against 0.600.
    assert (cells["clip"].difference, cells["clip"].verdict) == ("+0.014", "better")
    assert (cells["dino_c"].difference, cells["dino_c"].verdict) == ("+0.007", "undecided")


def test_breakdowns_are_read_as_the_score_stage_writes_them(both):
    main = _sets(both)[0]
    assert read_breakdowns(main.score, main.found.summary) is None
    from diffsensei.evaluation.benchmark import read_benchmark

    items = pd.read_parquet(main.score / "items.parquet")
    panels = read_benchmark(main.benchmark)
    metrics = [m for m in item_metrics(load_preset("tiny").evaluation) if m.definition.name in ("clip", "dialog_f1")]
    break_down(items, panels, metrics, "sdxl_t2i", min_shown=3).to_parquet(main.score / FILE)
    found = read_breakdowns(main.score, main.found.summary)
    assert found is not None
    assert found.baseline == "SDXL text-to-image"
    series = next(factor for factor in found.factors if factor.name == "series")
    clip = next(table for table in series.tables if table.metric.name == "clip")
    assert [level for level, _ in clip.rows] == ["night-harbour", "paper-moon"]
    place = [info.name for info in found.methods].index("diffsensei")
    part = clip.rows[0][1][place]
    mine = items[(items["method"] == "diffsensei") & (items["metric"] == "clip") & (items["series"] == "night-harbour")]
    assert (part.value, part.n, part.few) == (f"{mine['value'].mean():.3f}", "n = 4", True)
    assert part.delta.startswith(("+", "\N{MINUS SIGN}"))
    size = next(factor for factor in found.factors if factor.name == "size")
    order = [level for level, _ in size.tables[0].rows]
    assert order == [level for level in ("small", "medium", "large") if level in order]


def test_costs_count_the_training_that_a_method_rests_on(make_run):
    from reports.costs import read_costs

    run = make_run()
    path = run.arguments["provenance"] / "provenance.json"
    record = json.loads(path.read_text())
    stages = record["stages"]
    stages["generate_diffsensei"]["inputs"] = {name: stages[name]["digest"] for name in ("stage1", "stage2")}
    stages["stage1"]["inputs"] = {"pretrain": stages["pretrain"]["digest"]}
    for name, wall in {"pretrain": 60.0, "stage1": 120.0, "stage2": 30.0, "generate_diffsensei": 48.5}.items():
        stages[name]["job"]["wall_s"] = wall
        stages[name]["env"]["gpus"] = ["A"] * 2
    path.write_text(json.dumps(record))
    build_report(**run.arguments)
    version = read_version(run.arguments["output"])
    costs = read_costs(version, ["pretrain", "stage1", "stage2"])
    mine = next(cost for cost in costs.methods if cost.label == "DiffSensei")
    assert (mine.trained, mine.drew) == ("3 min 30 s", "48 s")
    assert mine.panels_per_s == "2"  # 97 panels in 48.5 s
    assert costs.gpu_hours == "0.1"  # 2 x 258.5 s
    assert next(cost for cost in costs.methods if cost.label == "SDXL text-to-image").trained == "not trained"
