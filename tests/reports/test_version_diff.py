"""Two versions compared: hand-made shifts are found, and what may not be compared says why."""

from pathlib import Path

import pandas as pd
import pytest

from reports.version_diff import VersionDiff, compare_versions, panel_scores
from tests.reports.small_versions import measurements, write_small_version


def _diff(tmp_path: Path, **second: object) -> VersionDiff:
    a = write_small_version(tmp_path / "a")
    b = write_small_version(tmp_path / "b", **second)
    return compare_versions(a, tmp_path / "a", b, tmp_path / "b")


def _row(diff: VersionDiff, method: str, metric: str):
    return next(row for row in diff.figures if (row.method, row.metric) == (method, metric))


def test_an_even_shift_is_its_own_difference_and_the_untouched_method_is_the_same(tmp_path):
    diff = _diff(tmp_path, items=measurements({("diffsensei", "clip"): 0.1}))
    clip = _row(diff, "diffsensei", "clip")
    assert clip.difference == pytest.approx(0.1)
    assert (clip.low, clip.high) == (pytest.approx(0.1), pytest.approx(0.1))
    assert clip.num_pages == 8
    # Every page moved the same way: 2 of the 256 swaps are as far. Three metrics of one method are corrected together.
    assert clip.p_holm == pytest.approx(3 * 2 / 256)
    assert clip.verdict == "better"
    assert _row(diff, "diffsensei", "dino_c").verdict == "undecided"
    assert {row.verdict for row in diff.figures if row.method == "sdxl_t2i"} == {"same"}


def test_f1_is_aggregated_before_it_is_compared(tmp_path):
    diff = _diff(tmp_path, items=measurements(tp=3))
    # 16 panels: tp 2 or 3 each, one fp each, an fn on every second page.
    before, after = 2 * 32 / (2 * 32 + 16 + 8), 2 * 48 / (2 * 48 + 16 + 8)
    assert _row(diff, "diffsensei", "dialog_f1").difference == pytest.approx(after - before)


def test_figures_without_measurements_are_shown_but_not_tested(tmp_path):
    fid = _row(_diff(tmp_path, items=measurements({("diffsensei", "clip"): 0.1})), "diffsensei", "fid")
    assert (fid.verdict, fid.low, fid.difference) == ("untested", None, 0.0)


def test_another_judge_is_refused_with_its_reason(tmp_path):
    diff = _diff(tmp_path, judge="d" * 64, items=measurements({("diffsensei", "clip"): 0.1}))
    clip = _row(diff, "diffsensei", "clip")
    assert (clip.verdict, clip.difference) == ("not comparable", None)
    assert clip.reason == f"judge differs: {'a' * 12} and {'d' * 12}"
    assert diff.panels == ()


def test_other_panels_are_refused(tmp_path):
    diff = _diff(tmp_path, benchmark="e" * 64)
    assert {row.verdict for row in diff.figures} == {"not comparable"}
    assert "benchmarks differ" in diff.figures[0].reason


def test_a_set_that_one_version_lacks_is_named(tmp_path):
    diff = _diff(tmp_path, sets=("main", "Manga109"))
    assert diff.not_comparable == ("Manga109: only the second version has it",)
    assert {row.set_name for row in diff.figures} == {"main"}


def test_panels_come_by_how_far_they_moved(tmp_path):
    items = measurements()
    mine = (items["method"] == "diffsensei") & (items["metric"] == "clip")
    items.loc[mine & (items["panel_id"] == "p3-1"), "value"] += 0.2
    items.loc[mine & (items["panel_id"] == "p5-0"), "value"] -= 0.3
    panels = _diff(tmp_path, items=items).panels
    assert [(row.metric, row.panel_id, row.better) for row in panels] == [
        ("clip", "p5-0", False),
        ("clip", "p3-1", True),
    ]
    assert panels[0].after - panels[0].before == pytest.approx(-0.3)


def test_fields_results_and_packages_that_differ_are_listed(tmp_path):
    diff = _diff(tmp_path, overrides=("training.stage2.steps=7",), digests={"stage2": "9" * 64}, torch="2.1")
    assert [(row.path, row.after) for row in diff.settings] == [("training.stage2.steps", 7)]
    assert [(row.stage, row.after) for row in diff.stages] == [("stage2", "9" * 64)]
    assert [(row.name, row.before, row.after) for row in diff.packages] == [("torch", "2.0", "2.1")]
    assert set(diff.same_stages) == {"benchmark", "generate_diffsensei", "generate_sdxl_t2i", "score"}


def test_a_panels_score_is_the_mean_of_its_rows():
    items = measurements()
    both = items.loc[items["panel_id"] == "p0-0"].assign(value=1.0, seed=1)
    scores = panel_scores(pd.concat([items, both]), "diffsensei", "clip")
    assert scores["series0", "page0", "p0-0"] == pytest.approx((0.3 + 1.0) / 2)
