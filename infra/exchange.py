"""Versions handed from store to store: a folder of files at any fsspec address, for good once its record stands.

    <target>/<name>/<version>-<digest12>/...   the files
    <target>/<name>/<version>.json             the record, written last and only if there is none: the commit
    <target>/<name>/current/<number>.json      which version the name stands for: the highest number, each made once

Any number may push and point at once, and nothing is replaced. Who loses the race for the record leaves only a folder
that no record names; who loses the race for a number takes the next. Credentials come from the environment or the
machine (as s3fs reads them), never from the address.
"""

import hashlib
import os
import re
import uuid
from collections.abc import Collection, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from fsspec.core import url_to_fs
from pydantic import BaseModel, ConfigDict, ValidationError

from infra.digest import FileEntry, content_digest, file_digest
from infra.manifest import utc_now

CREATES_ONCE = ("file", "s3")
"""Protocols known to create a file only if there is none: by a hard link, by a conditional PUT."""
MAX_RECORD_BYTES = 64 * 2**20
_BLOCK = 2**20
_CURRENT = "current"


class Pushed(BaseModel):
    """The record of a version: ``folder`` is beside it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    version: str
    folder: str
    digest: str
    files: tuple[FileEntry, ...]
    pushed: str
    """ISO 8601, UTC."""


class Pointed(BaseModel):
    """Which version a name stands for; ``number`` counts from 1 how often that changed."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: str
    digest: str
    number: int
    moved: str
    """ISO 8601, UTC."""


def push(files: Mapping[str, Path], target: str, name: str, version: str, *, apart: Collection[str] = ()) -> Pushed:
    """Put ``files`` (relative POSIX path -> local file) at ``target`` as a version; what was pushed, now or before.

    ``apart``: paths that do not make another version where they differ, as signatures do each time.
    Every file is read back before the record is written, and what stands from an interrupted push is not sent again.
    Raises ValueError where the version is there with other content, where a file came back changed, and for an address
    that cannot create a record only once.
    """
    filesystem, root = _open(target)
    entries = tuple(
        FileEntry(path=path, size=source.stat().st_size, sha256=file_digest(source))
        for path, source in sorted(files.items())
    )
    digest = content_digest(entry for entry in entries if entry.path not in apart)
    folder = f"{version}-{digest[:12]}"
    stands = _record(filesystem, root, name, version)
    if stands is None:
        for entry in entries:
            _send(filesystem, files[entry.path], f"{root}/{name}/{folder}/{entry.path}", entry)
        record = Pushed(name=name, version=version, folder=folder, digest=digest, files=entries, pushed=utc_now())
        if _create(filesystem, f"{root}/{name}/{version}.json", record.model_dump_json(indent=1).encode()):
            return record
        stands = _record(filesystem, root, name, version)
        assert stands is not None
    if stands.digest != digest:
        raise ValueError(
            f"{target} has {name} {version} already with other content ({stands.digest[:12]}, not {digest[:12]}); "
            "raise the version"
        )
    return stands


def pull(target: str, name: str, version: str, output: Path) -> Pushed:
    """Bring a version from ``target`` into the new folder ``output``, each file checked by its sha256.

    Raises ValueError where there is no such version, and for a file that is not what its record says.
    """
    filesystem, root = _open(target)
    record = _record(filesystem, root, name, version)
    if record is None:
        known = ", ".join(versions(target, name)) or "none"
        raise ValueError(f"{target} has no {name} {version}; there: {known}")
    if output.exists():
        raise ValueError(f"{output} exists; name a folder that does not")
    staging = output.with_name(f".{output.name}.{uuid.uuid4().hex}")
    for entry in record.files:
        place = staging / entry.path
        place.parent.mkdir(parents=True, exist_ok=True)
        filesystem.get_file(f"{root}/{name}/{record.folder}/{entry.path}", str(place))
        if file_digest(place) != entry.sha256:
            raise ValueError(f"{entry.path} of {name} {version} came damaged from {target}; pull it again")
    os.rename(staging, output)
    return record


def versions(target: str, name: str) -> list[str]:
    """The versions of ``name`` at ``target``, sorted as text."""
    filesystem, root = _open(target)
    try:
        found = filesystem.ls(f"{root}/{name}", detail=False)
    except FileNotFoundError:
        return []
    names = (PurePosixPath(path) for path in found)
    return sorted(path.stem for path in names if path.suffix == ".json" and not path.name.startswith("."))


def point(target: str, name: str, version: str) -> Pointed:
    """Let ``name`` stand for ``version`` at ``target``; a no-op where it does. Raises ValueError if it is not there."""
    filesystem, root = _open(target)
    record = _record(filesystem, root, name, version)
    if record is None:
        raise ValueError(f"{target} has no {name} {version}; push it first")
    while True:
        last = current(target, name)
        if last is not None and last.digest == record.digest:
            return last
        number = 1 if last is None else last.number + 1
        moved = Pointed(version=version, digest=record.digest, number=number, moved=utc_now())
        filesystem.makedirs(f"{root}/{name}/{_CURRENT}", exist_ok=True)
        path = f"{root}/{name}/{_CURRENT}/{number:08d}.json"
        if _create(filesystem, path, moved.model_dump_json(indent=1).encode()):
            return moved


def current(target: str, name: str) -> Pointed | None:
    """The version that ``name`` stands for at ``target``; None where nobody said. Raises ValueError."""
    filesystem, root = _open(target)
    try:
        found = filesystem.ls(f"{root}/{name}/{_CURRENT}", detail=False)
    except FileNotFoundError:
        return None
    numbered = [path for path in found if re.fullmatch(r"\d{8}\.json", PurePosixPath(path).name)]
    if not numbered:
        return None
    path = max(numbered, key=lambda path: PurePosixPath(path).name)
    try:
        return Pointed.model_validate_json(filesystem.cat_file(path))
    except ValidationError as error:
        raise ValueError(f"{path} does not say which version is current: {error.errors()[0]['msg']}") from None


def _open(target: str) -> tuple[Any, str]:
    protocol = target.partition("://")[0] if "://" in target else "file"
    if protocol not in CREATES_ONCE:
        raise ValueError(
            f"cannot publish to {protocol}: two writers could take one version; use a folder or s3://bucket/prefix"
        )
    if re.match(r"[a-z0-9]+://[^/]*@", target):
        raise ValueError("an address must not hold credentials; put them into the environment (AWS_ACCESS_KEY_ID, ...)")
    try:
        filesystem, root = url_to_fs(target)
    except ImportError:
        raise ValueError(f"{protocol}: needs a package; install with `pip install 'diffsensei-pipeline[s3]'`") from None
    filesystem.invalidate_cache()
    return filesystem, root.rstrip("/")


def _record(filesystem: Any, root: str, name: str, version: str) -> Pushed | None:
    for part in (name, version):
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", part):
            raise ValueError(f"{part!r} cannot name a version: use letters, digits, dot, dash and underscore")
    path = f"{root}/{name}/{version}.json"
    try:
        with filesystem.open(path, "rb") as stream:
            content = stream.read(MAX_RECORD_BYTES)
    except FileNotFoundError:
        return None
    try:
        record = Pushed.model_validate_json(content)
    except ValidationError as error:
        raise ValueError(f"{path} is no record of a version: {error.errors()[0]['msg']}") from None
    for inside in (record.folder, *(entry.path for entry in record.files)):
        parts = inside.split("/")
        if inside.startswith(("/", "~")) or "\\" in inside or any(part in ("", ".", "..") for part in parts):
            raise ValueError(f"{path} names {inside!r}, which may lie outside its folder; do not use it")
    return record


def _send(filesystem: Any, source: Path, place: str, entry: FileEntry) -> None:
    """Put the file there unless it stands, and read it back."""
    if not (filesystem.exists(place) and _digest(filesystem, place) == entry.sha256):
        filesystem.makedirs(place.rpartition("/")[0], exist_ok=True)
        filesystem.put_file(str(source), place)
        if _digest(filesystem, place) != entry.sha256:
            raise ValueError(f"{entry.path} came back changed from {place}; push again")


def _digest(filesystem: Any, place: str) -> str:
    digest = hashlib.sha256()
    with filesystem.open(place, "rb") as stream:
        while block := stream.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def _create(filesystem: Any, path: str, content: bytes) -> bool:
    """Write ``path`` whole if there is no such file; False if there is."""
    try:
        if "file" in filesystem.protocol:
            aside = Path(path).with_name(f".{Path(path).name}.{uuid.uuid4().hex}")
            try:
                with aside.open("wb") as stream:
                    stream.write(content)
                    stream.flush()
                    os.fsync(stream.fileno())
                os.link(aside, path)
            finally:
                aside.unlink(missing_ok=True)
        else:
            filesystem.pipe_file(path, content, mode="create")
    except FileExistsError:
        return False
    except OSError as error:
        if "PreconditionFailed" in str(error) or "412" in str(error):
            return False
        raise
    return True
