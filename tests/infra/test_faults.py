"""Every write path of the store under every fault: readers see the old or the new, and doing it again succeeds."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from infra.files import read_json, write_json
from infra.manifest import Origin
from infra.refs import Refs
from infra.stage import Ingredients
from infra.stage_folder import Done, StageFolder
from infra.store import ObjectDamaged, ObjectMissing, Store
from tests.infra.faults import Operation, calls_of, renamed_unflushed, sweep

OLD, NEW = "1" * 64, "2" * 64
KEY = "3" * 64


def _source(folder: Path) -> Path:
    source = folder / "source"
    (source / "inner").mkdir(parents=True, exist_ok=True)
    (source / "one").write_text("1")
    (source / "inner" / "two").write_text("22")
    return source


def _write(folder: Path) -> Operation:
    write_json(folder / "value.json", "old")
    return lambda: write_json(folder / "value.json", "new")


def _check_write(folder: Path, whole: bool) -> None:
    assert read_json(folder / "value.json") in (("new",) if whole else ("old", "new"))


def _publish(folder: Path) -> Operation:
    _source(folder)
    return lambda: Store(folder / "store").publish_object(folder / "source", "letters", Origin(config={"a": 1}))


def _publish_moved(folder: Path) -> Operation:
    def publish() -> None:
        Store(folder / "store").publish_object(_source(folder), "letters", Origin(config={"a": 1}), move=True)

    return publish


def _repair(folder: Path) -> Operation:
    """Publishing what is stored and damaged."""
    store = Store(folder / "store")
    ref = store.publish_object(_source(folder), "letters", Origin(config={"a": 1}))
    (ref.path / "one").chmod(0o644)
    (ref.path / "one").write_text("!")
    return _publish(folder)


def _check_object(folder: Path, whole: bool) -> None:
    """The object is there and right, or not there; never there and wrong unless it was damaged before."""
    store = Store(folder / "store")
    found = []
    for ref, manifest in store.objects():
        try:
            assert store.verify(ref) == manifest
        except ObjectDamaged:
            assert (ref.path / "one").read_text() == "!", "damaged by the fault"
            assert not whole
            return
        assert manifest.config == {"a": 1}
        found.append(ref)
    assert len(found) <= 1
    if whole:
        assert len(found) == 1
        assert (found[0].path / "inner" / "two").read_text() == "22"
    else:
        with pytest.raises(ObjectMissing):
            store.verify(store.object("letters", "0" * 64))


def _first_move(folder: Path) -> Operation:
    return lambda: Refs(folder).move("released", "tiny", "bundle", NEW, expected=None)


def _second_move(folder: Path) -> Operation:
    Refs(folder).move("released", "tiny", "bundle", OLD, expected=None)

    return lambda: Refs(folder).move("released", "tiny", "bundle", NEW, expected=OLD)


def _check_moved(folder: Path, whole: bool) -> None:
    refs = Refs(folder)
    current = refs.read("released", "tiny")
    digests = [move.digest for move in refs.log("released", "tiny")]
    assert digests in ([], [OLD], [NEW], [OLD, NEW])
    assert [move.generation for move in refs.log()] == list(range(1, len(digests) + 1)), "a number was used twice"
    if current is not None:
        assert current in refs.log("released", "tiny"), "the pointer is ahead of the log"
    if whole:
        assert current is not None
        assert current.digest == digests[-1] == NEW


def _finish(folder: Path) -> Operation:
    stage = StageFolder(folder / "stages" / "number" / KEY)
    stage.workspace.mkdir(parents=True)
    (stage.workspace / "left").write_text("x")
    ingredients = Ingredients(
        name="number", version=1, entry="a:b", config={}, literals={}, identity={}, packages={}, inputs={}
    )
    done = Done(
        key=KEY, kind="number", digest=NEW, ingredients=ingredients, attempts=1, wall_s=1.0, finished="2026-01-01"
    )

    def finish() -> None:
        stage.record_done(done)
        stage.clean()

    return finish


def _check_finished(folder: Path, whole: bool) -> None:
    stage = StageFolder(folder / "stages" / "number" / KEY)
    done = stage.done()
    if whole:
        assert done is not None
        assert not stage.workspace.exists()
    elif done is None:
        assert (stage.workspace / "left").read_text() == "x", "work was dropped before its result was on record"


Check = Callable[[Path, bool], None]
PATHS: dict[str, tuple[Callable[[Path], Operation], Check]] = {
    "write": (_write, _check_write),
    "publish": (_publish, _check_object),
    "publish moved files": (_publish_moved, _check_object),
    "repair": (_repair, _check_object),
    "first move": (_first_move, _check_moved),
    "second move": (_second_move, _check_moved),
    "finish a stage": (_finish, _check_finished),
}


@pytest.mark.parametrize("name", PATHS)
def test_every_fault_at_every_call_leaves_the_old_or_the_new(name: str, tmp_path: Path) -> None:
    prepare, check = PATHS[name]
    trials = sweep(prepare, check, tmp_path)
    assert trials >= 3 * 4, f"only {trials} trials: the calls of {name} were not seen"


@pytest.mark.parametrize("name", PATHS)
def test_what_is_renamed_into_place_was_flushed_before(name: str, tmp_path: Path) -> None:
    calls = calls_of(PATHS[name][0](tmp_path), tmp_path / "calls")
    assert any(call == "write" for call, _ in calls) or name == "publish moved files"
    assert renamed_unflushed(calls) == []


def test_the_sweep_finds_a_writer_in_place(tmp_path: Path) -> None:
    """The test of the test: a file that is written where it lies is caught by a kill in the middle."""

    def careless(folder: Path) -> Operation:
        (folder / "value.json").write_text('"old"')
        return lambda: (folder / "value.json").write_text('"new"')

    with pytest.raises(ValueError, match=r"Expecting value|Unterminated string"):
        sweep(careless, _check_write, tmp_path)


def test_a_rename_without_a_flush_is_named(tmp_path: Path) -> None:
    def careless() -> None:
        (tmp_path / "aside").write_text("new")
        os.replace(tmp_path / "aside", tmp_path / "value")

    assert renamed_unflushed(calls_of(careless, tmp_path / "calls")) == [str(tmp_path / "aside")]
