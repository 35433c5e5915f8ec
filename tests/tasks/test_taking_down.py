"""The command that takes a page down: afterwards no version that rests on it is in the site, and the index says why."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from flows.cli import app
from infra.manifest import Origin
from infra.store import ObjectRef, Store
from reports.site import build_report
from tasks.publication import publish_page
from tasks.report_site import assemble_site, built_site, find_version, publish_version
from tests.reports.conftest import build_run
from tests.tasks.test_report_site import RELEASE

EVIL = "<script>window.pwned=1</script> asked"


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two reports; the second shows two panels more."""
    folders = []
    for name, panels in (("one", 8), ("two", 10)):
        run = build_run(tmp_path_factory.mktemp(name), num_panels=panels)
        build_report(**run.arguments)
        folders.append(Path(str(run.arguments["output"])))
    return folders


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setenv("DIFFSENSEI_STORE", str(tmp_path / "store"))
    return Store(tmp_path / "store")


@pytest.fixture
def kept(store: Store, reports: list[Path]) -> Path:
    """First page of a version that rests on no page in particular."""
    return publish_version(store, store.publish_object(reports[0], "report"), RELEASE)


@pytest.fixture
def buried(store: Store, reports: list[Path], validated_page: Callable[..., ObjectRef]) -> Path:
    """First page of a version that rests on Series/001.jpg."""
    pages = validated_page(store, "Series/001.jpg")
    report = store.publish_object(reports[1], "report", Origin(inputs={"validate": pages.digest}))
    return publish_version(store, report, RELEASE)


def _take_down(reason: str) -> str:
    done = CliRunner().invoke(app, ["tombstone", "Series/001.jpg", "--reason", reason])
    assert done.exit_code == 0, done.output
    return done.stdout


def test_the_version_and_its_pictures_are_gone_and_the_index_says_why(kept: Path, buried: Path) -> None:
    site = built_site().folder
    mine = set(os.listdir(buried.parent / "assets")) - set(os.listdir(kept.parent / "assets"))
    assert mine
    assert list((site / "compare").iterdir())
    out = _take_down("the author asked")
    assert f"withdrawn from the site: {buried.parent.name}" in out
    assert not buried.parent.exists()
    assert not mine & {path.name for path in site.rglob("*.webp")}
    assert not [path for path in site.rglob("*") if path.is_file() and buried.parent.name in path.name]
    index = (site / "index.html").read_text()
    assert 'id="withdrawn"' in index
    assert "the author asked" in index
    assert f"v/{buried.parent.name}" not in index
    assert kept.is_file()
    assert {path.name for path in (site / "assets").iterdir()} == set(os.listdir(kept.parent / "assets"))


def test_a_site_of_that_version_alone_is_left_empty(buried: Path) -> None:
    _take_down(EVIL)
    site = built_site()
    index = site.index.read_text()
    assert not buried.exists()
    assert site.versions() == set()
    assert not list((site.folder / "assets").iterdir())
    assert "No versions" in index
    assert "&lt;script&gt;window.pwned=1&lt;/script&gt; asked" in index
    assert EVIL not in index
    with pytest.raises(ValueError, match="known: none"):
        find_version(site, "latest")


def test_pages_of_results_that_rest_on_it_are_gone_as_well(
    store: Store, tmp_path: Path, validated_page: Callable[..., ObjectRef]
) -> None:
    pages = validated_page(store, "Series/001.jpg")
    places = []
    for name, inputs in (("mine", {"validate": pages.digest}), ("other", {})):
        (tmp_path / name).mkdir()
        (tmp_path / name / "ablations.html").write_text(name)
        result = store.publish_object(tmp_path / name, "ablations", Origin(inputs=inputs))
        places.append(publish_page(store, result, RELEASE, "ablations"))
    out = _take_down("the author asked")
    assert f"withdrawn: {places[0].parent.name}" in out
    assert "published page" not in out
    assert os.listdir(store.base / "reports") == [places[1].parent.name]
    assert "withdrawn" not in _take_down("the author asked")


def test_a_withdrawn_version_is_told_from_an_unknown_one(kept: Path, buried: Path) -> None:
    _take_down("the author asked")
    digest = buried.parent.name.rpartition("-")[2]
    with pytest.raises(ValueError, match="was withdrawn: it rests on a page that was taken down because: the author"):
        find_version(built_site(), digest)
    assert find_version(built_site(), "latest") == kept.parent.name


def test_a_command_that_was_killed_half_way_is_made_good_by_the_next(
    store: Store, kept: Path, buried: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as broken:
        broken.setattr("tasks.report_site.render_site_page", die)
        CliRunner().invoke(app, ["tombstone", "Series/001.jpg", "--reason", "the author asked"])
    assert not buried.parent.exists()  # what may not be seen goes first
    assert "the author asked" not in built_site().index.read_text()
    assemble_site(store)
    assert "the author asked" in built_site().index.read_text()
    assert kept.is_file()


def test_a_store_without_a_site_gets_none(store: Store, validated_page: Callable[..., ObjectRef]) -> None:
    validated_page(store, "Series/001.jpg")
    assert "taken down: " in _take_down("the author asked")
    assert not (store.base / "site").exists()
