import pandas as pd
import pytest

from diffsensei.config import load_preset
from diffsensei.evaluation.results import read_summary
from reports.series_figures import series_address, series_figures
from tests.reports.result_sets import write_result_set


@pytest.fixture(scope="module")
def scored(tmp_path_factory):
    folders = write_result_set(tmp_path_factory.mktemp("scored"), 60, 2, pictures=False)
    return read_summary(folders["score"]), pd.read_parquet(folders["score"] / "items.parquet")


def test_figures_are_those_of_the_series_own_items(scored):
    summary, items = scored
    found = series_figures(summary, items, load_preset("tiny").evaluation)
    assert sorted(found) == ["series-000", "series-001", "series-002"]
    table = found["series-001"]
    names = [metric.name for metric in table.metrics]
    cells = dict(zip(names, next(c for i, c in table.rows if i.name == "diffsensei"), strict=True))
    mine = items[(items["series"] == "series-001") & (items["method"] == "diffsensei")]
    clip = mine[mine["metric"] == "clip"]["value"]
    assert cells["clip"].value == pytest.approx(clip.mean())
    assert cells["clip"].n == len(clip) == 18
    assert cells["clip"].low <= cells["clip"].value <= cells["clip"].high
    counts = mine[mine["metric"] == "dialog_f1"][["tp", "fp", "fn"]].sum()
    expected = 2 * counts["tp"] / (2 * counts["tp"] + counts["fp"] + counts["fn"])
    assert cells["dialog_f1"].value == pytest.approx(float(expected))
    alone = int(mine[mine["metric"] == "copy_paste"]["skipped"].notna().sum())
    assert cells["copy_paste"].skipped == {"no other picture of the character on its page": alone}
    assert "fid" not in names


def test_a_series_in_which_nothing_was_measured_has_no_figure(scored):
    summary, items = scored
    gone = items["series"].eq("series-000") & items["metric"].eq("clip")
    items = items.assign(value=items["value"].mask(gone), skipped=items["skipped"].mask(gone, "not generated"))
    table = series_figures(summary, items, load_preset("tiny").evaluation)["series-000"]
    place = [metric.name for metric in table.metrics].index("clip")
    figure = table.rows[0][1][place]
    assert (figure.value, figure.low, figure.high) == (None, None, None)
    assert figure.skipped == {"not generated": 18}


def test_addresses_are_safe_and_differ():
    names = ["00-yotose", "Night Harbour", "night harbour", "../../etc/passwd", "<script>", "夜の港", "夜", "x" * 300]
    names.append("")
    addresses = [series_address(name) for name in names]
    assert addresses[0] == "series/00-yotose.html"
    assert len(set(addresses)) == len(names)
    for address in addresses:
        assert address.startswith("series/")
        assert set(address.removeprefix("series/")) <= set("abcdefghijklmnopqrstuvwxyz0123456789-.")
        assert len(address) < 80
