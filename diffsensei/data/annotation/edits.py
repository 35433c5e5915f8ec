"""Corrections that people made, one JSON object a line (``character_edits.jsonl``).

The plain form ``page_key, box_id, old_id, new_id, type, annotator, ts`` changes who a character is; ``action`` names
the other ones. Files come from outside: anything unexpected is an error that names its line.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    FiniteFloat,
    Tag,
    TypeAdapter,
    ValidationError,
    model_validator,
)

from diffsensei.data.annotation.boxes import Kind
from diffsensei.data.annotation.machine_layer import MachineLayer
from diffsensei.data.page_paths import MAX_PATH_LENGTH

MAX_FILE_BYTES = 1 << 28
MAX_LINE_BYTES = 1 << 14
MAX_BOXES = 2_000
"""Boxes that people may have on one page, or add to it: more is no manga page."""
MAX_SIDE = 1e6
"""Pixels: a coordinate beyond is a mistake, whatever the page."""

_BOX_ID = r"^[0-9a-f]{16}$"
_TEXT = r"^[^\x00-\x1f\x7f]+$"
Identity = Annotated[int, Field(ge=-(2**53) + 1, le=2**53 - 1)] | Annotated[str, Field(max_length=128, pattern=_TEXT)]
"""Who a character is, within its page; whole numbers as large as JavaScript can hold."""
CharacterType = Literal[0, 1, 2]
Side = Annotated[FiniteFloat, Field(ge=-MAX_SIDE, le=MAX_SIDE)]
Box = tuple[Side, Side, Side, Side]


class _Edit(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    page_key: Annotated[str, Field(min_length=1, max_length=MAX_PATH_LENGTH)]
    """The page's ``image_path``."""
    annotator: Annotated[str, Field(max_length=128, pattern=_TEXT)]
    ts: AwareDatetime


class Review(_Edit):
    """The annotator went over the page; all of it that they did not edit is right."""

    action: Literal["review"] = "review"


class _BoxEdit(_Edit):
    box_id: Annotated[str, Field(pattern=_BOX_ID)]
    adjudicated: bool = False
    """It decides between annotators: others' edits of this box no longer count."""


class IdentityEdit(_BoxEdit):
    """Who a character is, and its type (None: as it was)."""

    action: Literal["identity"] = "identity"
    old_id: Identity
    """What the annotator saw; the edit holds for that only."""
    new_id: Identity
    type: CharacterType | None = None


class _Placed(_BoxEdit):
    new_box: Box
    """Pixels of the double page, as every box here."""

    @model_validator(mode="after")
    def _has_area(self) -> "_Placed":
        x1, y1, x2, y2 = self.new_box
        if x2 <= x1 or y2 <= y1:
            raise ValueError("new_box has no area; expected x1 < x2 and y1 < y2")
        return self


class MoveEdit(_Placed):
    """Another place for a box."""

    action: Literal["move"] = "move"
    old_box: Box


class AddEdit(_Placed):
    """A box the machine missed, under a name of its own (`box_id_of`)."""

    action: Literal["add"] = "add"
    kind: Kind
    new_id: Identity | None = None
    """Of characters, and only of them."""
    type: CharacterType = 0
    caption: Annotated[str, Field(max_length=4096)] = ""

    @model_validator(mode="after")
    def _identity_fits_kind(self) -> "AddEdit":
        if (self.kind == "character") != (self.new_id is not None):
            raise ValueError(f"a {self.kind} {'needs a' if self.kind == 'character' else 'has no'} new_id")
        return self


class RemoveEdit(_BoxEdit):
    """A box that should not be."""

    action: Literal["remove"] = "remove"
    old_box: Box


BoxEdit = IdentityEdit | MoveEdit | AddEdit | RemoveEdit
Edit = Review | BoxEdit


def _action_of(raw: Any) -> str:
    action = raw.get("action", "identity") if isinstance(raw, dict) else getattr(raw, "action", "identity")
    return action if isinstance(action, str) else "?"


_ADAPTER: TypeAdapter[Edit] = TypeAdapter(
    Annotated[
        Annotated[Review, Tag("review")]
        | Annotated[IdentityEdit, Tag("identity")]
        | Annotated[MoveEdit, Tag("move")]
        | Annotated[AddEdit, Tag("add")]
        | Annotated[RemoveEdit, Tag("remove")],
        Discriminator(_action_of),
    ]
)


def parse_edit(line: str | bytes) -> Edit:
    """One line as a typed edit. Raises ValueError (one line) naming the first field that does not fit."""
    try:
        return _ADAPTER.validate_json(line)
    except ValidationError as error:
        raise ValueError(first_fault(error)) from None


def first_fault(error: ValidationError) -> str:
    """The first field that does not fit, in one line."""
    first = error.errors(include_url=False, include_context=False)[0]
    actions = ("review", "identity", "move", "add", "remove")
    where = ".".join(str(part) for part in first["loc"] if part not in actions) or "edit"
    return f"{where}: {first['msg']}, got {first['input']!r:.60}"


def read_edits(path: Path, machine: MachineLayer) -> list[Edit]:
    """The edits of a JSONL file, in order; blank lines do not count.

    Raises ValueError (one line, with the line's number) for a file that is too large, a line that is no edit, and an
    edit of a page or box that ``machine`` does not have and no edit before it added.
    """
    check_size(path)
    edits: list[Edit] = []
    added: dict[str, set[str]] = {}
    with path.open("rb") as file:
        number = 0
        while line := file.readline(MAX_LINE_BYTES + 1):
            number += 1
            if len(line) > MAX_LINE_BYTES:
                raise ValueError(f"{path.name} line {number}: longer than {MAX_LINE_BYTES} bytes; expected one edit")
            if not line.strip():
                continue
            try:
                edit = parse_edit(line)
                _check_known(edit, machine, added)
            except ValueError as error:
                raise ValueError(f"{path.name} line {number}: {error}") from None
            edits.append(edit)
    return edits


def check_size(path: Path) -> None:
    """Raise ValueError (one line) unless ``path`` is a file of a size that is read whole."""
    if not path.is_file():
        raise ValueError(f"file of edits {path} does not exist or is a folder; expected JSONL, JSON or XML")
    if path.stat().st_size > MAX_FILE_BYTES:
        raise ValueError(f"file of edits {path} has {path.stat().st_size} bytes; at most {MAX_FILE_BYTES}: split it")


def write_edits(edits: Iterable[Edit], path: Path) -> None:
    """``path`` with one edit a line, which `read_edits` gives back."""
    path.write_text("".join(f"{edit.model_dump_json(exclude_none=True)}\n" for edit in edits))


def _check_known(edit: Edit, machine: MachineLayer, added: dict[str, set[str]]) -> None:
    boxes = machine.boxes(edit.page_key)
    if isinstance(edit, Review):
        return
    more = added.setdefault(edit.page_key, set())
    box = boxes.get(edit.box_id)
    if isinstance(edit, AddEdit):
        if box is not None:
            raise ValueError(f"box {edit.box_id} is the machine's; a box that is added needs a name of its own")
        more.add(edit.box_id)
        if len(more) > MAX_BOXES:
            raise ValueError(f"more than {MAX_BOXES} boxes are added to page {edit.page_key!r}")
    elif box is None and edit.box_id not in more:
        raise ValueError(f"page {edit.page_key!r} has no box {edit.box_id}; it has {shortened(boxes)}")
    elif isinstance(edit, IdentityEdit) and box is not None and box.kind != "character":
        raise ValueError(f"box {edit.box_id} is a {box.kind}; only characters have an identity")


def shortened(names: Iterable[str], most: int = 3) -> str:
    """The first names of many, for an error."""
    names = list(names)
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "") or "none"
