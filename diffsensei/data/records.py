"""The MangaZero annotation file (paper sec. 3): a JSON list of pages, every box in pixels of the stitched double page.

The models accept any geometry: boxes outside their page must load, so that validation can name and quarantine them.
"""

from typing import Annotated, Any, NamedTuple

from pydantic import BaseModel, ConfigDict, Discriminator, Strict, Tag, ValidationError

from diffsensei.data.annotation_file import Unreadable

Number = Annotated[float, Strict()]
"""A JSON number; neither a boolean nor digits in quotes."""
Bbox = tuple[Number, Number, Number, Number]
"""x1, y1, x2, y2 in pixels, x to the right, y down."""


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True)


class CharacterAnnotation(_Record):
    """A character in a frame; ``id`` is consistent within its page only."""

    id: int | str
    bbox: Bbox
    type: Annotated[int, Strict()] = 0
    """0 clean face, 1 vague expression, 2 exaggerated or atypical; only 0 serves as a reference."""


class DialogAnnotation(_Record):
    """A speech bubble in a frame."""

    bbox: Bbox


class FrameAnnotation(_Record):
    """A panel."""

    bbox: Bbox
    caption: str
    characters: tuple[CharacterAnnotation, ...] = ()
    dialogs: tuple[DialogAnnotation, ...] = ()


class ImageSource(NamedTuple):
    """One image of a page: the url (``https:`` or ``file:``) its bytes are known by, its annotated width (pixels)."""

    url: str
    width: int


class TwoHalves(_Record):
    """The double page of MangaZero: left half ``url1``, right half ``url2``, top aligned; other keys are ignored."""

    url1: str
    url2: str
    width1: int
    width2: int

    @property
    def images(self) -> tuple[ImageSource, ...]:
        """Left to right."""
        return ImageSource(self.url1, self.width1), ImageSource(self.url2, self.width2)


class OneFile(_Record):
    """A page that is one image already: a scan of one's own, a member of an archive, a page of Manga109."""

    file: str
    """Name within the source, such as ``volume-1/003.jpg``; a name, never a place."""
    width: int
    height: int

    @property
    def images(self) -> tuple[ImageSource, ...]:
        """The one image."""
        return (ImageSource(f"file:{self.file}", self.width),)


def _kind_of_meta(raw: Any) -> str:
    return "file" if isinstance(raw, OneFile) or (isinstance(raw, dict) and "file" in raw) else "halves"


PageMeta = Annotated[
    Annotated[TwoHalves, Tag("halves")] | Annotated[OneFile, Tag("file")], Discriminator(_kind_of_meta)
]
META_KINDS = ("halves", "file")


class PageAnnotation(_Record):
    """A page and its panels; ``meta`` says which images it consists of."""

    image_path: str
    frames: tuple[FrameAnnotation, ...]
    meta: PageMeta


def parse_page(raw: Any) -> PageAnnotation:
    """One page of the file as a typed record.

    Raises ValueError (one line) naming the first field that does not fit; boxes are not checked geometrically.
    """
    if isinstance(raw, Unreadable):
        raise ValueError(f"page annotation: {raw.fault}")
    try:
        return PageAnnotation.model_validate(raw)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        where = ".".join(str(part) for part in first["loc"] if part not in META_KINDS) or "page"
        more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
        came = repr(first["input"])[:60]
        raise ValueError(f"page annotation, field {where}: {first['msg']}, got {came}{more}") from None
