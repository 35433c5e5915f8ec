"""The galleries of a second evaluation set: its own panels and data, the same pictures' folder, the same policy."""

from pathlib import Path

import pandas as pd
import pytest

from reports.diff_page import diff_page
from reports.site import build_report
from reports.status import Staleness
from reports.version_diff import compare_versions
from reports.version_index import Listed
from reports.versions import read_version
from tests.reports.conftest import add_second_set
from tests.reports.test_gallery import read_data, records
from tests.reports.test_site import _Page


def test_the_second_set_has_its_own_panels_and_series(two_sets):
    found = records(two_sets / "evaluation")
    assert sorted(found) == [f"panel{number}" for number in range(6)]
    assert {one["series"] for one in found.values()} == {"ink-well", "tea-house"}
    assert {one["series"] for one in records(two_sets).values()} == {"night-harbour", "paper-moon"}
    assert (two_sets / "evaluation" / "series" / "tea-house.html").is_file()
    assert not (two_sets / "series" / "tea-house.html").exists()


def test_panels_of_one_name_show_the_pictures_of_their_set(two_sets):
    first, second = (records(folder)["panel2"] for folder in (two_sets, two_sets / "evaluation"))
    pictures = [[drawn[0]["picture"][0] for drawn in record["drawn"]] for record in (first, second)]
    assert not set(pictures[0]) & set(pictures[1])
    assert all((two_sets / "assets" / f"{name}.webp").is_file() for names in pictures for name in names)


def test_data_of_the_main_set_are_the_same_beside_another(site, two_sets):
    for path in (site / "data").rglob("*.js"):
        if path.stem not in ("status", "report"):  # whose configuration is another
            assert path.read_bytes() == (two_sets / path.relative_to(site)).read_bytes(), path


def test_the_first_page_leads_to_the_records_of_both(two_sets):
    tags = _Page((two_sets / "index.html").read_text()).tags
    links = {attributes.get("href") or "" for tag, attributes in tags if tag == "a"}
    assert {"panels.html", "evaluation/panels.html", "evaluation/series.html", "evaluation/extremes.html"} <= links
    assert any(link.startswith("panel.html#") for link in links)
    assert any(link.startswith("evaluation/panel.html#") for link in links)
    pictures = [attributes["src"] for tag, attributes in tags if tag == "img"]
    assert pictures
    assert all((two_sets / address).is_file() for address in pictures)


def test_the_version_knows_what_was_drawn_in_both(two_sets):
    version = read_version(two_sets)
    main, second = version.sets
    addresses = [version.picture(found, "panel2", "diffsensei") for found in (main, second)]
    assert len(set(addresses)) == 2
    assert all((two_sets / address).is_file() for address in addresses)
    assert version.picture(second, "panel7", "diffsensei") == ""


@pytest.mark.parametrize(("policy", "kinds"), [("none", set()), ("thumb", {"pixels"})])
def test_the_policy_on_pictures_is_that_of_the_first(make_run, tmp_path, policy, kinds):
    arguments = add_second_set(make_run(), tmp_path).arguments
    config = arguments["config"]
    config = config.replaced(report=config.report.replaced(images=policy))
    build_report(**arguments | {"config": config})
    output: Path = arguments["output"]
    shown = [one[0]["picture"] for record in records(output / "evaluation").values() for one in record["drawn"]]
    assert {picture[3] for picture in shown if picture} == kinds
    assert bool(list(output.rglob("*.webp"))) is bool(kinds)
    assert read_data(output / "evaluation", "report")["images"] == policy
    assert ("Without pictures." in (output / "evaluation" / "panels.html").read_text()) is (policy == "none")


def test_a_comparison_shows_the_panels_of_both_sets(make_run, tmp_path):
    """Two versions in a site: what changed most in the second set leads to its own records and pictures."""
    run = add_second_set(make_run(), tmp_path)
    site, listed = tmp_path / "site", []
    for name in ("a", "b"):
        output = site / "v" / name
        output.mkdir(parents=True)
        build_report(**run.arguments | {"output": output})
        listed.append(Listed(name, read_version(output), "2026-01-01T00:00:00", Staleness("fresh", "", {}), ()))
        _worsen(run.arguments["evaluation_score"] / "items.parquet")
    diff = compare_versions(listed[0].version, site / "v" / "a", listed[1].version, site / "v" / "b")
    assert {row.set_name for row in diff.panels} == {"evaluation"}
    page = _Page(diff_page(listed[0], listed[1], diff, site))
    links = {attributes.get("href") or "" for tag, attributes in page.tags if tag == "a"}
    shown = {link.partition("#")[0] for link in links if "panel.html#" in link}
    assert shown == {"../v/a/evaluation/panel.html", "../v/b/evaluation/panel.html"}
    pictures = [attributes["src"] for tag, attributes in page.tags if tag == "img"]
    assert len(pictures) >= 3
    assert all((site / "compare" / address).resolve().is_file() for address in pictures)


def _worsen(path: Path) -> None:
    items = pd.read_parquet(path)
    mine = (items["method"] == "diffsensei") & (items["metric"] == "dino_c")
    items.loc[mine, "value"] -= 0.2
    items.to_parquet(path)
