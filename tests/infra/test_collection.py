"""What goes and what stays when a store is cleaned."""

from pathlib import Path

import pytest

from infra.collection import find_garbage, remove_garbage
from infra.jobs.attempt import Attempt
from infra.manifest import Origin
from infra.stage import Ingredients
from infra.stage_folder import Done, StageFolder
from infra.store import ObjectMissing, ObjectRef, Store


def _object(store: Store, folder: Path, kind: str, *inputs: ObjectRef) -> ObjectRef:
    folder.mkdir(parents=True)
    (folder / "file").write_text(kind + folder.name)
    origin = Origin(inputs={str(number): ref.digest for number, ref in enumerate(inputs)})
    ref = store.publish_object(folder, kind, origin)
    digests = {str(number): each.digest for number, each in enumerate(inputs)}
    made = Ingredients(
        name=kind, version=1, entry="a:b", config={}, literals={}, identity={}, packages={}, inputs=digests
    )
    stage = store.stage_folder(kind, made.key())
    stage.path.mkdir(parents=True, exist_ok=True)
    stage.record_done(
        Done(
            key=made.key(),
            kind=kind,
            digest=ref.digest,
            ingredients=made,
            attempts=1,
            wall_s=1.0,
            finished="2026-01-01T00:00:00",
        )
    )
    return ref


@pytest.fixture
def pages(store: Store, tmp_path: Path) -> ObjectRef:
    return _object(store, tmp_path / "pages", "pages")


def test_what_a_root_was_made_from_stays_and_the_rest_goes(store: Store, tmp_path: Path, pages: ObjectRef) -> None:
    kept = _object(store, tmp_path / "kept", "weights", pages)
    other = _object(store, tmp_path / "other", "bundle", pages)
    (store.base / "tmp" / "left").mkdir(parents=True)
    garbage = find_garbage(store, [kept], keep_days=0)
    assert garbage.objects == (other,)
    assert [stage.name for stage in garbage.stages] == ["bundle"]
    assert garbage.num_bytes() > 0
    remove_garbage(store, garbage)
    for ref in (kept, pages):
        store.verify(ref)
    with pytest.raises(ObjectMissing):
        store.verify(other)
    assert [stage.name for stage in store.stage_folders()] == ["pages", "weights"]
    assert list((store.base / "tmp").iterdir()) == []
    assert find_garbage(store, [kept], keep_days=0).objects == ()


def test_what_is_young_stays(store: Store, pages: ObjectRef) -> None:
    garbage = find_garbage(store, [], keep_days=1)
    assert (garbage.objects, garbage.stages, garbage.left_behind) == ((), (), ())
    assert find_garbage(store, [], keep_days=0).objects == (pages,)


def test_work_that_was_never_finished_goes_when_it_is_old(store: Store) -> None:
    stage = StageFolder(store.base / "stages" / "number" / ("a" * 64))
    stage.workspace.mkdir(parents=True)
    assert find_garbage(store, [], keep_days=1).stages == ()
    assert [each.key for each in find_garbage(store, [], keep_days=0).stages] == ["a" * 64]


def test_nothing_is_collected_while_a_job_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(tmp_path / "busy")
    (store.base / "stages" / "number" / ("a" * 64) / "attempts" / "0001").mkdir(parents=True)
    monkeypatch.setattr(Attempt, "is_live", lambda _: True)
    with pytest.raises(ValueError, match="stage number is running"):
        find_garbage(store, [], keep_days=0)
