"""Reports under a readable path, each for good, and the newest under ``latest``."""

import multiprocessing
from collections.abc import Callable
from pathlib import Path

import pytest

from diffsensei.config.schema import ReleaseConfig
from diffsensei.data.tombstones import record_tombstone
from infra.manifest import Origin
from infra.store import ObjectRef, Store
from tasks.publication import latest_report, publish_page, publish_report
from tests.infra.faults import Operation, sweep

RELEASE = ReleaseConfig(name="small-manga", version="1.2.3", licence="apache-2.0")


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setenv("DIFFSENSEI_STORE", str(tmp_path / "store"))
    return Store(tmp_path / "store")


def _object(store: Store, folder: Path, text: str, inputs: dict[str, str] | None = None) -> ObjectRef:
    folder.mkdir()
    (folder / "index.html").write_text(text)
    return store.publish_object(folder, "report", Origin(inputs=inputs or {}))


def test_reports_stay_and_latest_follows(store: Store, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="diffsensei run full-pipeline"):
        latest_report()
    first = publish_report(store, _object(store, tmp_path / "a", "first"), RELEASE)
    assert first.parent.name.startswith("small-manga-1.2.3-")
    second = publish_report(store, _object(store, tmp_path / "b", "second"), RELEASE)
    assert (first.read_text(), second.read_text()) == ("first", "second")
    assert latest_report().read_text() == "second"


def test_publishing_twice_gives_one_report(store: Store, tmp_path: Path) -> None:
    report = _object(store, tmp_path / "a", "text")
    page = publish_report(store, report, RELEASE)
    inode = page.stat().st_ino
    assert publish_report(store, report, RELEASE) == page
    assert page.stat().st_ino == inode
    assert sorted(path.name for path in (store.base / "reports").iterdir()) == [
        "latest",
        f"small-manga-1.2.3-{report.digest[:12]}",
    ]


def test_a_report_on_a_page_taken_down_is_not_published(
    store: Store, tmp_path: Path, validated_page: Callable[..., ObjectRef]
) -> None:
    pages = validated_page(store, "Series/001.jpg")
    report = _object(store, tmp_path / "a", "text", {"validate": pages.digest})
    other = _object(store, tmp_path / "b", "other")
    record_tombstone(store.base / "tombstones", "url", "the author asked", sha256=["b" * 64])
    for call in (lambda: publish_report(store, report, RELEASE), lambda: publish_page(store, report, RELEASE, "index")):
        with pytest.raises(ValueError, match="taken down because: the author asked"):
            call()
    assert publish_report(store, other, RELEASE).read_text() == "other"


def _publish_in(folder: Path) -> Operation:
    """A second report where one stands."""
    store = Store(folder / "store")
    refs = [_object(store, folder / name, name) for name in ("old", "new")]
    publish_report(store, refs[0], RELEASE)
    return lambda: publish_report(store, refs[1], RELEASE)


def _check_latest(folder: Path, whole: bool) -> None:
    reports = folder / "store" / "reports"
    assert (reports / "latest" / "index.html").read_text() in (("new",) if whole else ("old", "new"))
    for place in reports.glob("[!.]*"):
        assert (place / "index.html").is_file(), "half a report"


def test_every_fault_while_publishing_leaves_the_old_report_or_the_new(tmp_path: Path) -> None:
    assert sweep(_publish_in, _check_latest, tmp_path) > 3 * 4


def test_readers_always_find_a_whole_report(store: Store, tmp_path: Path) -> None:
    """Four publishers let ``latest`` go to and fro while a reader reads without a pause."""
    refs = [_object(store, tmp_path / f"r{number}", f"report {number}") for number in range(4)]
    page = publish_report(store, refs[0], RELEASE).parents[1] / "latest" / "index.html"
    fork = multiprocessing.get_context("fork")
    publishers = [fork.Process(target=_publish_often, args=(store, ref)) for ref in refs]
    for publisher in publishers:
        publisher.start()
    seen = {page.read_text()}
    while any(publisher.is_alive() for publisher in publishers):
        seen.add(page.read_text())
    assert [publisher.exitcode for publisher in publishers] == [0] * 4
    assert seen <= {f"report {number}" for number in range(4)}
    assert len(seen) > 1, "nothing was published meanwhile"


def _publish_often(store: Store, report: ObjectRef) -> None:
    for _ in range(25):
        publish_report(store, report, RELEASE)
