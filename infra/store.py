"""The artifact store: objects named by their content, committed whole, verified before they are used again.

    objects/<kind>/<aa>/<digest>/{manifest.json, files/}   immutable; the rename that makes it appear is the commit
    stages/<name>/<key>/                                   `StageFolder`: done.json, claim, workspace/, attempts/
    refs/                                                  `Refs`: names that move
    verified/<kind>/<digest>.json                          sizes and times as last hashed: cheap verification
    tmp/                                                   objects being assembled

All of it is on one filesystem (POSIX). Any number of processes may publish at once.
"""

import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from infra.digest import content_digest, file_digest, file_entries, list_files
from infra.files import RecordDamaged, children, read_json, sync, sync_tree, write_json
from infra.manifest import Manifest, Origin
from infra.refs import Refs
from infra.stage_folder import Done, StageFolder


class ObjectRef(BaseModel):
    """An object of this store: ``path`` is the folder of its files, the manifest lies beside it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: str
    digest: str
    path: Path

    @property
    def manifest_path(self) -> Path:
        """``manifest.json`` of the object."""
        return self.path.parent / "manifest.json"


class ObjectMissing(LookupError):
    """The store has no object of that kind and digest."""


class ObjectDamaged(RuntimeError):
    """A stored object is not what its manifest says; ``file`` is the first path that differs."""

    def __init__(self, ref: ObjectRef, file: str, trouble: str) -> None:
        super().__init__(f"{ref.kind} {ref.digest[:12]}: {file} {trouble}; it will not be used (stored in {ref.path})")
        self.ref = ref
        self.file = file


class Store:
    """The store in the folder ``base``, which need not exist yet."""

    def __init__(self, base: Path) -> None:
        self.base = base.absolute()
        self.refs = Refs(self.base / "refs")

    # ------------------------------------------------------------ objects

    def object(self, kind: str, digest: str) -> ObjectRef:
        """The reference to an object, stored or not."""
        return ObjectRef(kind=kind, digest=digest, path=self.base / "objects" / kind / digest[:2] / digest / "files")

    def manifest(self, ref: ObjectRef) -> Manifest:
        """The manifest of a stored object. Raises ObjectMissing or ObjectDamaged."""
        try:
            value = read_json(ref.manifest_path)
        except RecordDamaged:
            raise ObjectDamaged(ref, "manifest.json", "is no JSON any more") from None
        if value is None:
            raise ObjectMissing(f"no {ref.kind} {ref.digest} in {self.base}")
        try:
            manifest = Manifest.model_validate(value)
        except ValidationError as error:
            raise ObjectDamaged(ref, "manifest.json", f"cannot be read: {error.errors()[0]['msg']}") from None
        if content_digest(manifest.files) != ref.digest or manifest.digest != ref.digest or manifest.kind != ref.kind:
            raise ObjectDamaged(ref, "manifest.json", "does not describe the object it lies in")
        return manifest

    def publish_object(self, folder: Path, kind: str, origin: Origin | None = None, *, move: bool = False) -> ObjectRef:
        """Store the files of ``folder`` as an object, or find that it is stored already.

        ``move``: the caller gives the files up, so they are linked instead of copied; ``folder`` itself is left for
        the caller to remove. Raises ValueError when ``folder`` holds links or special files.
        """
        staging = self._staging()
        try:
            _transfer(folder, staging / "files", link=move)
            entries = file_entries(staging / "files")
            ref = self.object(kind, content_digest(entries))
            if not self._stands(ref):
                fields = dict(origin or Origin())
                manifest = Manifest(**fields, kind=kind, digest=ref.digest, files=entries)
                self._commit(staging, ref, manifest)
            return ref
        finally:
            shutil.rmtree(staging, ignore_errors=True)

    def verify(self, ref: ObjectRef, *, full: bool = True) -> Manifest:
        """Check the object against its manifest and return it.

        ``full`` hashes every byte; otherwise files whose size and time are those of the last verification are
        trusted. Raises ObjectMissing, or ObjectDamaged naming the file.
        """
        manifest = self.manifest(ref)
        try:
            self._compare(ref, manifest, {} if full else self._stamps(ref))
        except ObjectDamaged:
            self.manifest(ref)  # one that is being removed is missing: its manifest goes with the rest, at once
            raise
        return manifest

    def _compare(self, ref: ObjectRef, manifest: Manifest, stamps: dict[str, list[int]]) -> None:
        expected = {entry.path: entry for entry in manifest.files}
        seen: dict[str, list[int]] = {}
        try:
            present = list_files(ref.path)
        except FileNotFoundError:
            raise ObjectDamaged(ref, "files", "are missing") from None
        except ValueError as error:
            raise ObjectDamaged(ref, "files", f"hold what was not stored: {error}") from None
        for path in present:
            name = path.relative_to(ref.path).as_posix()
            entry = expected.pop(name, None)
            if entry is None:
                raise ObjectDamaged(ref, name, "was not stored with it")
            try:
                status = path.stat()
                seen[name] = [status.st_size, status.st_mtime_ns]
                if status.st_size != entry.size:
                    raise ObjectDamaged(ref, name, f"has {status.st_size} bytes, expected {entry.size}")
                if stamps.get(name) != seen[name] and file_digest(path) != entry.sha256:
                    raise ObjectDamaged(ref, name, "has other bytes than were stored")
            except FileNotFoundError:
                raise ObjectDamaged(ref, name, "is missing") from None
        if expected:
            raise ObjectDamaged(ref, min(expected), "is missing")
        if stamps != seen:
            self._stamp(ref, seen)

    def objects(self) -> Iterator[tuple[ObjectRef, Manifest]]:
        """Every stored object with a readable manifest, sorted by kind and digest; bytes are not looked at."""
        for kind in children(self.base / "objects"):
            for folder in (each for prefix in children(kind) for each in children(prefix)):
                ref = self.object(kind.name, folder.name)
                with suppress(ObjectMissing, ObjectDamaged):  # removed or damaged meanwhile
                    yield ref, self.manifest(ref)

    # ------------------------------------------------------------ stages

    def stage_folder(self, name: str, key: str) -> StageFolder:
        """The folder of a stage under a key; it need not exist."""
        return StageFolder(self.base / "stages" / name / key)

    def finished(self, folder: StageFolder) -> ObjectRef | None:
        """The result of a finished stage, cheaply verified; None while it is not done.

        Raises ObjectMissing or ObjectDamaged when it was done and the result is no longer whole.
        """
        done = folder.done()
        if done is None:
            return None
        ref = self.object(done.kind, done.digest)
        self.verify(ref, full=False)
        return ref

    def last_done(self, name: str) -> Done | None:
        """The most recent completion of the stage under any key."""
        found = [folder.done() for folder in self.stage_folders(name)]
        return max((done for done in found if done), key=lambda done: done.finished, default=None)

    def stage_folders(self, name: str | None = None) -> list[StageFolder]:
        """Every key that stage ``name`` (all stages by default) was ever begun under."""
        stages = children(self.base / "stages") if name is None else [self.base / "stages" / name]
        return [StageFolder(path) for stage in stages for path in children(stage) if path.is_dir()]

    # ------------------------------------------------------------ inside

    def _staging(self) -> Path:
        staging = self.base / "tmp" / uuid.uuid4().hex
        staging.mkdir(parents=True)
        return staging

    def _stands(self, ref: ObjectRef) -> bool:
        """Whether the object is stored and whole; a damaged one is put aside to make room."""
        try:
            self.verify(ref, full=False)
        except ObjectMissing:
            return False
        except ObjectDamaged:
            aside = self.base / "damaged" / f"{ref.kind}-{ref.digest}-{uuid.uuid4().hex[:8]}"
            aside.parent.mkdir(exist_ok=True)
            with suppress(FileNotFoundError):  # another publisher put it aside
                os.rename(ref.path.parent, aside)
            return False
        return True

    def _commit(self, staging: Path, ref: ObjectRef, manifest: Manifest) -> None:
        for entry in manifest.files:
            (staging / "files" / entry.path).chmod(0o444)
        sync_tree(staging / "files")
        write_json(staging / "manifest.json", manifest.model_dump(mode="json", by_alias=True))
        target = ref.path.parent
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.rename(staging, target)
        except OSError:
            if not target.exists():
                raise
            self.verify(ref, full=False)  # another publisher of the same content came first
            return
        sync(target.parent)
        stats = {entry.path: (ref.path / entry.path).stat() for entry in manifest.files}
        self._stamp(ref, {name: [status.st_size, status.st_mtime_ns] for name, status in stats.items()})

    def _stamp_path(self, ref: ObjectRef) -> Path:
        return self.base / "verified" / ref.kind / f"{ref.digest}.json"

    def _stamps(self, ref: ObjectRef) -> dict[str, list[int]]:
        """Sizes and times as last hashed; without a readable record every byte is hashed again."""
        with suppress(RecordDamaged):
            return read_json(self._stamp_path(ref)) or {}
        return {}

    def _stamp(self, ref: ObjectRef, seen: dict[str, list[int]]) -> None:
        path = self._stamp_path(ref)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, seen)


def _transfer(source: Path, target: Path, *, link: bool) -> None:
    target.mkdir()
    for path in list_files(source):
        place = target / path.relative_to(source)
        place.parent.mkdir(parents=True, exist_ok=True)
        if link:
            try:
                os.link(path, place)
                continue
            except OSError:
                pass  # another filesystem, or one without hard links
        shutil.copyfile(path, place)
