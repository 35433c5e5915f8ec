import multiprocessing
import os
from pathlib import Path

import pytest

from infra.digest import folder_digest
from infra.manifest import Origin
from infra.store import ObjectDamaged, ObjectMissing, ObjectRef, Store


def _folder(path: Path, **files: str) -> Path:
    path.mkdir(parents=True)
    for name, text in files.items():
        (path / name).write_text(text)
    return path


def _flip_byte(path: Path) -> None:
    path.chmod(0o644)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def test_an_object_is_its_content_and_stays_after_the_source_is_gone(store: Store, tmp_path: Path) -> None:
    source = _folder(tmp_path / "a", one="1", two="22")
    ref = store.publish_object(source, "letters", Origin(config={"a.b": 1}))
    assert ref.digest == folder_digest(source)
    manifest = store.verify(ref)
    assert [(entry.path, entry.size) for entry in manifest.files] == [("one", 1), ("two", 2)]
    assert manifest.config == {"a.b": 1}
    (source / "one").write_text("changed")
    store.verify(ref)
    assert not list((store.base / "tmp").iterdir())


def test_publishing_again_changes_nothing(store: Store, tmp_path: Path) -> None:
    ref = store.publish_object(_folder(tmp_path / "a", one="1"), "letters")
    before = ref.manifest_path.read_bytes()
    assert store.publish_object(_folder(tmp_path / "b", one="1"), "letters") == ref
    assert ref.manifest_path.read_bytes() == before


@pytest.mark.parametrize("full", [True, False])
def test_a_flipped_byte_is_found_and_named(store: Store, tmp_path: Path, full: bool) -> None:
    ref = store.publish_object(_folder(tmp_path / "a", one="1", two="22"), "letters")
    store.verify(ref, full=full)
    _flip_byte(ref.path / "two")
    with pytest.raises(ObjectDamaged, match="two has other bytes") as caught:
        store.verify(ref, full=full)
    assert caught.value.file == "two"


def test_full_verification_finds_what_sizes_and_times_hide(store: Store, tmp_path: Path) -> None:
    ref = store.publish_object(_folder(tmp_path / "a", two="22"), "letters")
    status = (ref.path / "two").stat()
    _flip_byte(ref.path / "two")
    os.utime(ref.path / "two", ns=(status.st_atime_ns, status.st_mtime_ns))
    store.verify(ref, full=False)
    with pytest.raises(ObjectDamaged, match="two"):
        store.verify(ref, full=True)


def test_missing_and_foreign_files_and_a_forged_manifest_are_found(store: Store, tmp_path: Path) -> None:
    ref = store.publish_object(_folder(tmp_path / "a", one="1", two="22"), "letters")
    (ref.path / "three").write_text("3")
    with pytest.raises(ObjectDamaged, match="three was not stored"):
        store.verify(ref)
    (ref.path / "three").unlink()
    (ref.path / "one").unlink()
    with pytest.raises(ObjectDamaged, match="one is missing"):
        store.verify(ref, full=False)
    text = ref.manifest_path.read_text().replace('"size": 1', '"size": 2')
    ref.manifest_path.write_text(text)
    with pytest.raises(ObjectDamaged, match=r"manifest\.json"):
        store.verify(ref)
    with pytest.raises(ObjectMissing):
        store.verify(store.object("letters", "0" * 64))


def test_publishing_over_a_damaged_object_repairs_it(store: Store, tmp_path: Path) -> None:
    source = _folder(tmp_path / "a", one="1", two="22")
    ref = store.publish_object(source, "letters")
    _flip_byte(ref.path / "two")
    assert store.publish_object(source, "letters") == ref
    store.verify(ref)


def test_a_moved_folder_is_not_copied(store: Store, tmp_path: Path) -> None:
    source = _folder(store.base / "out", one="1")
    inode = (source / "one").stat().st_ino
    ref = store.publish_object(source, "letters", move=True)
    assert (ref.path / "one").stat().st_ino == inode


def test_a_half_written_object_does_not_exist(store: Store, tmp_path: Path) -> None:
    """What a kill in the middle of publishing leaves under tmp/ is never seen as an object, nor in the way."""
    child = multiprocessing.get_context("fork").Process(target=_die_while_publishing, args=(store, tmp_path))
    child.start()
    child.join()
    assert child.exitcode == 9
    assert list((store.base / "tmp").iterdir())
    assert not (store.base / "objects").exists()
    store.verify(store.publish_object(tmp_path / "a", "letters"))


def _die_while_publishing(store: Store, tmp_path: Path) -> None:
    source = _folder(tmp_path / "a", one="1")
    store._commit = lambda *_: os._exit(9)  # type: ignore[method-assign]
    store.publish_object(source, "letters")


def _publish_many(base: Path, tmp_path: Path, worker: int) -> list[ObjectRef]:
    store = Store(base)
    refs = []
    for number in range(10):
        own = _folder(tmp_path / f"{worker}-{number}", same=f"content {number}")
        refs.append(store.publish_object(own, "letters"))
        own = _folder(tmp_path / f"{worker}-{number}-own", other=f"content {worker} {number}")
        refs.append(store.publish_object(own, "letters"))
    return refs


def test_eight_processes_publish_at_once(store: Store, tmp_path: Path) -> None:
    with multiprocessing.get_context("fork").Pool(8) as pool:
        lists = pool.starmap(_publish_many, [(store.base, tmp_path, worker) for worker in range(8)])
    refs = {ref for refs in lists for ref in refs}
    assert len(refs) == 10 + 8 * 10
    for ref in refs:
        store.verify(ref)
    assert not list((store.base / "tmp").iterdir())
