"""The gallery's files: data, addresses, pictures and what the policy keeps out."""

import json
import shutil
from pathlib import Path

import pytest

from reports.addresses import panel_address
from reports.series_figures import series_address
from reports.site import build_report


def read_data(output: Path, name: str):
    """What a data file assigns."""
    text = (output / "data" / f"{name}.js").read_text(encoding="utf-8")
    return json.loads(text.partition("]=")[2].removesuffix(";\n"))


def records(output: Path) -> dict[str, dict]:
    """All records by panel."""
    parts = [part for series in read_data(output, "report")["series"] for part in series["parts"]]
    return {one["id"]: one for part in parts for one in read_data(output, part)}


def test_every_panel_has_a_record_and_stands_in_the_lists(site):
    found = records(site)
    assert sorted(found) == [f"panel{number}" for number in range(8)]
    report, listed = read_data(site, "report"), read_data(site, "panels-0")
    for panel_id, series, part, page, *_ in listed:
        assert panel_id in {one["id"] for one in read_data(site, report["series"][series]["parts"][part])}
        assert page == found[panel_id]["page"]
    assert {panel for page in read_data(site, "pages-0") for panel in page["boxes"]} == set(found)


def test_every_series_has_its_page_and_every_page_its_data(site):
    for series in read_data(site, "report")["series"]:
        assert series["address"] == series_address(series["name"])
        text = (site / series["address"]).read_text()
        for name in ("report", "panels-0", "pages-0"):
            assert f'<script src="../data/{name}.js">' in text


def test_every_picture_that_the_data_names_is_there(site):
    files = {path.name for path in (site / "assets").iterdir()}

    def pictures(value):
        if isinstance(value, dict):
            found = [value["picture"]] if value.get("picture") else []
            return found + [one for inner in value.values() for one in pictures(inner)]
        return [one for inner in value for one in pictures(inner)] if isinstance(value, list) else []

    named = [one for record in records(site).values() for one in pictures(record)]
    assert len(named) > 30
    for name, width, height, kind in named:
        assert width > 0 < height
        wanted = {"pixels": [".webp"], "thumb": ["-256.webp"], "view": ["-256.webp", "-768.webp"]}[kind]
        assert {f"{name}{end}" for end in wanted} <= files


def test_a_record_says_what_was_asked_drawn_and_scored(site):
    record = records(site)["panel2"]
    assert [one["id"] for one in record["characters"]] == ["mika-0", "mika-1"]
    assert [one["source"] for one in record["characters"]] == ["panel3:0", "panel3:0"]
    assert record["dialogs"] == [[0.55, 0.04, 0.95, 0.28]]
    assert record["seed"] == "2"
    assert set(record["noise"]) == {"0"}
    methods = [method["name"] for method in read_data(site, "report")["methods"]]
    assert methods == ["ground_truth", "sdxl_t2i", "diffsensei_stage1", "diffsensei"]
    assert len(record["drawn"]) == len(methods)
    assert all(drawn[0]["there"] for drawn in record["drawn"])
    assert record["drawn"][1][0]["dialogs"][0] == 1


def test_without_pictures_there_is_none_but_everything_else(make_run):
    run = make_run()
    config = run.arguments["config"]
    config = config.replaced(report=config.report.replaced(images="none"))
    build_report(**run.arguments | {"config": config})
    output = run.arguments["output"]
    assert not list(output.rglob("*.webp"))
    assert not list(output.rglob("*.png"))
    record = records(output)["panel2"]
    assert all(drawn[0]["picture"] is None and drawn[0]["there"] for drawn in record["drawn"])
    assert record["dialogs"]
    assert "Without pictures." in (output / "panels.html").read_text()


def test_a_missing_picture_is_a_state(make_run):
    run = make_run()
    (run.arguments["generate_stage1"] / "images" / "0" / "panel2.png").unlink()
    build_report(**run.arguments)
    drawn = records(run.arguments["output"])["panel2"]["drawn"]
    assert [one[0]["there"] for one in drawn] == [True, True, False, True]


def test_a_given_panel_is_no_missing_picture(make_run):
    run = make_run()
    listing = run.arguments["benchmark"] / "panels.jsonl"
    first, *rest = listing.read_text().splitlines(keepends=True)
    given = json.loads(first)
    given["given"] = f"truth/{given['panel_id']}.png"
    listing.write_text(json.dumps(given) + "\n" + "".join(rest))
    build_report(**run.arguments)
    record = records(run.arguments["output"])[given["panel_id"]]
    assert record["given"]
    assert not any(one[0]["tags"] for one in record["drawn"])


def test_several_seeds_are_all_shown(make_run):
    run = make_run()
    path = run.arguments["score"] / "summary.json"
    path.write_text(path.read_text().replace('"seeds":[0]', '"seeds":[0,1]'))
    for name in ("generate_sdxl_t2i", "generate_stage1", "generate_diffsensei"):
        images = run.arguments[name] / "images"
        shutil.copytree(images / "0", images / "1")
    build_report(**run.arguments)
    record = records(run.arguments["output"])["panel2"]
    assert [[one["seed"] for one in drawn] for drawn in record["drawn"]] == [[0], [0, 1], [0, 1], [0, 1]]
    assert len(set(record["noise"].values())) == 2


def test_a_picture_outside_the_benchmark_is_refused(make_run):
    run = make_run()
    listing = run.arguments["benchmark"] / "panels.jsonl"
    listing.write_text(listing.read_text().replace('"panel1"', '"../../secret"', 1))
    with pytest.raises(ValueError, match="lies outside"):
        build_report(**run.arguments)


def test_addresses_hold_whatever_a_panel_is_called():
    assert panel_address("abc-1") == "panel.html#abc-1"
    assert panel_address('a b#c?<d>"/%') == "panel.html#a%20b%23c%3F%3Cd%3E%22%2F%25"
