"""What a panel is asked to look like, as stored in ``panels.jsonl``."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from pydantic import ConfigDict, Field, PositiveInt, ValidationError

from diffsensei.config.base import Config

Box = tuple[float, float, float, float]


class CharacterRequest(Config):
    """One character of a panel."""

    model_config = ConfigDict(extra="ignore")

    id: str
    """Names the character in reports; the model does not see it."""
    box: Box
    """xyxy relative to the panel; may leave [0, 1]."""
    reference: str
    """Image file of the character, relative to the folder of the request."""


class PanelRequest(Config):
    """One panel. Fields that a stored record has beyond these (where a panel comes from) are ignored."""

    model_config = ConfigDict(extra="ignore")

    panel_id: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    """Unique, and safe as a file name."""
    height: PositiveInt
    """Pixels to draw, a multiple of the autoencoder's factor."""
    width: PositiveInt
    caption: str
    characters: tuple[CharacterRequest, ...] = ()
    dialogs: tuple[Box, ...] = ()
    """Speech bubbles: xyxy relative to the panel."""
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    """Decides the panel's noise, whatever it is drawn together with."""
    page_id: str = ""
    """Panels of one page, in reading order, bear its name; without one a panel is a page of its own."""
    given: str = ""
    """Image file of the panel as it is, relative to the folder of the request: it is not drawn, and methods that
    follow earlier panels see it."""


def read_requests(path: Path) -> list[PanelRequest]:
    """The panels of a JSON-lines file, in order.

    Raises ValueError if the file is missing, a line is malformed or a panel_id comes twice.
    """
    if not path.is_file():
        raise ValueError(f"expected panel requests at {path}, found no such file; give a panels.jsonl")
    requests = []
    for number, line in enumerate(path.read_text().splitlines(), start=1):
        try:
            requests.append(PanelRequest.model_validate_json(line))
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"])) or "line"
            raise ValueError(f"{path}:{number}: {where}: {first['msg']}; correct this panel request") from error
    ids = [request.panel_id for request in requests]
    repeated = sorted({panel_id for panel_id in ids if ids.count(panel_id) > 1}) if len(set(ids)) < len(ids) else []
    if repeated:
        raise ValueError(f"{path}: expected every panel_id once, got {repeated[:3]} more often; rename them")
    return requests


def pages_of(requests: Sequence[PanelRequest]) -> list[list[PanelRequest]]:
    """``requests`` by page, pages in order of first appearance."""
    pages: dict[str, list[PanelRequest]] = {}
    for request in requests:
        pages.setdefault(request.page_id or f"panel {request.panel_id}", []).append(request)
    return list(pages.values())
