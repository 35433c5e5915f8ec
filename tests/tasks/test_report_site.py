"""The site of versions: put together from references, shared, said anew when something moved, and never half of it."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from diffsensei.config.schema import ReleaseConfig
from diffsensei.data.tombstones import record_tombstone
from diffsensei.evaluation.results import read_summary
from infra.manifest import Origin
from infra.store import ObjectRef, Store
from reports.site import build_report
from tasks.published_reports import CHANNEL
from tasks.report_files import export_text, report_page
from tasks.report_site import Site, assemble_site, built_site, compare, find_version, publish_version
from tasks.stages.reporting import shared_pictures
from tests.reports.conftest import RunFolders, build_run

RELEASE = ReleaseConfig(name="small-manga", version="1.2.3", licence="apache-2.0")


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two built reports: the second's main method has other DINO-C measurements."""
    base = tmp_path_factory.mktemp("reports")
    run = build_run(base / "run")
    build_report(**run.arguments)
    return [Path(str(run.arguments["output"])), _altered(run, base)]


def _altered(run: RunFolders, base: Path) -> Path:
    score, output = base / "score", base / "second"
    score.mkdir()
    output.mkdir()
    items = pd.read_parquet(Path(str(run.arguments["score"])) / "items.parquet")
    mine = (items["method"] == "diffsensei") & (items["metric"] == "dino_c")
    items.loc[mine, "value"] -= 0.25
    items.to_parquet(score / "items.parquet")
    summary = read_summary(Path(str(run.arguments["score"])))
    (score / "summary.json").write_text(summary.model_dump_json())
    build_report(**(run.arguments | {"score": score, "output": output}))
    return output


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setenv("DIFFSENSEI_STORE", str(tmp_path / "store"))
    return Store(tmp_path / "store")


@pytest.fixture
def objects(store: Store, reports: list[Path]) -> list[ObjectRef]:
    return [store.publish_object(folder, "report") for folder in reports]


def _status(page: Path) -> dict:
    text = (page.parent / "data" / "status.js").read_text()
    return json.loads(text[text.index("=", text.index("]")) + 1 :].rstrip(";\n"))


def test_a_store_without_reports_says_how_to_make_one(store: Store) -> None:
    for ask in (built_site, lambda: assemble_site(store)):
        with pytest.raises(ValueError, match="diffsensei run full-pipeline"):
            ask()


def test_versions_stand_side_by_side_and_share_their_pictures(store: Store, objects: list[ObjectRef]) -> None:
    first, second = (publish_version(store, report, RELEASE) for report in objects)
    assert first.is_file()
    assert second.is_file()
    index = built_site().index.read_text()
    assert all(page.parent.name in index for page in (first, second))
    pictures = [page.parent / "assets" for page in (first, second)]
    names = [path.name for path in pictures[0].iterdir()]
    assert names
    for name in names:
        there = [(folder / name).stat() for folder in (*pictures, built_site().folder / "assets")]
        assert len({(status.st_dev, status.st_ino) for status in there}) == 1


def test_the_report_stage_is_given_the_pictures_of_the_site(
    store: Store, reports: list[Path], objects: list[ObjectRef], tmp_path: Path
) -> None:
    publish_version(store, objects[0], RELEASE)
    assert shared_pictures() == built_site().folder / "assets"
    run = build_run(tmp_path / "again")
    build_report(**run.arguments, encoded=shared_pictures())
    pictures = list((run.arguments["output"] / "assets").iterdir())
    assert pictures
    assert all(os.path.samefile(path, shared_pictures() / path.name) for path in pictures)


def test_the_second_is_compared_with_the_first(store: Store, objects: list[ObjectRef]) -> None:
    first, second = (publish_version(store, report, RELEASE) for report in objects)
    status = _status(second)
    assert status["previous"]["address"] == f"../{first.parent.name}/index.html"
    found = status["differences"]["main/diffsensei/dino_c"]
    assert (found["text"], found["verdict"]) == ("\N{MINUS SIGN}0.250", "undecided")  # 4 pages: p is at least 2/16
    assert status["differences"]["main/sdxl_t2i/dino_c"]["verdict"] == "same"
    assert (second.parent / status["diff"]).resolve().is_file()
    assert _status(first)["previous"] is None
    assert _status(first)["newer"]["address"] == f"../{second.parent.name}/index.html"


def test_publishing_again_writes_nothing(store: Store, objects: list[ObjectRef]) -> None:
    for report in objects:
        publish_version(store, report, RELEASE)
    site = built_site().folder
    before = {path: path.stat().st_mtime_ns for path in site.rglob("*") if path.is_file()}
    publish_version(store, objects[0], RELEASE)
    assert {path: path.stat().st_mtime_ns for path in site.rglob("*") if path.is_file()} == before


def test_a_version_in_the_store_is_never_changed(store: Store, objects: list[ObjectRef]) -> None:
    for report in objects:
        publish_version(store, report, RELEASE)
        store.verify(report)


def test_a_version_that_is_no_longer_stored_leaves_with_its_own_pictures(
    store: Store, objects: list[ObjectRef]
) -> None:
    first, second = (publish_version(store, report, RELEASE) for report in objects)
    only = built_site().folder / "assets" / "0000000000000000.webp"
    os.link(next((first.parent / "assets").iterdir()), first.parent / "assets" / only.name)
    only.write_bytes(b"nobody else shows it")
    os.rename(objects[0].path.parent, store.base / "taken-down")
    assemble_site(store)
    assert not first.exists()
    assert not only.exists()
    assert second.is_file()
    assert first.parent.name not in built_site().index.read_text()
    assert not list((built_site().folder / "compare").iterdir())


def test_a_version_that_shows_a_page_taken_down_leaves_the_site(
    store: Store, reports: list[Path], objects: list[ObjectRef], validated_page: Callable[..., ObjectRef]
) -> None:
    pages = validated_page(store, "Series/001.jpg")
    folder = store.base / "copy"
    shutil.copytree(reports[0], folder)
    (folder / "extra.txt").write_text("another version")
    shown = store.publish_object(folder, "report", Origin(inputs={"validate": pages.digest}))
    kept = publish_version(store, objects[1], RELEASE)
    buried = publish_version(store, shown, RELEASE)
    record_tombstone(store.base / "tombstones", "url", "the author asked", sha256=["b" * 64])
    assemble_site(store)
    assert kept.is_file()
    assert not buried.exists()
    assert buried.parent.name not in built_site().index.read_text()
    with pytest.raises(ValueError, match="taken down because: the author asked"):
        publish_version(store, shown, RELEASE)


def test_a_crash_while_a_version_is_placed_leaves_no_half_version(
    store: Store, objects: list[ObjectRef], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as broken:
        broken.setattr("tasks.report_site._link", fail)
        with pytest.raises(KeyboardInterrupt):
            publish_version(store, objects[0], RELEASE)
    assert not (store.base / "site" / "v").exists() or not list((store.base / "site" / "v").iterdir())
    assert publish_version(store, objects[0], RELEASE).is_file()


def test_without_hard_links_files_are_copied(
    store: Store, objects: list[ObjectRef], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError("no links here")

    monkeypatch.setattr("tasks.report_site.os.link", refuse)
    page = publish_version(store, objects[0], RELEASE)
    assert page.read_bytes() == (objects[0].path / "index.html").read_bytes()
    assert page.stat().st_nlink == 1


def test_versions_are_found_by_name_digest_and_latest(store: Store, objects: list[ObjectRef]) -> None:
    first, second = (publish_version(store, report, RELEASE).parent.name for report in objects)
    site = built_site()
    assert find_version(site, "latest") == second
    assert find_version(site, objects[0].digest[:6]) == first
    assert find_version(site, first) == first
    with pytest.raises(ValueError, match=f"known: {second}, {first}"):
        find_version(site, "zz")
    with pytest.raises(ValueError, match="names no versions"):
        find_version(site, "")
    with pytest.raises(ValueError, match="the same version"):
        compare(site, "latest", second)
    assert report_page("latest").parent.name == second


def test_any_two_versions_can_be_compared_and_the_first_page_leads_there(
    store: Store, objects: list[ObjectRef]
) -> None:
    for report in objects:
        publish_version(store, report, RELEASE)
    page, diff = compare(built_site(), "latest", objects[0].digest[:8])
    assert page.is_file()
    change = next(row for row in diff.figures if (row.method, row.metric) == ("diffsensei", "dino_c"))
    assert change.difference == pytest.approx(0.25)
    assert page.name in built_site().index.read_text()


def test_exports_and_unknown_ones(store: Store, objects: list[ObjectRef]) -> None:
    publish_version(store, objects[0], RELEASE)
    assert export_text("latex", "latest", "main").startswith("%")
    with pytest.raises(ValueError, match="known: latex, markdown, csv, json"):
        export_text("xls", "latest", "main")
    with pytest.raises(ValueError, match="known: main"):
        export_text("csv", "latest", "evaluation")


def test_reports_from_before_versions_are_left_out(store: Store, tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "index.html").write_text("an old report")
    old = store.publish_object(tmp_path / "old", "report")
    store.refs.move(CHANNEL, "old", "report", old.digest, expected=None)
    with pytest.raises(ValueError, match="no report"):
        assemble_site(store)
    assert not Site(store).index.exists()
