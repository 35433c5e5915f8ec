"""Pages of results under a readable path, each for good."""

from collections.abc import Callable
from pathlib import Path

import pytest

from diffsensei.config.schema import ReleaseConfig
from diffsensei.data.tombstones import record_tombstone
from infra.manifest import Origin
from infra.store import ObjectRef, Store
from tasks.publication import publish_page
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


def test_publishing_twice_gives_one_page(store: Store, tmp_path: Path) -> None:
    page = publish_page(store, _object(store, tmp_path / "a", "text"), RELEASE, "index")
    inode = page.stat().st_ino
    assert page.parent.name.startswith("small-manga-1.2.3-index-")
    assert publish_page(store, _object(store, tmp_path / "b", "text"), RELEASE, "index") == page
    assert page.stat().st_ino == inode
    assert [path.name for path in (store.base / "reports").iterdir()] == [page.parent.name]


def test_a_report_on_a_page_taken_down_is_not_published(
    store: Store, tmp_path: Path, validated_page: Callable[..., ObjectRef]
) -> None:
    pages = validated_page(store, "Series/001.jpg")
    report = _object(store, tmp_path / "a", "text", {"validate": pages.digest})
    other = _object(store, tmp_path / "b", "other")
    record_tombstone(store.base / "tombstones", "url", "the author asked", sha256=["b" * 64])
    with pytest.raises(ValueError, match="taken down because: the author asked"):
        publish_page(store, report, RELEASE, "index")
    assert publish_page(store, other, RELEASE, "index").read_text() == "other"


def _publish_in(folder: Path) -> Operation:
    """A second page where one stands."""
    store = Store(folder / "store")
    refs = [_object(store, folder / name, name) for name in ("old", "new")]
    publish_page(store, refs[0], RELEASE, "index")
    return lambda: publish_page(store, refs[1], RELEASE, "index")


def _check_pages(folder: Path, whole: bool) -> None:
    places = list((folder / "store" / "reports").glob("[!.]*"))
    assert len(places) == 2 if whole else len(places) in (1, 2)
    assert {(place / "index.html").read_text() for place in places} >= {"old"}, "half a page"


def test_every_fault_while_publishing_leaves_whole_pages(tmp_path: Path) -> None:
    assert sweep(_publish_in, _check_pages, tmp_path) > 3 * 4
