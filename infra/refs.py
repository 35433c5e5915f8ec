"""Names that move: ``refs/<channel>/<name>.json`` points at an object, and every move is logged.

``log.jsonl`` is appended and flushed before the pointer is replaced, both under one lock; a move that a crash cut in
two is completed by whoever moves next. So the log is the truth, and the pointer a quick way to read its last word.
"""

import json
import os
import re
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from infra.files import RecordDamaged, children, locked, read_json, write_json
from infra.manifest import utc_now


class Ref(BaseModel):
    """Where a name points. ``generation`` counts its moves from 1."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    channel: str
    name: str
    kind: str
    digest: str
    generation: int
    moved: str
    reason: str = ""


class RefConflict(RuntimeError):
    """The name did not point where the caller thought; someone else moved it."""


class Refs:
    """The names under ``path``."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.log_path = path / "log.jsonl"

    def read(self, channel: str, name: str) -> Ref | None:
        """Where the name points, or None if it was never set. The log answers for a pointer that is damaged."""
        try:
            value = read_json(self._pointer(channel, name))
        except RecordDamaged:
            return next(reversed(self.log(channel, name)), None)
        return None if value is None else Ref.model_validate(value)

    def names(self, channel: str) -> list[str]:
        """Every name of a channel, sorted."""
        return [path.stem for path in children(self.path / channel) if path.suffix == ".json"]

    def move(self, channel: str, name: str, kind: str, digest: str, *, expected: str | None, reason: str = "") -> Ref:
        """Point the name at an object, if it points at digest ``expected`` now (None: at nothing yet).

        Moving a name to where it points already does nothing. Raises RefConflict.
        """
        for part in (channel, name):
            if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", part):
                raise ValueError(f"{part!r} cannot name a reference: use letters, digits, dot, dash and underscore")
        with locked(self.path / "lock"):
            current = self._recover(channel, name)
            came = current.digest if current else None
            if came == digest:
                assert current is not None
                return current
            if came != expected:
                raise RefConflict(f"{channel}/{name} points at {came}, expected {expected}; read it again and decide")
            ref = Ref(
                channel=channel,
                name=name,
                kind=kind,
                digest=digest,
                generation=current.generation + 1 if current else 1,
                moved=utc_now(),
                reason=reason,
            )
            self._append(ref)
            self._point(ref)
            return ref

    def log(self, channel: str | None = None, name: str | None = None) -> list[Ref]:
        """Every move, oldest first, of one channel or one name if given. Raises RecordDamaged."""
        if not self.log_path.exists():
            return []
        try:
            moves = [Ref.model_validate(json.loads(line)) for line in self._whole_lines()]
        except ValueError as error:
            raise RecordDamaged(f"{self.log_path} is damaged: {error}; restore it from a copy of the store") from None
        return [move for move in moves if channel in (None, move.channel) and name in (None, move.name)]

    def _recover(self, channel: str, name: str) -> Ref | None:
        """The last logged move of the name, after completing what a crash left half done."""
        if self.log_path.exists():
            whole = sum(len(line) for line in self._whole_lines())
            if whole < self.log_path.stat().st_size:
                os.truncate(self.log_path, whole)
        moves = self.log(channel, name)
        if not moves:
            return None
        try:
            points = read_json(self._pointer(channel, name))
        except RecordDamaged:
            points = None
        if points != moves[-1].model_dump(mode="json"):
            self._point(moves[-1])
        return moves[-1]

    def _whole_lines(self) -> list[bytes]:
        lines = self.log_path.read_bytes().splitlines(keepends=True)
        return [line for line in lines if line.endswith(b"\n")]

    def _append(self, ref: Ref) -> None:
        with self.log_path.open("ab") as stream:
            stream.write(ref.model_dump_json().encode() + b"\n")
            stream.flush()
            os.fsync(stream.fileno())

    def _point(self, ref: Ref) -> None:
        path = self._pointer(ref.channel, ref.name)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, ref.model_dump(mode="json"))

    def _pointer(self, channel: str, name: str) -> Path:
        return self.path / channel / f"{name}.json"
