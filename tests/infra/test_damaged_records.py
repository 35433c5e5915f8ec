"""Records that the disk has changed or will not give: what can be made again is, and nothing is taken for absent.

A file that the disk will not give is a link to ``/proc/self/mem``, whose first byte nobody can read (EIO, for root
too).
"""

import asyncio
import errno
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from infra.execution import execute
from infra.files import RecordDamaged, read_json
from infra.jobs.local import LocalBackend
from infra.plan import make_plan
from infra.refs import Refs
from infra.stage import Action, Stage
from infra.store import ObjectDamaged, Store

NUMBER = Stage(name="negate", version=1, entry="stage_functions:negate", inputs={"number": "multiply"})
MULTIPLY = Stage(
    name="multiply",
    version=1,
    entry="stage_functions:multiply",
    config={"sizes": "sizes"},
    literals={"factor": 2},
)
CONFIG = {"sizes": {"width": 3, "height": 4}}


def _tear(path: Path) -> None:
    path.chmod(0o644)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@contextmanager
def _unreadable(path: Path) -> Iterator[None]:
    aside = path.with_name("aside")
    path.rename(aside)
    path.symlink_to("/proc/self/mem")
    try:
        yield
    finally:
        aside.replace(path)


def _run(store: Store, backend: LocalBackend) -> tuple[Action, Action]:
    async def both() -> tuple[Action, Action]:
        first = await execute(MULTIPLY, MULTIPLY.values(CONFIG), {}, store, backend)
        second = await execute(NUMBER, {}, {"number": first.object}, store, backend)
        return first.action, second.action

    return asyncio.run(both())


def _num_attempts(store: Store) -> dict[str, int]:
    return {folder.name: len(folder.attempts()) for folder in store.stage_folders()}


def test_a_torn_completion_is_done_again_and_what_was_made_of_it_stays(
    store: Store, backend: LocalBackend, caplog: pytest.LogCaptureFixture
) -> None:
    _run(store, backend)
    (folder,) = store.stage_folders("multiply")
    _tear(folder.done_path)
    with caplog.at_level(logging.ERROR):
        assert make_plan([MULTIPLY, NUMBER], CONFIG, store).row("multiply").action is not Action.REUSE
    assert f"multiply is taken for not done: {folder.done_path} is damaged" in caplog.text
    assert _run(store, backend)[1] is Action.REUSE
    assert _num_attempts(store) == {"multiply": 2, "negate": 1}
    assert _run(store, backend) == (Action.REUSE, Action.REUSE)


def test_a_torn_manifest_is_a_damaged_object_and_stops_no_other(store: Store, backend: LocalBackend) -> None:
    _run(store, backend)
    (ref, _), (other, _) = store.objects()
    _tear(ref.manifest_path)
    with pytest.raises(ObjectDamaged, match=r"manifest\.json is no JSON any more"):
        store.verify(ref)
    assert [found for found, _ in store.objects()] == [other]
    _run(store, backend)
    assert [found for found, _ in store.objects()] == [ref, other]
    store.verify(ref)


def test_without_a_readable_record_of_sizes_and_times_every_byte_is_hashed(store: Store, backend: LocalBackend) -> None:
    _run(store, backend)
    for stamp in (store.base / "verified").glob("*/*.json"):
        _tear(stamp)
    assert _run(store, backend) == (Action.REUSE, Action.REUSE)
    for stamp in (store.base / "verified").glob("*/*.json"):
        read_json(stamp)


def test_a_torn_pointer_is_what_the_log_says(tmp_path: Path) -> None:
    refs = Refs(tmp_path)
    for old, new in ((None, "1"), ("1", "2")):
        refs.move("released", "tiny", "bundle", new * 64, expected=None if old is None else old * 64)
    _tear(tmp_path / "released" / "tiny.json")
    found = refs.read("released", "tiny")
    assert found == refs.log("released", "tiny")[-1]
    assert refs.move("released", "tiny", "bundle", "3" * 64, expected="2" * 64).generation == 3
    read_json(tmp_path / "released" / "tiny.json")


def test_a_log_that_is_damaged_inside_stops_with_its_name(tmp_path: Path) -> None:
    refs = Refs(tmp_path)
    for old, new in ((None, "1"), ("1", "2")):
        refs.move("released", "tiny", "bundle", new * 64, expected=None if old is None else old * 64)
    first, second = refs.log_path.read_bytes().splitlines(keepends=True)
    refs.log_path.write_bytes(first[: len(first) // 2] + b"\n" + second)
    with pytest.raises(RecordDamaged, match=r"log\.jsonl is damaged"):
        refs.move("released", "tiny", "bundle", "3" * 64, expected="2" * 64)


def test_a_completion_that_cannot_be_read_is_an_error_and_nothing_is_done_again(
    store: Store, backend: LocalBackend
) -> None:
    """A store that is away or not ours to read must not look like an empty one."""
    _run(store, backend)
    (folder,) = store.stage_folders("multiply")
    with _unreadable(folder.done_path):
        for attempt_at in (lambda: _run(store, backend), lambda: make_plan([MULTIPLY, NUMBER], CONFIG, store)):
            with pytest.raises(OSError, match=os.strerror(errno.EIO)) as seen:
                attempt_at()
            assert seen.value.filename == str(folder.done_path)
    assert _num_attempts(store) == {"multiply": 1, "negate": 1}
    assert _run(store, backend) == (Action.REUSE, Action.REUSE)


@pytest.mark.parametrize(
    ("place", "read"),
    [
        ("objects", lambda store: list(store.objects())),
        ("objects/multiply", lambda store: list(store.objects())),
        ("stages", lambda store: store.stage_folders()),
        ("stages/multiply", lambda store: store.last_done("multiply")),
        ("refs/latest", lambda store: store.refs.names("latest")),
    ],
)
def test_a_folder_that_cannot_be_listed_is_not_an_empty_one(
    store: Store, backend: LocalBackend, monkeypatch: pytest.MonkeyPatch, place: str, read: Callable[[Store], Any]
) -> None:
    """Collected garbage would be what is needed, and a release would rest on nothing that was taken down."""
    _run(store, backend)
    done = store.stage_folders("multiply")[0].done()
    assert done is not None
    store.refs.move("latest", "multiply", done.kind, done.digest, expected=None)
    with monkeypatch.context() as patched:
        for listing in ("listdir", "scandir"):
            patched.setattr(os, listing, _refusing(getattr(os, listing), store.base / place))
        with pytest.raises(PermissionError) as seen:
            read(store)
    assert seen.value.filename == str(store.base / place)


def test_a_result_with_a_folder_that_cannot_be_listed_is_not_stored_without_it(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "result" / "inside").mkdir(parents=True)
    (tmp_path / "result" / "inside" / "file").write_text("content")
    monkeypatch.setattr(os, "scandir", _refusing(os.scandir, tmp_path / "result" / "inside"))
    with pytest.raises(PermissionError):
        store.publish_object(tmp_path / "result", "multiply")


def _refusing(real: Callable[[Any], Any], folder: Path) -> Callable[[Any], Any]:
    def listed(path: Any = ".") -> Any:
        if not isinstance(path, int) and Path(path) == folder:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(folder))
        return real(path)

    return listed
