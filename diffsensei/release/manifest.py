"""``manifest.json`` of a bundle: every file with its size and sha256, so that a copy can be trusted or refused."""

import hashlib
from pathlib import Path

from pydantic import ValidationError

from diffsensei.config.base import Config

MANIFEST = "manifest.json"
CERTIFICATION = "certification"
"""Folder of a published bundle that holds its certificate, made after it and covered by digests of its own."""
_BLOCK = 2**20


class BundleFile(Config):
    path: str
    """Relative to the bundle, with forward slashes."""
    size: int
    sha256: str


class BundleManifest(Config):
    name: str
    version: str
    files: tuple[BundleFile, ...]


def write_manifest(bundle: Path, name: str, version: str) -> None:
    """Record every file in ``bundle``. Written last: what has a manifest is whole."""
    files = [
        BundleFile(path=path.relative_to(bundle).as_posix(), size=path.stat().st_size, sha256=file_sha256(path))
        for path in _files(bundle)
    ]
    manifest = BundleManifest(name=name, version=version, files=tuple(files))
    (bundle / MANIFEST).write_text(manifest.model_dump_json(indent=1) + "\n")


def read_manifest(bundle: Path) -> BundleManifest:
    """The manifest as it lies in ``bundle``, unchecked. Raises ValueError where there is none."""
    path = bundle / MANIFEST
    if not path.is_file():
        raise ValueError(f"{bundle} is no bundle: {MANIFEST} is missing; build it again")
    try:
        return BundleManifest.model_validate_json(path.read_text())
    except ValidationError as error:
        raise ValueError(f"{path} cannot be read ({error.errors()[0]['msg']}); build the bundle again") from None


def check_manifest(bundle: Path) -> BundleManifest:
    """The manifest, once every file in ``bundle`` is as it says. Raises ValueError naming the first that is not."""
    manifest = read_manifest(bundle)
    listed = {entry.path: entry for entry in manifest.files}
    present = {path.relative_to(bundle).as_posix(): path for path in _files(bundle)}
    for name in sorted(listed.keys() | present.keys()):
        if name not in present:
            raise ValueError(f"bundle {bundle}: {name} is missing; copy or build the bundle again")
        if name not in listed:
            raise ValueError(f"bundle {bundle}: {name} is not in the manifest; remove it or build the bundle again")
        found = file_sha256(present[name])
        if found != listed[name].sha256:
            raise ValueError(
                f"bundle {bundle}: {name} has sha256 {found[:12]}, the manifest says {listed[name].sha256[:12]}; "
                "copy or build the bundle again"
            )
    return manifest


def file_sha256(path: Path) -> str:
    """64 hex digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def _files(bundle: Path) -> list[Path]:
    apart = bundle / CERTIFICATION
    return sorted(
        path for path in bundle.rglob("*") if path.is_file() and path != bundle / MANIFEST and apart not in path.parents
    )
