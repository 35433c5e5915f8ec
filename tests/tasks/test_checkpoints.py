"""Which bundles count as known, and by what."""

import shutil
from pathlib import Path

from diffsensei.config.schema import ReleaseConfig
from diffsensei.release.manifest import write_manifest
from infra.store import ObjectRef, Store
from tasks.checkpoints import known_checkpoints
from tasks.releases import APPROVED, CANDIDATE, RELEASED, move_reference

RELEASE = ReleaseConfig(name="small-manga", version="1.2.3", licence="apache-2.0")


def _bundle(store: Store, folder: Path, version: str) -> ObjectRef:
    folder.mkdir()
    (folder / "weights.txt").write_text(version)
    write_manifest(folder, RELEASE.name, version)
    return store.publish_object(folder, "bundle")


def test_what_is_named_now_and_what_was_ever_released(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    assert known_checkpoints(store) == []
    first, second, third = (_bundle(store, tmp_path / version, version) for version in ("1.0.0", "2.0.0", "3.0.0"))
    for bundle in (first, second):
        for channel in (CANDIDATE, APPROVED, RELEASED):
            move_reference(store, channel, RELEASE.name, bundle, "a test")
    move_reference(store, CANDIDATE, RELEASE.name, third, "a test")
    report = store.publish_object(tmp_path / "1.0.0", "report")
    store.refs.move(RELEASED, "a-report", report.kind, report.digest, expected=None)

    known = known_checkpoints(store)
    assert [(c.version, c.channels) for c in known] == [
        ("1.0.0", ()),
        ("2.0.0", (RELEASED, APPROVED)),
        ("3.0.0", (CANDIDATE,)),
    ]
    assert known[2].bundle == third
    assert known[2].label == f"small-manga 3.0.0 ({third.digest[:8]})"
    assert known[2].key == f"checkpoint-{third.digest}"

    shutil.rmtree(first.path.parent)
    assert [c.version for c in known_checkpoints(store)] == ["2.0.0", "3.0.0"]


def test_a_bundle_that_cannot_be_read_stops_nobody(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "weights.txt").write_text("no manifest")
    broken = store.publish_object(tmp_path / "broken", "bundle")
    move_reference(store, CANDIDATE, "broken-one", broken, "a test")
    whole = _bundle(store, tmp_path / "whole", "1.0.0")
    move_reference(store, CANDIDATE, RELEASE.name, whole, "a test")
    assert {(c.name, c.version) for c in known_checkpoints(store)} == {
        ("broken-one", "unreadable"),
        (RELEASE.name, "1.0.0"),
    }
