"""Readers while others publish and collect garbage: they see what was, or what is, and never half of either."""

import multiprocessing
import time
from pathlib import Path
from threading import Event

import pytest

from infra.store import ObjectMissing, Store
from tasks.housekeeping import collect_garbage
from tasks.releases import CANDIDATE

pytestmark = pytest.mark.slow

NUM_WRITERS, NUM_READERS = 2, 3
VERSIONS = 40
"""Of each writer."""
KEEP_S = 4.0
DAY_S = 86_400
FILES = 20


def _write(base: Path, work: Path, name: str) -> int:
    """Version after version of a bundle, each of files that all say which it is."""
    store = Store(base)
    before = None
    for version in range(VERSIONS):
        folder = work / f"{name}-{version}"
        folder.mkdir()
        for number in range(FILES):
            (folder / f"{number}.txt").write_text(f"{name} {version}")
        ref = store.publish_object(folder, "bundle")
        before = store.refs.move(CANDIDATE, name, "bundle", ref.digest, expected=before).digest
        time.sleep(0.1)
    return VERSIONS


def _read(base: Path, over: Event) -> tuple[int, int]:
    """Reads what each name stands for until the writers are done; how often whole, how often it had just gone."""
    store = Store(base)
    whole = gone = 0
    last: dict[str, int] = {}
    while not over.is_set():
        for name in store.refs.names(CANDIDATE):
            pointed = store.refs.read(CANDIDATE, name)
            assert pointed is not None
            assert pointed.generation >= last.get(name, 0), "went back in time"
            last[name] = pointed.generation
            ref = store.object(pointed.kind, pointed.digest)
            try:
                manifest = store.verify(ref)
                said = {(ref.path / entry.path).read_text() for entry in manifest.files}
            except (ObjectMissing, FileNotFoundError):
                now = store.refs.read(CANDIDATE, name)
                assert now is not None
                assert now.generation > pointed.generation, "what a name stands for was not there"
                gone += 1
                continue
            assert len(said) == 1
            assert len(manifest.files) == FILES
            whole += 1
        for ref, _ in store.objects():  # those that are about to go as well
            try:
                assert len(store.verify(ref).files) == FILES
            except ObjectMissing:
                gone += 1
    return whole, gone


def _collect(base: Path, over: Event) -> int:
    store = Store(base)
    removed = 0
    while not over.is_set():
        lines = list(collect_garbage(store, KEEP_S / DAY_S, delete=True))
        removed += sum(line.startswith("object ") for line in lines)
    return removed


def test_readers_meet_no_half_of_anything(tmp_path: Path) -> None:
    base = tmp_path / "store"
    (tmp_path / "work").mkdir()
    context = multiprocessing.get_context("fork")
    with context.Manager() as manager, context.Pool(NUM_WRITERS + NUM_READERS + 1) as pool:
        over = manager.Event()
        readers = [pool.apply_async(_read, (base, over)) for _ in range(NUM_READERS)]
        collector = pool.apply_async(_collect, (base, over))
        writers = [pool.apply_async(_write, (base, tmp_path / "work", f"model-{n}")) for n in range(NUM_WRITERS)]
        try:
            assert [writer.get(300) for writer in writers] == [VERSIONS] * NUM_WRITERS
            time.sleep(1.5 * KEEP_S)
        finally:
            over.set()
        read = [reader.get(60) for reader in readers]
        removed = collector.get(60)
    print(f"whole and gone: {read}, removed: {removed}")
    assert all(whole > 0 for whole, _ in read)
    assert removed > NUM_WRITERS, "nothing was collected under their eyes"
    store = Store(base)
    moves = store.refs.log(CANDIDATE)
    assert len(moves) == NUM_WRITERS * VERSIONS
    for name in store.refs.names(CANDIDATE):
        last = store.refs.read(CANDIDATE, name)
        assert last is not None
        store.verify(store.object(last.kind, last.digest))
