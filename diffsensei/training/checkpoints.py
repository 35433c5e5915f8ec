"""Checkpoints that survive a crash at any moment: written beside, verified by digest, committed by a rename.

A checkpoint is a folder ``step-<n>`` of safetensors files, ``state.json`` and, written last, ``manifest.json`` with the
sha256 of the others. Saving goes into a temporary folder on the same file system: files are flushed to disk, then the
manifest, then the folder gets its name. Nothing is unpickled when loading.
"""

import hashlib
import json
import logging
import os
import shutil
from pathlib import Path
from typing import Any, NamedTuple

from safetensors.torch import load_file, save_file
from torch import Tensor

from diffsensei.durable import flush

KEPT = 2
"""Valid checkpoints kept: the newest, and one to fall back on."""
MANIFEST = "manifest.json"

logger = logging.getLogger(__name__)


class Checkpoint(NamedTuple):
    """What is saved: named groups of tensors (weights, optimizer state) and a small JSON state."""

    step: int
    tensors: dict[str, dict[str, Tensor]]
    state: dict[str, Any]


class CheckpointFolder:
    """The checkpoints under ``folder``, which only one process writes."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._verified: set[int] = set()
        """Steps this process wrote or checked: their digests are not taken again when retiring."""

    def save(self, checkpoint: Checkpoint) -> None:
        """Commit ``checkpoint``, then remove all but the newest valid ones. On failure the earlier ones stay."""
        self._folder.mkdir(parents=True, exist_ok=True)
        self._remove_unfinished()
        target = self._path(checkpoint.step)
        temporary = self._folder / f"{target.name}.tmp-{os.getpid()}"
        temporary.mkdir()
        for group, tensors in checkpoint.tensors.items():
            save_file(tensors, temporary / f"{group}.safetensors")
        (temporary / "state.json").write_text(json.dumps(checkpoint.state))
        files = {path.name: _entry(path) for path in sorted(temporary.iterdir())}
        for name in files:
            flush(temporary / name)
        manifest = temporary / MANIFEST
        manifest.write_text(json.dumps({"step": checkpoint.step, "files": files}, indent=1))
        flush(manifest)
        flush(temporary)
        if target.exists():  # only an invalid one: a valid checkpoint of this step would have been resumed from
            shutil.rmtree(target)
        os.replace(temporary, target)
        flush(self._folder)
        self._verified.add(checkpoint.step)
        self._retire()

    def load_newest(self) -> Checkpoint | None:
        """The newest checkpoint whose files match its manifest; damaged ones are skipped loudly. None without any."""
        for step in self._steps():
            damage = self._damage(step)
            if damage:
                logger.error("checkpoint %s is damaged (%s): falling back to the one before", self._path(step), damage)
                continue
            self._verified.add(step)
            return self._read(step)
        return None

    def _read(self, step: int) -> Checkpoint:
        path = self._path(step)
        tensors = {file.stem: load_file(file) for file in sorted(path.glob("*.safetensors"))}
        return Checkpoint(step, tensors, json.loads((path / "state.json").read_text()))

    def _steps(self) -> list[int]:
        """Steps of the committed folders, newest first."""
        return sorted(
            (int(path.name.removeprefix("step-")) for path in self._folder.glob("step-????????")), reverse=True
        )

    def _path(self, step: int) -> Path:
        return self._folder / f"step-{step:08d}"

    def _damage(self, step: int) -> str | None:
        path = self._path(step)
        try:
            manifest = json.loads((path / MANIFEST).read_text())
            for name, entry in manifest["files"].items():
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
