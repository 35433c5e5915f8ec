"""What the embedded weights are: per file its sha256, per part its recipe and measured quality, and how to rebuild."""

import importlib.metadata
import json
from pathlib import Path
from typing import Any

from diffsensei.config.base import Config
from diffsensei.foundations.locations import file_sha256

MANIFEST = "manifest.json"
MAX_BYTES = 24 * 2**20
"""The embedded weights stay below this."""
REBUILD_COMMAND = "diffsensei run foundations"
_PACKAGES = ("diffusers", "numpy", "opencv-python-headless", "pillow", "tokenizers", "torch", "transformers")


class PartRecord(Config):
    """One trained part: its recipe, its figures on unseen panels and the folders it wrote."""

    recipe: dict[str, Any]
    steps_scale: float
    """Share of the recipe's steps that were taken."""
    folders: tuple[str, ...]
    quality: dict[str, float]


class FileRecord(Config):
    sha256: str
    bytes: int


class Manifest(Config):
    """manifest.json of a folder of foundations; ``files`` by path relative to it."""

    command: str
    packages: dict[str, str]
    parts: dict[str, PartRecord]
    files: dict[str, FileRecord]


def write_manifest(folder: Path, parts: dict[str, PartRecord]) -> Manifest:
    """Describe everything in ``folder`` in its manifest.json."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != MANIFEST)
    files = {
        path.relative_to(folder).as_posix(): FileRecord(sha256=file_sha256(path), bytes=path.stat().st_size)
        for path in paths
    }
    packages = {name: importlib.metadata.version(name) for name in _PACKAGES}
    manifest = Manifest(command=REBUILD_COMMAND, packages=packages, parts=parts, files=files)
    (folder / MANIFEST).write_text(json.dumps(manifest.model_dump(mode="json"), indent=1) + "\n")
    return manifest


def read_manifest(folder: Path) -> Manifest:
    """The manifest of ``folder``. Raises ValueError if it is missing or is not one."""
    path = folder / MANIFEST
    if not path.is_file():
        raise ValueError(f"no {MANIFEST} in {folder}; build the foundations with `{REBUILD_COMMAND}`")
    return Manifest.model_validate_json(path.read_text())


def check_manifest(folder: Path) -> Manifest:
    """`read_manifest`, and every file compared with it. Raises ValueError naming missing, extra and changed files."""
    manifest = read_manifest(folder)
    present = {
        path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file() and path.name != MANIFEST
    }
    wrong = [f"{name} is missing" for name in sorted(manifest.files.keys() - present)]
    wrong += [f"{name} is not in the manifest" for name in sorted(present - manifest.files.keys())]
    for name in sorted(present & manifest.files.keys()):
        if file_sha256(folder / name) != manifest.files[name].sha256:
            wrong.append(f"{name} has other content")
    if wrong:
        raise ValueError(f"{folder}: {'; '.join(wrong)}")
    return manifest
