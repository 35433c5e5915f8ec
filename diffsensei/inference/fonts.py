"""Which font writes a text: the one asked for, the bundled one, or the system's first that has all its letters."""

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

from PIL import ImageFont

BUNDLED = Path(__file__).with_name("fonts") / "ComicNeue-Bold.otf"
"""Latin with accents; SIL Open Font License, beside it."""
SYSTEM_FOLDERS = (
    Path("/usr/share/fonts"),
    Path("/usr/local/share/fonts"),
    Path("/System/Library/Fonts"),
    Path("/Library/Fonts"),
    Path("C:/Windows/Fonts"),
)
WIDE_FONTS = (
    "NotoSansCJK*", "NotoSansJP*", "SourceHanSans*", "ipaexg*", "ipag*", "MTLc3m*", "MTLmr3m*", "TakaoGothic*",
    "VL-Gothic*", "mplus-1p*", "Hiragino*", "ヒラギノ*", "YuGoth*", "meiryo*", "msgothic*", "DejaVuSans-Bold*",
    "DejaVuSans.ttf",
)  # fmt: skip
"""File names of fonts with many scripts, most with Japanese, best first."""
_NOT_A_CHARACTER = "\U0010ffff"
_PROBE_PX = 24


def check_font(path: Path) -> None:
    """Raises ValueError unless ``path`` is a font that can be read."""
    if not path.is_file():
        raise ValueError(f"expected a font file at {path}, found none; give a .ttf, .otf or .ttc file")
    try:
        ImageFont.truetype(path, _PROBE_PX)
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} is no font ({error}); give a .ttf, .otf or .ttc file") from error


def font_for(text: str, asked: Path | None = None) -> tuple[Path, str]:
    """The font file that writes ``text``, and the letters (each once) that it lacks all the same.

    ``asked`` or else the bundled font, unless it lacks letters that a font of the system has.
    """
    first = asked or BUNDLED
    lacking = missing_letters(first, text)
    if not lacking:
        return first, ""
    return next(((path, "") for path in wide_fonts() if not missing_letters(path, text)), (first, lacking))


def missing_letters(path: Path, text: str) -> str:
    """The letters of ``text`` that the font draws as its box for unknown ones."""
    return "".join(dict.fromkeys(letter for letter in text if not letter.isspace() and not _has(path, letter)))


@lru_cache(maxsize=4096)
def _has(path: Path, letter: str) -> bool:
    font = load_font(path, _PROBE_PX)
    mask, unknown = font.getmask(letter), font.getmask(_NOT_A_CHARACTER)
    return (mask.size, bytes(mask)) != (unknown.size, bytes(unknown))


@lru_cache(maxsize=256)
def load_font(path: Path, size: int) -> ImageFont.FreeTypeFont:
    """The font at ``size`` pixels."""
    return ImageFont.truetype(path, size)


@lru_cache(maxsize=1)
def wide_fonts() -> tuple[Path, ...]:
    """The system's fonts among `WIDE_FONTS`, best first, then by path."""
    return tuple(dict.fromkeys(_found()))


def _found() -> Iterator[Path]:
    files = [path for folder in SYSTEM_FOLDERS if folder.is_dir() for path in sorted(folder.rglob("*.[ot]t[fc]"))]
    for pattern in WIDE_FONTS:
        yield from (path for path in files if path.match(pattern))
