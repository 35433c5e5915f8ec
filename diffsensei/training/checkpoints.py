"""Checkpoints that survive a crash at any moment: written beside, verified by digest, committed by a rename.

A checkpoint is a folder ``step-<n>`` of safetensors files, ``state.json`` and, written last, ``manifest.json`` with the
sha256 of the others. Saving goes into a temporary folder on the same file system: files are flushed to disk, then the
manifest, then the folder gets its name. Nothing is unpickled when loading.

Where each process holds a part of the tensors, each writes, flushes and digests its own files; the first one then
commits them all. A run in parts can go on from whole tensors, and the other way round.
"""

import hashlib
import json
import logging
import os
import shutil
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor
from torch.distributed.device_mesh import DeviceMesh

from diffsensei.durable import flush
from diffsensei.training.checkpoint_tensors import read_groups, write_group
from diffsensei.training.ranks import Ranks

KEPT = 2
"""Valid checkpoints kept: the newest, and one to fall back on."""
MANIFEST, STATE = "manifest.json", "state.json"

logger = logging.getLogger(__name__)


class Checkpoint(NamedTuple):
    """What is saved: named groups of tensors (weights, optimizer state) and a small JSON state."""

    step: int
    tensors: dict[str, dict[str, Tensor]]
    state: dict[str, Any]


class CheckpointFolder:
    """The checkpoints under ``folder``, which one process writes or, of tensors in parts, all those of ``mesh``.

    The latter, which must talk over the CPU, call each method together.
    """

    def __init__(self, folder: Path, mesh: DeviceMesh | None = None) -> None:
        self._folder = folder
        self.mesh = mesh
        self._ranks = Ranks(mesh)
        self._verified: set[int] = set()
        """Steps this process wrote or checked: their digests are not taken again when retiring."""

    def save(self, checkpoint: Checkpoint) -> None:
        """Commit ``checkpoint``, then remove all but the newest valid ones. On failure the earlier ones stay."""
        temporary = self._ranks.first(lambda: self._begin(checkpoint.step))
        written = self._ranks.together(lambda: self._write(checkpoint, temporary))
        files = {name: entry for entries in written for name, entry in entries.items()}
        self._ranks.first(lambda: self._commit(checkpoint, temporary, files))
        self._verified.add(checkpoint.step)
        self._ranks.first(self._retire)

    def load_newest(self) -> Checkpoint | None:
        """The newest checkpoint whose files match its manifest; damaged ones are skipped loudly. None without any."""
        for step in self._ranks.first(self._steps):
            found = self._ranks.together(lambda step=step: self._damage(step, self._ranks.rank, self._ranks.size))  # type: ignore[misc]
            damage = "; ".join(filter(None, found))
            if damage:
                logger.error("checkpoint %s is damaged (%s): falling back to the one before", self._path(step), damage)
                continue
            self._verified.add(step)
            return self._read(step)
        return None

    def _begin(self, step: int) -> Path:
        """An empty folder to write into."""
        self._folder.mkdir(parents=True, exist_ok=True)
        self._remove_unfinished()
        temporary = self._folder / f"{self._path(step).name}.tmp-{os.getpid()}"
        temporary.mkdir()
        return temporary

    def _write(self, checkpoint: Checkpoint, temporary: Path) -> dict[str, dict[str, Any]]:
        """Write and flush what this process has of the tensors; manifest entries by name below ``temporary``."""
        paths = [
            path
            for group, tensors in checkpoint.tensors.items()
            for path in write_group(temporary, group, tensors, self.mesh)
        ]
        for path in paths:
            flush(path)
        return {str(path.relative_to(temporary)): _entry(path) for path in paths}

    def _commit(self, checkpoint: Checkpoint, temporary: Path, files: dict[str, dict[str, Any]]) -> None:
        """Add state and manifest to the tensors' ``files``, and give the folder its name."""
        state, manifest = temporary / STATE, temporary / MANIFEST
        state.write_text(json.dumps(checkpoint.state))
        flush(state)
        files = files | {STATE: _entry(state)}
        manifest.write_text(json.dumps({"step": checkpoint.step, "files": files}, indent=1))
        flush(manifest)
        for folder in {temporary, *((temporary / name).parent for name in files)}:
            flush(folder)
        target = self._path(checkpoint.step)
        if target.exists():  # only an invalid one: a valid checkpoint of this step would have been resumed from
            shutil.rmtree(target)
        os.replace(temporary, target)
        flush(self._folder)

    def _read(self, step: int) -> Checkpoint:
        path = self._path(step)
        return Checkpoint(step, read_groups(path, self.mesh), json.loads((path / STATE).read_text()))

    def _steps(self) -> list[int]:
        """Steps of the committed folders, newest first."""
        return sorted(
            (int(path.name.removeprefix("step-")) for path in self._folder.glob("step-????????")), reverse=True
        )

    def _path(self, step: int) -> Path:
        return self._folder / f"step-{step:08d}"

    def _damage(self, step: int, first: int = 0, every: int = 1) -> str | None:
        """What is wrong with the ``first`` file of a checkpoint and ``every`` so many after it; None where nothing."""
        path = self._path(step)
        try:
            manifest = json.loads((path / MANIFEST).read_text())
            for name, entry in list(manifest["files"].items())[first::every]:
                if _entry(path / name) != entry:
                    return f"{name} does not match its digest"
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            return f"{type(error).__name__}: {error}"
        return None

    def _retire(self) -> None:
        """Remove damaged checkpoints and all valid ones but the ``KEPT`` newest."""
        valid = [step for step in self._steps() if step in self._verified or not self._damage(step)]
        for step in set(self._steps()) - set(valid[:KEPT]):
            shutil.rmtree(self._path(step))

    def _remove_unfinished(self) -> None:
        for path in self._folder.glob("step-*.tmp-*"):
            shutil.rmtree(path)


def _entry(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {"bytes": path.stat().st_size, "sha256": digest}
