"""Files of corrections, whichever tool wrote them: told apart by content, not by name."""

from collections.abc import Iterable
from pathlib import Path

from diffsensei.data.annotation.cvat import read_cvat
from diffsensei.data.annotation.edits import Edit, check_size, read_edits
from diffsensei.data.annotation.label_studio import read_label_studio
from diffsensei.data.annotation.machine_layer import MachineLayer

_MARK = b"\xef\xbb\xbf"


def read_edit_files(paths: Iterable[Path], machine: MachineLayer) -> list[Edit]:
    """The edits of all files, in order: JSONL of edits, JSON of Label Studio (a list), XML of CVAT.

    Raises ValueError (one line) naming the file and the line, task or image that does not fit.
    """
    edits: list[Edit] = []
    for path in paths:
        check_size(path)
        with path.open("rb") as file:
            first = file.read(256).removeprefix(_MARK).lstrip()[:1]
        if first == b"<":
            edits += read_cvat(path, machine)
        elif first == b"[":
            edits += read_label_studio(path, machine)
        elif first in (b"{", b""):
            edits += read_edits(path, machine)
        else:
            raise ValueError(f"{path.name} starts with {first!r}; expected edits JSONL, Label Studio JSON or CVAT XML")
    return edits
