"""Reports under a readable path, and references that move only when told."""

from pathlib import Path

import pytest

from diffsensei.config.schema import ReleaseConfig
from infra.store import ObjectRef, Store
from tasks.publication import (
    CANDIDATE,
    RELEASED,
    latest_report,
    move_reference,
    publish_report,
    released_bundle,
)

RELEASE = ReleaseConfig(name="small-manga", version="1.2.3", licence="apache-2.0")


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setenv("DIFFSENSEI_STORE", str(tmp_path / "store"))
    return Store(tmp_path / "store")


def _object(store: Store, folder: Path, text: str, kind: str = "report") -> ObjectRef:
    folder.mkdir()
    (folder / "index.html").write_text(text)
    return store.publish_object(folder, kind)


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
    assert publish_report(store, report, RELEASE) == publish_report(store, report, RELEASE)
    assert sorted(path.name for path in (store.base / "reports").iterdir()) == [
        "latest",
        f"small-manga-1.2.3-{report.digest[:12]}",
    ]


def test_references_move_and_are_logged_once(store: Store, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no small-manga is released"):
        released_bundle(store, RELEASE)
    old = _object(store, tmp_path / "a", "old", "bundle")
    new = _object(store, tmp_path / "b", "new", "bundle")
    for bundle in (old, old, new):
        move_reference(store, CANDIDATE, RELEASE, bundle, "built")
    move_reference(store, RELEASED, RELEASE, old, "verified")
    assert [move.digest for move in store.refs.log(CANDIDATE)] == [old.digest, new.digest]
    assert released_bundle(store, RELEASE) == old.path
