"""Where a frozen part is: `embedded:<name>`, a local folder, or `owner/name[/subfolder]` on the hub."""

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

WEIGHTS = Path(__file__).parent / "weights"
"""The embedded foundations, in the hub's folder formats."""

EMBEDDED = "embedded:"
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+(/[\w.-]+)*")
_TOKENIZER_BESIDE = {"text_encoder": "tokenizer", "text_encoder_2": "tokenizer_2"}


@dataclass(frozen=True)
class Location:
    """``source`` is a folder or a hub id, ``subfolder`` a path inside it; ``reference`` is how the user wrote it."""

    reference: str
    source: str
    subfolder: str | None
    is_hub: bool

    def folder(self) -> Path:
        """The local folder; only for locations that are not on the hub."""
        assert not self.is_hub
        return Path(self.source) / (self.subfolder or "")

    def tokenizer_beside(self) -> "Location":
        """The tokenizer of `text_encoder` lies in `tokenizer` beside it (SDXL's layout), others in the same folder."""
        place = self.subfolder if self.subfolder is not None else Path(self.source).name
        head, _, name = place.rpartition("/")
        if name not in _TOKENIZER_BESIDE:
            return self
        beside = "/".join(filter(None, [head, _TOKENIZER_BESIDE[name]]))
        if self.subfolder is not None:
            return Location(self.reference, self.source, beside, self.is_hub)
        return Location(self.reference, str(Path(self.source).parent / beside), None, self.is_hub)


def resolve(reference: str) -> Location:
    """The place a reference of the configuration names.

    Raises ValueError (one line) for an unknown embedded name, a folder that is not there, or no reference at all.
    """
    if reference.startswith(EMBEDDED):
        name = reference.removeprefix(EMBEDDED)
        if not (WEIGHTS / name / "config.json").is_file() or "/" in name:
            known = ", ".join(sorted(folder.parent.name for folder in WEIGHTS.glob("*/config.json"))) or "none"
            raise ValueError(f"{reference!r} is not embedded; known: {known}")
        return Location(reference, str(WEIGHTS), name, is_hub=False)
    path = Path(reference).expanduser()
    if reference and path.is_dir():
        return Location(reference, str(path.resolve()), None, is_hub=False)
    if reference.startswith(("/", ".", "~")):
        raise ValueError(f"folder {reference!r} does not exist; give a folder in the hub's format, or a hub id")
    if not _HUB_ID.fullmatch(reference):
        raise ValueError(f"expected 'embedded:<name>', a folder or 'owner/name[/subfolder]', got {reference!r}")
    owner, name, *rest = reference.split("/")
    return Location(reference, f"{owner}/{name}", "/".join(rest) or None, is_hub=True)


def foundation_digest(references: Iterable[str]) -> str:
    """sha256 (64 hex digits) of the frozen parts, for the keys of the stages that use them.

    Embedded and local parts (folders, their tokenizers, single files) count by content; hub ids, and words such as
    ``random`` or ``none``, by name. Raises ValueError as `resolve` does.
    """
    digest = hashlib.sha256()
    for reference in references:
        for line in _content(reference):
            digest.update(f"{line}\n".encode())
    return digest.hexdigest()


def _content(reference: str) -> list[str]:
    if Path(reference).expanduser().is_file():
        return [f"file {file_sha256(Path(reference).expanduser())}"]
    if re.fullmatch(r"\w+", reference) and not Path(reference).is_dir():
        return [f"word {reference}"]
    location = resolve(reference)
    if location.is_hub:
        return [f"hub {reference}"]
    parts = [("model", location.folder())]
    if location.tokenizer_beside() != location:
        parts.append(("tokenizer", location.tokenizer_beside().folder()))
    return [
        f"{part}/{path.relative_to(folder).as_posix()} {file_sha256(path)}"
        for part, folder in parts
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    ]


def file_sha256(path: Path) -> str:
    """sha256 (64 hex digits) of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
