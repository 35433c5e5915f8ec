"""The store's upkeep as people use it."""

import os
from pathlib import Path

from infra.store import ObjectRef, Store
from tasks.housekeeping import check_store, collect_garbage


def _object(store: Store, folder: Path) -> ObjectRef:
    folder.mkdir()
    (folder / "file").write_text(folder.name)
    return store.publish_object(folder, "letters")


def test_a_bit_that_flipped_unseen_is_found(tmp_path: Path) -> None:
    """Size and time are as they were, so a run would trust the file."""
    store = Store(tmp_path / "store")
    ref = _object(store, tmp_path / "one")
    _object(store, tmp_path / "two")
    assert list(check_store(store)) == [(True, "2 objects whole (0 MiB), 0 damaged")]
    path = ref.path / "file"
    status = path.stat()
    path.chmod(0o644)
    path.write_text("onf")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    store.verify(ref, full=False)
    (first, told), last = check_store(store)
    assert not first
    assert "file has other bytes than were stored" in told
    assert last == (False, "1 objects whole (0 MiB), 1 damaged")


def test_every_release_there_was_is_kept_and_a_candidate_that_was_replaced_is_not(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    first, second, third = (_object(store, tmp_path / name) for name in ("first", "second", "third"))
    for channel, old, new in (("released", first, second), ("candidate", third, second)):
        store.refs.move(channel, "tiny", "letters", old.digest, expected=None)
        store.refs.move(channel, "tiny", "letters", new.digest, expected=old.digest)
    told = list(collect_garbage(store, 0, delete=False))
    assert told == [f"object letters {third.digest[:12]}", "0 MiB may go; `--delete` removes them"]
    assert list(collect_garbage(store, 0, delete=True))[-1] == "removed 0 MiB"
    store.verify(first)
    store.verify(second)
