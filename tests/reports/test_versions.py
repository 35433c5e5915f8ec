"""Versions on disk, and the way from a figure back to what it rests on."""

import pytest

from reports.figure_origins import row_origins, row_stages
from reports.versions import FILE, read_items, read_version
from tests.reports.small_versions import write_small_version


def test_a_version_is_read_as_it_was_written(tmp_path):
    version = write_small_version(tmp_path)
    assert read_version(tmp_path) == version
    assert len(read_items(tmp_path, version.sets[0])) == 2 * 16 * 3


def test_no_version_and_another_format_are_refused_in_one_line(tmp_path):
    with pytest.raises(ValueError, match=r"version\.json is missing"):
        read_version(tmp_path)
    write_small_version(tmp_path / "a")
    path = tmp_path / "a" / FILE
    path.write_text(path.read_text().replace("report-version/1", "report-version/9"))
    with pytest.raises(ValueError, match="of another format"):
        read_version(tmp_path / "a")


def test_upstream_follows_digests_also_where_arguments_have_other_names(tmp_path):
    version = write_small_version(tmp_path)
    renamed = version.stages["generate_diffsensei"].model_copy(
        update={"inputs": {"frozen": version.stages["benchmark"].digest, "weights": version.stages["stage2"].digest}}
    )
    moved = version.replaced(stages={**version.stages, "generate_diffsensei": renamed})
    assert list(moved.upstream("generate_diffsensei")) == ["generate_diffsensei", "benchmark", "stage2"]


def test_a_row_rests_on_its_own_weights_only(tmp_path):
    version = write_small_version(tmp_path)
    assert row_stages(version, version.sets[0], "diffsensei") == ["score", "generate_diffsensei", "benchmark", "stage2"]
    assert row_stages(version, version.sets[0], "sdxl_t2i") == ["score", "generate_sdxl_t2i", "benchmark"]
    row = next(row for row in row_origins(version, ["stage2"]) if row.method == "diffsensei")
    assert [(step.name, step.kind) for step in row.steps] == [
        ("score", "measured"),
        ("generate_diffsensei", "drew"),
        ("benchmark", "benchmark"),
        ("stage2", "weights"),
    ]
    assert {figure.metric.name for figure in row.figures} == {"fid", "clip", "dino_c", "dialog_f1"}
