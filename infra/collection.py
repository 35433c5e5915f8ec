"""What a store need not keep: results that nothing named was made from, and what crashes left behind.

Only what is older than a given age goes, and nothing while a job runs: a run that is about to reuse a result holds
no lock on it.
"""

import os
import shutil
import stat
import time
import uuid
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from infra.lineage import Lineage
from infra.stage_folder import StageFolder
from infra.store import ObjectRef, Store

LEFT_BEHIND = ("tmp", "damaged")
"""Folders of a store that hold what a crash cut off, and what was found damaged."""


@dataclass(frozen=True)
class Garbage:
    """What may go."""

    objects: tuple[ObjectRef, ...]
    stages: tuple[StageFolder, ...]
    """Keys whose result goes too, and keys that were begun and never finished."""
    left_behind: tuple[Path, ...]

    def num_bytes(self) -> int:
        """Bytes on disk; files that are linked from elsewhere count as well."""
        folders = [ref.path.parent for ref in self.objects] + [stage.path for stage in self.stages]
        folders += self.left_behind
        return sum(state.st_size for folder in folders for state in _states(folder) if not stat.S_ISDIR(state.st_mode))


def find_garbage(store: Store, roots: Iterable[ObjectRef], keep_days: float) -> Garbage:
    """What no root was made from and is older than ``keep_days``. Raises ValueError while a job runs in the store."""
    live = [stage.name for stage in store.stage_folders() if any(attempt.is_live() for attempt in stage.attempts())]
    if live:
        raise ValueError(f"stage {live[0]} is running in {store.base}; collect garbage when nothing runs")
    lineage = Lineage(store)
    kept = {ref for root in roots for ref in lineage.upstream(root)}
    before = datetime.now(UTC) - timedelta(days=keep_days)
    objects = tuple(
        ref
        for ref, manifest in lineage.manifests.items()
        if ref not in kept and datetime.fromisoformat(manifest.created) < before
    )
    going = set(objects)
    stages = []
    for stage in store.stage_folders():
        done = stage.done()
        if done is None:
            old = _age_days(stage.path) > keep_days
        else:
            ref = store.object(done.kind, done.digest)
            old = ref in going or (ref not in lineage.manifests and _age_days(stage.path) > keep_days)
        if old:
            stages.append(stage)
    left = [path for name in LEFT_BEHIND for path in sorted((store.base / name).glob("*"))]
    return Garbage(objects, tuple(stages), tuple(path for path in left if _age_days(path) > keep_days))


def remove_garbage(store: Store, garbage: Garbage) -> None:
    """Remove it: records first, so that no stage claims a result that is gone; each folder at once."""
    for stage in garbage.stages:
        _remove(store, stage.path)
    for ref in garbage.objects:
        (store.base / "verified" / ref.kind / f"{ref.digest}.json").unlink(missing_ok=True)
        _remove(store, ref.path.parent)
    for path in garbage.left_behind:
        shutil.rmtree(path, ignore_errors=True)


def _remove(store: Store, folder: Path) -> None:
    aside = store.base / "tmp" / uuid.uuid4().hex
    aside.parent.mkdir(exist_ok=True)
    os.rename(folder, aside)
    shutil.rmtree(aside)


def _age_days(path: Path) -> float:
    """Since the newest change in ``path``; 0 for what has just gone."""
    now = time.time()
    return (now - max((state.st_mtime for state in _states(path)), default=now)) / 86_400


def _states(path: Path) -> Iterator[os.stat_result]:
    """Of ``path`` and everything below, as far as it is still there: others publish meanwhile."""
    with suppress(FileNotFoundError):
        yield path.lstat()
        for each in path.rglob("*"):
            with suppress(FileNotFoundError):
                yield each.lstat()
