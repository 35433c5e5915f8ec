"""Items that a person accepts in spite of a check: a JSON list of ``{"id": ..., "reason": ..., "note": ...}``.

``id`` and ``reason`` are those of the quarantine table. Checks that protect what comes after (paths, images, boxes
without area) cannot be waived. The file is an input of the validate stage: a change of it runs the stage again.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from diffsensei.data.validation.checks import Check


class Waiver(BaseModel):
    """One item, accepted in spite of one reason; ``note`` says why."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    reason: str
    note: str = ""


class Waivers:
    """The waivers of a run, and what became of each."""

    def __init__(self, waivers: tuple[Waiver, ...] = ()) -> None:
        self._waivers: Mapping[tuple[str, str], Waiver] = {(waiver.id, waiver.reason): waiver for waiver in waivers}
        self._applied: set[tuple[str, str]] = set()
        self._refused: set[tuple[str, str]] = set()

    def accept(self, id_: str, check: Check) -> bool:
        """Whether item ``id_``, which fails ``check``, is accepted all the same."""
        key = (id_, check.reason)
        if key not in self._waivers:
            return False
        (self._applied if check.waivable else self._refused).add(key)
        return check.waivable

    def outcome(self) -> dict[str, list[dict[str, Any]]]:
        """Waivers ``applied``, ``refused`` (their check cannot be waived) and ``unused`` (nothing failed so)."""
        unused = self._waivers.keys() - self._applied - self._refused
        return {
            name: [self._waivers[key].model_dump() for key in sorted(keys)]
            for name, keys in (("applied", self._applied), ("refused", self._refused), ("unused", unused))
        }


def read_waivers(path: str) -> Waivers:
    """The waivers of a file; none for "". Raises ValueError (one line) if it is absent or no such list."""
    if not path:
        return Waivers()
    if not Path(path).is_file():
        raise ValueError(f"data.validation.waivers: expected a JSON file, {path!r} does not exist")
    try:
        return Waivers(TypeAdapter(tuple[Waiver, ...]).validate_json(Path(path).read_bytes()))
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise ValueError(
            f"data.validation.waivers: {path}, {where}: {first['msg']}; "
            'expected [{"id": ..., "reason": ..., "note": ...}]'
        ) from None
