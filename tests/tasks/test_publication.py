"""Pages under a readable path, each for good."""

from collections.abc import Callable
from pathlib import Path

import pytest

from diffsensei.config.schema import ReleaseConfig
from diffsensei.data.tombstones import record_tombstone
from infra.manifest import Origin
from infra.store import ObjectRef, Store
from tasks.publication import publish_page
from tasks.report_site import publish_version
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


def _publish(store: Store, page: ObjectRef) -> Path:
    return publish_page(store, page, RELEASE, "index")


def test_publishing_twice_gives_one_page(store: Store, tmp_path: Path) -> None:
    report = _object(store, tmp_path / "a", "text")
    page = _publish(store, report)
    inode = page.stat().st_ino
    assert _publish(store, report) == page
    assert page.stat().st_ino == inode
    assert sorted(path.name for path in (store.base / "reports").iterdir()) == [
        f"small-manga-1.2.3-index-{report.digest[:12]}"
    ]


def test_a_report_on_a_page_taken_down_is_not_published(
    store: Store, tmp_path: Path, validated_page: Callable[..., ObjectRef]
) -> None:
    pages = validated_page(store, "Series/001.jpg")
    report = _object(store, tmp_path / "a", "text", {"validate": pages.digest})
    other = _object(store, tmp_path / "b", "other")
    record_tombstone(store.base / "tombstones", "url", "the author asked", sha256=["b" * 64])
    for call in (lambda: _publish(store, report), lambda: publish_version(store, report, RELEASE)):
        with pytest.raises(ValueError, match="taken down because: the author asked"):
            call()
    assert _publish(store, other).read_text() == "other"


def _publish_in(folder: Path) -> Operation:
    """A second page where one stands."""
    store = Store(folder / "store")
    refs = [_object(store, folder / name, name) for name in ("old", "new")]
    _publish(store, refs[0])
    return lambda: _publish(store, refs[1])


def _check_places(folder: Path, whole: bool) -> None:
    places = list((folder / "store" / "reports").glob("[!.]*"))
    assert len(places) == 2 if whole else len(places) in (1, 2)
    for place in places:
        assert (place / "index.html").read_text() in ("old", "new"), "half a page"


def test_every_fault_while_publishing_leaves_a_whole_page_or_none(tmp_path: Path) -> None:
    assert sweep(_publish_in, _check_places, tmp_path) > 3 * 3
